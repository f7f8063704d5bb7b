"""WHEP's offer and answer (RFC 9725 practice, RFC 8829): what the viewer can take, and what it will get."""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass

from aiortc.rtcdtlstransport import RTCDtlsFingerprint
from aiortc.rtcrtpparameters import RTCRtpCodecParameters
from aiortc.sdp import MediaDescription, SessionDescription

from schemas.errors import BadRequest, MeshError
from services.webrtc_gateway.packetizer import OPUS_CLOCK_HZ, VIDEO_CLOCK_HZ
from services.webrtc_gateway.rtp import HeaderExtensions, RtpTrack

MID = "urn:ietf:params:rtp-hdrext:sdes:mid"
PLAYOUT_DELAY = "http://www.webrtc.org/experiments/rtp-hdrext/playout-delay"
CAPTURE_TIME = "http://www.webrtc.org/experiments/rtp-hdrext/abs-capture-time"
_ECHOED = (MID, PLAYOUT_DELAY, CAPTURE_TIME)

# Constrained baseline first: what live encoders make. Decoders take more than the profile they name.
_PROFILES = ("42e0", "4200", "4d00", "640c", "6400", "f400")
_VIDEO_FEEDBACK = ("nack", "nack pli", "ccm fir")
_MAX_MEDIA = 16  # far above any WHEP player's audio and video


class NotAcceptable(MeshError):
    """The viewer's codecs and ours have nothing in common."""

    code = 406


@dataclass(frozen=True)
class Media:
    """One m-line of the offer and what we make of it; `track` None: rejected or, with `codec`, inactive."""

    description: MediaDescription
    codec: RTCRtpCodecParameters | None
    track: RtpTrack | None

    @property
    def mid(self) -> str:
        return self.description.rtp.muxId


@dataclass(frozen=True)
class Offer:
    """A parsed and matched offer."""

    media: tuple[Media, ...]
    fingerprints: list[RTCDtlsFingerprint]

    def track(self, kind: str) -> RtpTrack | None:
        return next((m.track for m in self.media if m.track and m.description.kind == kind), None)


def parse_offer(text: str, tracks: Sequence[str]) -> Offer:
    """Match an offer with the rendition's `tracks` (`video`, `opus`; empty: not known, so both are promised).

    Raises:
        BadRequest: not an SDP offer that a WebRTC peer makes.
        NotAcceptable: no H.264 with packetization-mode 1, or no media at all that we have.
    """
    try:
        description = SessionDescription.parse(text)
    except (ValueError, AssertionError, KeyError, IndexError, AttributeError, StopIteration, TypeError) as error:
        # The parser asserts where it should refuse, and fails in as many ways as text can be wrong.
        raise BadRequest(f"the body is not an SDP offer: {type(error).__name__} {error}".rstrip()) from None
    if not description.media or len(description.media) > _MAX_MEDIA:
        raise BadRequest(f"the offer has {len(description.media)} m-lines; 1 to {_MAX_MEDIA} are allowed")
    media: list[Media] = []
    for section in description.media:
        taken = any(m.codec and m.description.kind == section.kind for m in media)
        media.append(Media(section, None, None) if taken else _match(section, tracks))
    if not any(m.track for m in media):
        raise NotAcceptable("nothing to send: offer to receive H.264 (packetization-mode=1) video or Opus audio")
    accepted = next(m.description for m in media if m.track)
    if accepted.dtls is None or not accepted.dtls.fingerprints:
        raise BadRequest("the offer has no a=fingerprint and a=setup; only DTLS-SRTP is spoken here")
    if accepted.dtls.role == "server":
        raise BadRequest("the offer says a=setup:passive; offer actpass or active")
    if not accepted.ice or not accepted.ice.usernameFragment:
        raise BadRequest("the offer has no a=ice-ufrag")
    if not accepted.rtcp_mux:
        raise BadRequest("the offer has no a=rtcp-mux; RTP and RTCP share one port here")
    return Offer(tuple(media), accepted.dtls.fingerprints)


def write_answer(
    offer: Offer, *, ufrag: str, password: str, fingerprint: str, candidates: Sequence[str], cname: str
) -> str:
    """The answer: ICE-lite, DTLS server, everything bundled, we only send."""
    bundled = " ".join(m.mid for m in offer.media if m.codec)
    lines = [
        "v=0",
        f"o=- {secrets.randbits(62)} 1 IN IP4 0.0.0.0",
        "s=-",
        "t=0 0",
        f"a=group:BUNDLE {bundled}",
        "a=ice-lite",
        "a=msid-semantic: WMS *",
        "a=extmap-allow-mixed",
    ]
    first = True
    for media in offer.media:
        if media.codec is None:
            lines += _rejected(media)
            continue
        lines += _accepted(media, cname)
        lines += [f"a=ice-ufrag:{ufrag}", f"a=ice-pwd:{password}"]
        lines += [f"a=fingerprint:sha-256 {fingerprint}", "a=setup:passive"]
        if first:  # the others are bundled with it
            lines += [f"a=candidate:{candidate}" for candidate in candidates]
            lines.append("a=end-of-candidates")
            first = False
    return "\r\n".join(lines) + "\r\n"


def _match(section: MediaDescription, tracks: Sequence[str]) -> Media:
    if section.port == 0 and not section.rtp.muxId:
        return Media(section, None, None)
    if section.kind == "video":
        codec, wanted, rate_hz = _h264(section), "video", VIDEO_CLOCK_HZ
        if codec is None:
            raise NotAcceptable("the offered video has no H.264 with packetization-mode=1")
    elif section.kind == "audio":
        codec, wanted, rate_hz = _opus(section), "opus", OPUS_CLOCK_HZ
    else:
        return Media(section, None, None)
    if codec is None:
        return Media(section, None, None)
    if (tracks and wanted not in tracks) or section.direction in ("sendonly", "inactive"):
        return Media(section, codec, None)
    ids = {extension.uri: extension.id for extension in section.rtp.headerExtensions}
    extensions = HeaderExtensions(section.rtp.muxId, ids.get(MID), ids.get(PLAYOUT_DELAY), ids.get(CAPTURE_TIME))
    return Media(section, codec, RtpTrack(_payload_type(codec), rate_hz, extensions))


def _h264(section: MediaDescription) -> RTCRtpCodecParameters | None:
    usable = [
        codec
        for codec in section.rtp.codecs
        if codec.mimeType.lower() == "video/h264" and codec.parameters.get("packetization-mode") == "1"
    ]

    def preference(codec: RTCRtpCodecParameters) -> int:
        profile = str(codec.parameters.get("profile-level-id", "42001f")).lower()[:4]
        return _PROFILES.index(profile) if profile in _PROFILES else len(_PROFILES)

    return min(usable, key=preference, default=None)


def _opus(section: MediaDescription) -> RTCRtpCodecParameters | None:
    return next((codec for codec in section.rtp.codecs if codec.mimeType.lower() == "audio/opus"), None)


def _payload_type(codec: RTCRtpCodecParameters) -> int:
    if codec.payloadType is None:
        raise ValueError("a codec from an offer has a payload type")
    return codec.payloadType


def _rejected(media: Media) -> list[str]:
    section = media.description
    lines = [f"m={section.kind} 0 {section.profile} {' '.join(map(str, section.fmt))}", "c=IN IP4 0.0.0.0"]
    if media.mid:
        lines.append(f"a=mid:{media.mid}")
    return [*lines, "a=inactive"]


def _accepted(media: Media, cname: str) -> list[str]:
    section, codec = media.description, media.codec
    if codec is None:
        raise ValueError("a rejected m-line has no codec")
    payload_type = _payload_type(codec)
    lines = [
        f"m={section.kind} 9 UDP/TLS/RTP/SAVPF {payload_type}",
        "c=IN IP4 0.0.0.0",
        f"a=mid:{media.mid}",
        "a=sendonly" if media.track else "a=inactive",
        "a=rtcp-mux",
        "a=rtcp-rsize",
    ]
    lines += [f"a=extmap:{ext.id} {ext.uri}" for ext in section.rtp.headerExtensions if ext.uri in _ECHOED]
    if section.kind == "video":
        profile = codec.parameters.get("profile-level-id", "42001f")
        lines.append(f"a=rtpmap:{payload_type} H264/{VIDEO_CLOCK_HZ}")
        lines += [f"a=rtcp-fb:{payload_type} {feedback}" for feedback in _VIDEO_FEEDBACK]
        lines.append(f"a=fmtp:{payload_type} level-asymmetry-allowed=1;packetization-mode=1;profile-level-id={profile}")
    else:
        lines.append(f"a=rtpmap:{payload_type} opus/{OPUS_CLOCK_HZ}/2")
        lines.append(f"a=fmtp:{payload_type} minptime=10;useinbandfec=1;stereo=1;sprop-stereo=1")
    if media.track:
        lines.append(f"a=msid:{cname} {section.kind}")
        lines.append(f"a=ssrc:{media.track.ssrc} cname:{cname}")
        lines.append(f"a=ssrc:{media.track.ssrc} msid:{cname} {section.kind}")
    return lines
