"""A WHIP offer (RFC 9725, RFC 8829), matched with what can be taken."""

import base64
import binascii
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from aiortc.rtcrtpparameters import RTCRtpCodecParameters
from aiortc.sdp import MediaDescription, SessionDescription

from schemas.errors import BadRequest
from schemas.packets import VideoCodec
from services.webrtc_gateway.codecs.video import VIEWER_CODECS, best_payload, parameters
from services.webrtc_gateway.datachannels.section import DataSection, read_section
from services.webrtc_gateway.ingest.simulcast import MAX_LAYERS, REPAIRED_RID, RID, layer_names, offered_rids
from services.webrtc_gateway.ingest.terms import LayerTerms, SessionTerms, TrackTerms
from services.webrtc_gateway.signalling.offer import (
    AUDIO_LEVEL,
    CAPTURE_TIME,
    NotAcceptable,
    check_transport,
    is_absent,
    payload_type_of,
    repair_type_of,
)
from services.webrtc_gateway.transport.dtls import usable
from shared.media.bitstream import START_CODE
from shared.rtp.clock import VIDEO_CLOCK_HZ
from shared.rtp.opus import OPUS_CLOCK_HZ

# H.264 first: every viewer and every output takes it as it is. A page that wants another offers that alone.
PREFERENCE: tuple[VideoCodec, ...] = ("h264", "vp8", "vp9", "av1", "hevc")
# Of VP9 and AV1 a page's encoder makes layers of another kind, all within one stream of packets, unless told not to.
LAYERED: tuple[VideoCodec, ...] = ("h264", "vp8", "hevc")
FEEDBACK = ("nack", "nack pli", "ccm fir", "goog-remb")
_ONE_BYTE_IDS = range(1, 15)
_MAX_SPROP_CHARACTERS = 4096
_SPROPS = ("sprop-vps", "sprop-sps", "sprop-pps", "sprop-parameter-sets")


@dataclass(frozen=True)
class IngestMedia:
    """One m-line of the offer; neither `codec` nor `data`: rejected; a codec without `terms`: inactive."""

    description: MediaDescription
    codec: RTCRtpCodecParameters | None = None
    terms: TrackTerms | None = None
    data: DataSection | None = None
    """Of data channels: what the publisher says of its side."""

    @property
    def accepted(self) -> bool:
        return self.codec is not None or self.data is not None


@dataclass(frozen=True)
class IngestOffer:
    """A parsed and matched offer."""

    media: tuple[IngestMedia, ...]
    terms: SessionTerms


def match_ingest(
    description: SessionDescription, text: str, *, layered: Collection[VideoCodec] = LAYERED
) -> IngestOffer:
    """Take one video and one sound of what is offered, the video in up to MAX_LAYERS sizes at once.

    `text` is the offer that `description` was read from: feedback and layers are looked up in it. Simulcast of other
    codecs than LAYERED is declined: the page sends its first layer alone.

    Raises:
        BadRequest: not an offer that a WebRTC peer makes.
        NotAcceptable: it sends nothing that can be taken.
    """
    understood, rids = _feedback(text), offered_rids(text)
    media: list[IngestMedia] = []
    for section in description.media:
        taken = any(m.accepted and m.description.kind == section.kind for m in media)
        match = IngestMedia(section) if taken else _match(section, understood)
        media.append(_with_layers(match, rids.get(section.rtp.muxId, ()), layered))
    tracks = tuple(m.terms for m in media if m.terms)
    if not tracks:
        wanted = ", ".join(VIEWER_CODECS[codec].wanted for codec in PREFERENCE)
        raise NotAcceptable(f"nothing to receive: offer to send video ({wanted}) or Opus audio")
    types = [number for t in tracks for number in (t.payload_type, t.repair_type) if number is not None]
    if len(set(types)) < len(types):
        # RFC 9143 section 9.1.1: in a bundle one payload type is one codec.
        raise BadRequest(f"payload types {sorted(types)} are offered twice; each codec needs its own")
    first = next(m.description for m in media if m.terms)
    fingerprints = check_transport(first)
    data = next((m.data for m in media if m.data), None)
    return IngestOffer(tuple(media), SessionTerms(tracks, usable(fingerprints), data))


def _match(section: MediaDescription, understood: Mapping[str, frozenset[str]]) -> IngestMedia:
    video_codec: VideoCodec | None = None
    codec: RTCRtpCodecParameters | None = None
    if is_absent(section):
        return IngestMedia(section)
    if section.kind == "video":
        for video_codec in PREFERENCE:
            codec = best_payload(section, video_codec)
            if codec is not None:
                break
    elif section.kind == "audio":
        codec = next((offered for offered in section.rtp.codecs if offered.mimeType.lower() == "audio/opus"), None)
    elif section.kind == "application":
        return IngestMedia(section, data=read_section(section))
    if codec is None:
        return IngestMedia(section)
    payload_type = payload_type_of(section, codec)
    if section.direction in ("recvonly", "inactive"):
        return IngestMedia(section, codec)
    ids = {extension.uri: extension.id for extension in section.rtp.headerExtensions}
    capture_time_id, audio_level_id = ids.get(CAPTURE_TIME), ids.get(AUDIO_LEVEL)
    return IngestMedia(
        section,
        codec,
        TrackTerms(
            track="video" if video_codec else "opus",
            codec=video_codec,
            mid=section.rtp.muxId,
            payload_type=payload_type,
            clock_hz=VIDEO_CLOCK_HZ if video_codec else OPUS_CLOCK_HZ,
            repair_type=repair_type_of(section, payload_type) if video_codec else None,
            capture_time_id=capture_time_id if capture_time_id in _ONE_BYTE_IDS else None,
            audio_level_id=audio_level_id if video_codec is None and audio_level_id in _ONE_BYTE_IDS else None,
            feedback=understood.get(str(payload_type), frozenset()) | understood.get("*", frozenset()),
            extradata=_parameter_sets(codec),
        ),
    )


def _with_layers(media: IngestMedia, rids: Sequence[str], layered: Collection[VideoCodec]) -> IngestMedia:
    """The m-line with the layers that it offers, where they can be told apart."""
    terms = media.terms
    if terms is None or terms.codec not in layered or len(rids) < 2:
        return media
    ids = {extension.uri: extension.id for extension in media.description.rtp.headerExtensions}
    rid_id, repaired_id = ids.get(RID), ids.get(REPAIRED_RID)
    if rid_id is None or rid_id not in _ONE_BYTE_IDS:
        return media
    layers = LayerTerms(layer_names(rids[:MAX_LAYERS]), rid_id, repaired_id if repaired_id in _ONE_BYTE_IDS else None)
    return replace(media, terms=replace(terms, layers=layers))


def _feedback(text: str) -> dict[str, frozenset[str]]:
    """By payload type (or `*`), what of `FEEDBACK` the offer names. The SDP parser was spared these lines."""
    found: dict[str, frozenset[str]] = {}
    for line in text.splitlines():
        if line.startswith("a=rtcp-fb:"):
            payload_type, _, value = line.removeprefix("a=rtcp-fb:").partition(" ")
            if value.strip() in FEEDBACK:
                found[payload_type] = found.get(payload_type, frozenset()) | {value.strip()}
    return found


def _parameter_sets(codec: RTCRtpCodecParameters) -> bytes:
    """The parameter sets of `a=fmtp` as Annex B; what is no base64 is left out."""
    offered = parameters(codec)
    sets = []
    for name in _SPROPS:
        value = offered.get(name, "")
        for piece in value.split(",") if len(value) <= _MAX_SPROP_CHARACTERS else ():
            try:
                unit = base64.b64decode(piece, validate=True)
            except (binascii.Error, ValueError):
                continue
            if unit:
                sets.append(START_CODE + unit)
    return b"".join(sets)
