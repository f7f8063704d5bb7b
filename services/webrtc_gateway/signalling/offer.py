"""A WHEP offer (RFC 9725 practice, RFC 8829): read within bounds, and matched with what a rendition has."""

from collections.abc import Sequence
from dataclasses import dataclass

from aiortc.rtcdtlstransport import RTCDtlsFingerprint
from aiortc.rtcrtpparameters import RTCRtpCodecParameters
from aiortc.sdp import MediaDescription, SessionDescription

from schemas.errors import BadRequest
from schemas.packets import VideoCodec
from services.webrtc_gateway.codecs.video import VIEWER_CODECS, best_payload, parameters, taken_codecs
from services.webrtc_gateway.datachannels.section import DataSection, read_section
from services.webrtc_gateway.egress.rtp import HeaderExtensions, RtpTrack
from shared.rtp.clock import VIDEO_CLOCK_HZ
from shared.rtp.opus import OPUS_CLOCK_HZ

MID = "urn:ietf:params:rtp-hdrext:sdes:mid"
PLAYOUT_DELAY = "http://www.webrtc.org/experiments/rtp-hdrext/playout-delay"
AUDIO_LEVEL = "urn:ietf:params:rtp-hdrext:ssrc-audio-level"
CAPTURE_TIME = "http://www.webrtc.org/experiments/rtp-hdrext/abs-capture-time"
TRANSPORT_NUMBER = "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01"

# The parser's time grows with the product of some of these. Chromium's offer has 40 rtpmap, 90 rtcp-fb and 30 fmtp
# lines for its two media; a machine with many addresses has some tens of candidates.
_MAX_LINES = {
    "": 2048,  # of any kind; looked at first, as it bounds what the others take
    "m=": 16,
    "a=rtpmap:": 128,
    "a=fmtp:": 256,
    "a=rtcp-fb:": 512,
    "a=candidate:": 512,
    "a=ssrc": 512,
}
# What the answer does not depend on is not parsed: an ICE-lite side needs no candidates, our feedback is fixed.
_UNREAD = ("a=rtcp-fb:", "a=candidate:", "a=ssrc")
# RFC 3551 section 6 and, as browsers use when those run out, what is unassigned below; RFC 5761 section 4 forbids
# 64-95 where RTCP shares the port.
_DYNAMIC_PAYLOAD_TYPES = frozenset((*range(96, 128), *range(35, 64)))


class NotAcceptable(BadRequest):
    """The viewer's codecs and ours have nothing in common."""

    code = 406


@dataclass(frozen=True)
class Media:
    """One m-line of the offer and what we make of it; `track` None: rejected or, with `codec`, inactive."""

    description: MediaDescription
    codec: RTCRtpCodecParameters | None
    track: RtpTrack | None
    video_codec: VideoCodec | None = None
    """Of video: which of ours `codec` is."""
    data: DataSection | None = None
    """Of data channels: what the viewer says of its side."""

    @property
    def mid(self) -> str:
        return self.description.rtp.muxId

    @property
    def accepted(self) -> bool:
        return self.codec is not None or self.data is not None


@dataclass(frozen=True)
class Offer:
    """A parsed and matched offer."""

    media: tuple[Media, ...]
    fingerprints: list[RTCDtlsFingerprint]

    def track(self, kind: str) -> RtpTrack | None:
        return next((m.track for m in self.media if m.track and m.description.kind == kind), None)

    @property
    def data(self) -> DataSection | None:
        """The viewer's data channels; None when it offers none."""
        return next((m.data for m in self.media if m.data), None)


def read_offer(text: str) -> SessionDescription:
    """Parse the text of an offer; cheap whatever it says.

    Raises:
        BadRequest: not SDP, or more of it than any WebRTC peer sends.
    """
    lines = text.splitlines()
    for prefix, limit in _MAX_LINES.items():
        count = sum(line.startswith(prefix) for line in lines)
        if count > limit:
            raise BadRequest(f"the offer has {count} {f'{prefix!r} ' if prefix else ''}lines; {limit} are allowed")
    try:
        read = (_without_attributes(line) for line in lines if not line.startswith(_UNREAD))
        description = SessionDescription.parse("\n".join(read))
    except (ValueError, AssertionError, KeyError, IndexError, AttributeError, StopIteration, TypeError) as error:
        # The parser asserts where it should refuse, and fails in as many ways as text can be wrong.
        raise BadRequest(f"the body is not an SDP offer: {type(error).__name__} {error}".rstrip()) from None
    if not description.media:
        raise BadRequest("the offer has no m-line; offer to receive video, audio or both")
    return description


def _without_attributes(line: str) -> str:
    """An extension may have attributes (`vad=on`, RFC 6464 section 4), which the parser does not expect."""
    return " ".join(line.split()[:2]) if line.startswith("a=extmap:") else line


def match_offer(description: SessionDescription, tracks: Sequence[str], video_codec: VideoCodec | None = None) -> Offer:
    """Match an offer with a rendition.

    Args:
        tracks: what it has (`video`, `opus`); empty: not known, so both are promised.
        video_codec: of its pictures; None: any that viewers may take, which is enough to judge the offer.

    Raises:
        BadRequest: not an offer that a WebRTC peer makes.
        NotAcceptable: the offered video lacks the codec, or there is no media at all that we have.
    """
    media: list[Media] = []
    for section in description.media:
        taken = any(m.accepted and m.description.kind == section.kind for m in media)
        media.append(Media(section, None, None) if taken else _match(section, tracks, video_codec))
    if not any(m.track for m in media):
        raise NotAcceptable(f"nothing to send: offer to receive video ({_any_of()}) or Opus audio")
    types = [m.codec.payloadType for m in media if m.codec]
    types += [m.track.repair_type for m in media if m.track and m.track.repair_type]
    if len(set(types)) < len(types):
        # RFC 9143 section 9.1.1: in a bundle one payload type is one codec.
        raise BadRequest(f"payload type {types[0]} is offered for video and for audio; each needs its own")
    _agree_on_numbers([m.track for m in media if m.track])
    accepted = next(m.description for m in media if m.track)
    return Offer(tuple(media), check_transport(accepted))


def check_transport(section: MediaDescription) -> list[RTCDtlsFingerprint]:
    """The fingerprints of the peer that offers this m-line, which all others are bundled with.

    Raises:
        BadRequest: its transport is not ICE and DTLS-SRTP with RTCP on the same port, or it waits for our hello.
    """
    if section.dtls is None or not section.dtls.fingerprints:
        raise BadRequest("the offer has no a=fingerprint and a=setup; only DTLS-SRTP is spoken here")
    if section.dtls.role == "server":
        raise BadRequest("the offer says a=setup:passive; offer actpass or active")
    if not section.ice or not section.ice.usernameFragment:
        raise BadRequest("the offer has no a=ice-ufrag")
    if not section.rtcp_mux:
        raise BadRequest("the offer has no a=rtcp-mux; RTP and RTCP share one port here")
    return section.dtls.fingerprints


def offered_codecs(description: SessionDescription) -> tuple[VideoCodec, ...] | None:
    """What the side that offers can decode, of what we carry; None: it wants no pictures, so that any will do."""
    for section in description.media:
        if section.kind == "video" and not is_absent(section):
            return taken_codecs(section)
    return None


def _match(section: MediaDescription, tracks: Sequence[str], video_codec: VideoCodec | None) -> Media:
    if is_absent(section):
        return Media(section, None, None)
    if section.kind == "video":
        video_codec = video_codec or next(iter(taken_codecs(section)), None)
        codec = best_payload(section, video_codec) if video_codec else None
        wanted, rate_hz = "video", VIDEO_CLOCK_HZ
        if codec is None:
            lacks = VIEWER_CODECS[video_codec].wanted if video_codec else _any_of()
            raise NotAcceptable(f"the offered video has no {lacks}")
    elif section.kind == "audio":
        video_codec = None
        codec, wanted, rate_hz = _opus(section), "opus", OPUS_CLOCK_HZ
    else:
        return Media(section, None, None, data=read_section(section))
    if codec is None:
        return Media(section, None, None)
    payload_type = payload_type_of(section, codec)
    if (tracks and wanted not in tracks) or section.direction in ("sendonly", "inactive"):
        return Media(section, codec, None, video_codec)
    ids = {extension.uri: extension.id for extension in section.rtp.headerExtensions}
    repair_type = repair_type_of(section, payload_type) if ids.get(TRANSPORT_NUMBER) else None
    extensions = HeaderExtensions(
        section.rtp.muxId, ids.get(MID), ids.get(PLAYOUT_DELAY), ids.get(CAPTURE_TIME), ids.get(TRANSPORT_NUMBER)
    )
    return Media(section, codec, RtpTrack(payload_type, rate_hz, extensions, repair_type), video_codec)


def repair_type_of(section: MediaDescription, payload_type: int) -> int | None:
    """The payload type of what is sent again of another (RFC 4588 section 8.6)."""
    for codec in section.rtp.codecs:
        if codec.mimeType.lower() == "video/rtx" and parameters(codec).get("apt") == str(payload_type):
            return payload_type_of(section, codec)
    return None


def _agree_on_numbers(tracks: Sequence[RtpTrack]) -> None:
    """Number packets only where pictures, which are sent again, can be sent again under a number of their own."""
    if not any(track.repair_type and track.extensions.number_id for track in tracks):
        for track in tracks:
            track.repair_type = track.extensions.number_id = None


def is_absent(section: MediaDescription) -> bool:
    """Whether the m-line is turned off."""
    return section.port == 0 and not section.rtp.muxId


def _any_of() -> str:
    return " or ".join(codec.wanted for codec in VIEWER_CODECS.values())


def _opus(section: MediaDescription) -> RTCRtpCodecParameters | None:
    return next((codec for codec in section.rtp.codecs if codec.mimeType.lower() == "audio/opus"), None)


def payload_type_of(section: MediaDescription, codec: RTCRtpCodecParameters) -> int:
    """The codec's payload type, which goes into seven bits of every packet.

    Raises:
        BadRequest: it is none that may be used.
    """
    payload_type = codec.payloadType
    if payload_type is None or payload_type not in _DYNAMIC_PAYLOAD_TYPES or payload_type not in section.fmt:
        raise BadRequest(
            f"payload type {payload_type} of {codec.mimeType} is not one of 96-127 or 35-63 that its m-line lists"
        )
    if sum(other.payloadType == payload_type for other in section.rtp.codecs) > 1:
        raise BadRequest(f"payload type {payload_type} has two rtpmap lines in one m-line's section")
    return payload_type
