"""The m-lines of a connection, and the offer that they make (RFC 8829, RFC 9143): ours to write, client after client
alike, so that one payload type is one codec in all of them."""

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from schemas.packets import VideoCodec
from services.webrtc_gateway.codecs.video import VIEWER_CODECS
from services.webrtc_gateway.datachannels.section import write_section
from services.webrtc_gateway.ingest.offer import FEEDBACK
from services.webrtc_gateway.signalling.offer import AUDIO_LEVEL, CAPTURE_TIME, MID, PLAYOUT_DELAY
from services.webrtc_gateway.sora.simulcast import layer_lines, layered_codecs
from shared.rtp.clock import VIDEO_CLOCK_HZ
from shared.rtp.opus import OPUS_CLOCK_HZ

Kind = Literal["audio", "video"]
SectionKind = Literal["audio", "video", "application"]
"""`application`: data channels."""
Direction = Literal["recvonly", "sendonly", "inactive"]
"""Seen from us."""

MAX_SECTIONS = 16  # as many as an answer is read with; each of a peer's sections is parsed again with every answer
OPUS_TYPE = 109
_VIDEO_TYPES: Mapping[VideoCodec, int] = {"h264": 100, "vp8": 98, "vp9": 96, "av1": 102, "hevc": 104}
_RETRANSMISSION = 1  # so much above the codec's own payload type
_FORMATS: Mapping[VideoCodec, str] = {
    "h264": "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f",
    "vp8": "",
    "vp9": "profile-id=0",
    "av1": "profile=0",
    "hevc": "level-id=150;profile-id=1;tier-flag=0;tx-mode=SRST",  # level 5.0
}
_EXTENSIONS = ((1, MID), (2, CAPTURE_TIME), (3, PLAYOUT_DELAY))
_AUDIO_LEVEL_ID = 10  # of one bundle: the others' ids are not this
_OPUS_FORMAT: Mapping[str, str] = {"minptime": "10", "useinbandfec": "1"}
# As the client's own names for them; what is none is left out.
_OPUS_NAMES: Mapping[str, str] = {
    "channels": "",
    "maxplaybackrate": "maxplaybackrate",
    "minptime": "minptime",
    "ptime": "ptime",
    "stereo": "stereo",
    "sprop_stereo": "sprop-stereo",
    "useinbandfec": "useinbandfec",
    "usedtx": "usedtx",
}
CODEC_NAMES: Mapping[str, VideoCodec] = {"VP8": "vp8", "VP9": "vp9", "AV1": "av1", "H264": "h264", "H265": "hevc"}


def new_ssrc() -> int:
    return secrets.randbelow(0xFFFFFFFF) + 1


@dataclass
class Section:
    """One m-line; which media it carries changes, its mid and its kind do not."""

    mid: str
    kind: SectionKind
    direction: Direction = "inactive"
    stream: str = ""
    """The msid of what we send: the publisher's connection_id, or the mesh's name of the stream."""
    ssrc: int = field(default_factory=new_ssrc)
    used: bool = False
    """Something was sent on it already: sinks of the client are tied to that."""


@dataclass(frozen=True)
class Terms:
    """What holds for all m-lines of a connection."""

    codecs: tuple[VideoCodec, ...]
    """Of pictures, the one that we like best first."""
    opus: str
    """`a=fmtp` of Opus."""
    max_bps: int
    start_bps: int | None = None
    """What a publisher shall begin with; None: what it thinks."""
    simulcast: bool = False
    """It sends its pictures in several sizes."""
    formats: Mapping[VideoCodec, str] = field(default_factory=dict)
    """`a=fmtp` of codecs where it is not the usual one; the same in all m-lines, as their payload types are."""


def opus_format(asked: Mapping[str, object]) -> str:
    """The fmtp of Opus with what the client asks for; only numbers and booleans, as it is a stranger's text."""
    found = dict(_OPUS_FORMAT)
    for name, value in asked.items():
        known = _OPUS_NAMES.get(name, "")
        if known and isinstance(value, bool | int) and 0 <= value <= OPUS_CLOCK_HZ:
            found[known] = str(int(value))
    return ";".join(f"{name}={value}" for name, value in found.items())


@dataclass(frozen=True)
class Transport:
    """What the client needs to reach us."""

    ufrag: str
    password: str
    fingerprint: str
    candidates: Sequence[str]


def write_offer(sections: Sequence[Section], terms: Terms, transport: Transport, origin: int, version: int) -> str:
    """The offer: ICE-lite, the client chooses to be DTLS' client, everything bundled."""
    lines = [
        "v=0",
        f"o=- {origin} {version} IN IP4 0.0.0.0",
        "s=-",
        "t=0 0",
        f"a=group:BUNDLE {' '.join(section.mid for section in sections)}",
        "a=ice-lite",
        "a=msid-semantic: WMS *",
        "a=extmap-allow-mixed",
    ]
    for number, section in enumerate(sections):
        lines += _media(section, terms)
        lines += [f"a=ice-ufrag:{transport.ufrag}", f"a=ice-pwd:{transport.password}"]
        lines += [f"a=fingerprint:sha-256 {transport.fingerprint}", "a=setup:actpass"]
        if number == 0:  # the others are bundled with it
            lines += [f"a=candidate:{candidate}" for candidate in transport.candidates]
            lines.append("a=end-of-candidates")
    return "\r\n".join(lines) + "\r\n"


def _media(section: Section, terms: Terms) -> list[str]:
    if section.kind == "application":
        return write_section(section.mid)
    return _video(section, terms) if section.kind == "video" else _audio(section, terms)


def _head(section: Section, types: Sequence[int]) -> list[str]:
    lines = [
        f"m={section.kind} 9 UDP/TLS/RTP/SAVPF {' '.join(map(str, types))}",
        "c=IN IP4 0.0.0.0",
        f"a=mid:{section.mid}",
        f"a={section.direction}",
        "a=rtcp-mux",
        "a=rtcp-rsize",
        *(f"a=extmap:{number} {uri}" for number, uri in _EXTENSIONS),
    ]
    if section.direction == "sendonly":
        lines.append(f"a=msid:{section.stream} {section.stream}-{section.kind}")
        lines.append(f"a=ssrc:{section.ssrc} cname:{section.stream}")
    return lines


def _audio(section: Section, terms: Terms) -> list[str]:
    level = [f"a=extmap:{_AUDIO_LEVEL_ID} {AUDIO_LEVEL}"] if section.direction == "recvonly" else []
    return [
        *_head(section, (OPUS_TYPE,)),
        *level,
        f"a=rtpmap:{OPUS_TYPE} opus/{OPUS_CLOCK_HZ}/2",
        f"a=fmtp:{OPUS_TYPE} {terms.opus}",
    ]


def _video(section: Section, terms: Terms) -> list[str]:
    uplink = section.direction == "recvonly"
    layered = uplink and terms.simulcast
    codecs = layered_codecs(terms.codecs) if layered else terms.codecs
    numbers = [_VIDEO_TYPES[codec] for codec in codecs]
    types = [number + more for number in numbers for more in ((0, _RETRANSMISSION) if uplink else (0,))]
    lines = _head(section, types)
    if uplink:
        lines.insert(2, f"b=AS:{terms.max_bps // 1000}")
    for codec, number in zip(codecs, numbers, strict=True):
        lines.append(f"a=rtpmap:{number} {VIEWER_CODECS[codec].encoding}/{VIDEO_CLOCK_HZ}")
        lines += [f"a=rtcp-fb:{number} {feedback}" for feedback in FEEDBACK]
        usual = terms.formats.get(codec, _FORMATS[codec])
        formats = [usual] if usual else []
        if uplink and terms.start_bps is not None:
            formats.append(f"x-google-start-bitrate={terms.start_bps // 1000}")
        if formats:
            lines.append(f"a=fmtp:{number} {';'.join(formats)}")
        if uplink:
            lines.append(f"a=rtpmap:{number + _RETRANSMISSION} rtx/{VIDEO_CLOCK_HZ}")
            lines.append(f"a=fmtp:{number + _RETRANSMISSION} apt={number}")
    if layered:
        lines += layer_lines()
    return lines
