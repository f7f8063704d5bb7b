"""What players need before the first fragment: `ftyp` and `moov`, made by libav, and the CODECS that they stand for."""

import io
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import av

from schemas.errors import BadRequest
from schemas.packets import Track
from shared.media.mux import Muxer, TrackParameters

VIDEO_CODECS: Final = frozenset({"h264", "hevc", "av1", "vp9"})
"""What browsers play out of MP4; VP8 and MJPEG they do not."""
AUDIO_TRACKS: Final[tuple[Track, ...]] = ("aac", "opus")
"""The preferred first: AAC is what every player of HLS knows."""

_HEVC_TAG = "hvc1"  # the one that Apple's players take
# empty_moov: all of the header at once, before any packet; cmaf: its brand, and no edit lists.
_MOVFLAGS = "empty_moov+default_base_moof+cmaf+skip_trailer"
_BOX_HEADER_BYTES = 8
# Bytes of what comes before the boxes inside (ISO/IEC 14496-12, 8.5.2 and 12.1.3, 12.2.3).
_INNER = {b"moov": 0, b"trak": 0, b"mdia": 0, b"minf": 0, b"stbl": 0, b"stsd": 8}
_VISUAL_ENTRY_BYTES, _AUDIO_ENTRY_BYTES = 78, 28
_INNER |= dict.fromkeys((b"avc1", b"hvc1", b"av01", b"vp09"), _VISUAL_ENTRY_BYTES)
_INNER |= dict.fromkeys((b"mp4a", b"Opus"), _AUDIO_ENTRY_BYTES)
_AAC_DESCRIPTOR, _SPECIFIC_DESCRIPTOR = 0x04, 0x05  # ISO/IEC 14496-1, 7.2.2.1
_HEVC_CONSTRAINT_BYTES = 6


@dataclass(frozen=True)
class Header:
    """The header of one run of fragments. Track 1 is the pictures, track 2, where there is one, the sound."""

    data: bytes
    codecs: str
    """As in the CODECS attribute (RFC 6381)."""
    video: TrackParameters
    audio: TrackParameters | None


def make_header(video: TrackParameters, audio: TrackParameters | None) -> Header:
    """Takes about a millisecond.

    Raises:
        BadRequest: libav cannot make anything of the parameters.
    """
    tracks: dict[Track, TrackParameters] = {"video": video}
    if audio is not None:
        tracks[audio.track] = audio
    sink = io.BytesIO()
    try:
        muxer = Muxer(
            sink, "mp4", tracks, {"movflags": _MOVFLAGS}, video_tag=_HEVC_TAG if video.codec == "hevc" else ""
        )
        data = sink.getvalue()
        muxer.close()
        codecs = codecs_of(data)
    # IndexError: a record that is cut short; OverflowError: sizes that no picture has.
    except (av.FFmpegError, OSError, ValueError, IndexError, OverflowError) as error:
        raise BadRequest(f"the parameters of {video.codec} are not understood: {error}") from None
    return Header(data=data, codecs=codecs, video=video, audio=audio)


def codecs_of(header: bytes) -> str:
    """The CODECS attribute of a header that libav has made: what its configuration boxes say."""
    names = []
    for kind, data in _boxes(header):
        if kind == b"avcC":
            names.append(f"avc1.{data[1:4].hex()}")
        elif kind == b"hvcC":
            names.append(_hevc_name(data))
        elif kind == b"av1C":
            names.append(_av1_name(data))
        elif kind == b"vpcC":
            names.append(f"vp09.{data[4]:02d}.{data[5]:02d}.{data[6] >> 4:02d}")
        elif kind == b"esds":
            names.append(f"mp4a.40.{_aac_object_type(data)}")
        elif kind == b"dOps":
            names.append("opus")
    return ",".join(names)


def _boxes(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Every box that holds no others, with its content."""
    position = 0
    while position + _BOX_HEADER_BYTES <= len(data):
        size = int.from_bytes(data[position : position + 4], "big")
        if size < _BOX_HEADER_BYTES:
            return
        kind, content = data[position + 4 : position + 8], data[position + _BOX_HEADER_BYTES : position + size]
        if kind in _INNER:
            yield from _boxes(content[_INNER[kind] :])
        else:
            yield kind, content
        position += size


def _hevc_name(record: bytes) -> str:
    """ISO/IEC 14496-15, E.3."""
    space, tier, profile = record[1] >> 6, record[1] >> 5 & 1, record[1] & 0x1F
    compatibility = int(f"{int.from_bytes(record[2:6], 'big'):032b}"[::-1], 2)
    constraints = record[6 : 6 + _HEVC_CONSTRAINT_BYTES].rstrip(b"\x00")
    name = f"hvc1.{'ABC'[space - 1] if space else ''}{profile}.{compatibility:X}.{'H' if tier else 'L'}{record[12]}"
    return ".".join((name, *(f"{byte:X}" for byte in constraints)))


def _av1_name(record: bytes) -> str:
    """AV1 in ISOBMFF, section 5."""
    profile, level = record[1] >> 5, record[1] & 0x1F
    tier, high, twelve = record[2] >> 7, record[2] >> 6 & 1, record[2] >> 5 & 1
    depth = 12 if high and twelve else 10 if high else 8
    return f"av01.{profile}.{level:02d}{'H' if tier else 'M'}.{depth:02d}"


def _aac_object_type(esds: bytes) -> int:
    """From the AudioSpecificConfig in the elementary stream descriptor."""
    position = 4 + 1  # version and flags, the tag of the outer descriptor
    position = _after_size(esds, position) + 3  # ES_ID and flags
    if esds[position] != _AAC_DESCRIPTOR:
        return 2
    position = _after_size(esds, position + 1) + 13  # object type, buffer size and bit rates
    if esds[position] != _SPECIFIC_DESCRIPTOR:
        return 2
    position = _after_size(esds, position + 1)
    kind = esds[position] >> 3
    return kind if kind < 31 else 32 + ((esds[position] & 7) << 3 | esds[position + 1] >> 5)


def _after_size(data: bytes, position: int) -> int:
    """Where what follows a descriptor's size of 1 to 4 bytes begins."""
    while data[position] & 0x80:
        position += 1
    return position + 1
