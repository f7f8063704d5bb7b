"""The picture nearest to a moment that is in the packet rings: decoded from the key picture before it."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import av
from av.packet import Packet as AvPacket
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame

from schemas.errors import InternalError
from schemas.packets import PacketHeader
from schemas.subjects import DEFAULT_RENDITION, SOURCE_RENDITION
from services.frame_extractor.live.found import Found
from shared.packet_ring import PacketRingReader
from shared.packet_ring.folder import renditions_of
from shared.ring import RingError

_PREFERRED: Final = {SOURCE_RENDITION: 0, DEFAULT_RENDITION: 1}
# A picture that is shown at the moment may be decoded so many after one that is shown later: as many as codecs keep.
_MAX_REORDERED: Final = 16
_DECODING_THREADS: Final = 2  # a group of 60 pictures of 1080p in 0.2 s, and cores are left for live pictures

Packet = tuple[PacketHeader, bytes]


def nearest_in_packets(folder: Path, stream: str, at_ns: int) -> tuple[Found | None, int]:
    """The picture of whichever rendition, and the capture of the oldest one; 0 when there is none. Blocks."""
    best: Found | None = None
    oldest_ns = 0
    for rendition in sorted(renditions_of(folder, stream), key=lambda name: (_PREFERRED.get(name, 2), name)):
        try:
            with PacketRingReader.open_latest(folder, stream, rendition) as ring:
                kept = ring.kept_ns()
                if kept is None:
                    continue
                oldest_ns = min(oldest_ns or kept[0], kept[0])
                packets = _until(at_ns, ring.since_capture(at_ns))
        except (RingError, LookupError):  # its producer has gone; or it is damaged, and others are not
            continue
        found = _nearest(packets, at_ns, rendition)
        if found is not None and (best is None or abs(found.off_ns(at_ns)) < abs(best.off_ns(at_ns))):
            best = found
        if best is not None and best.is_near(at_ns):
            break
    return best, oldest_ns


def _until(at_ns: int, packets: Iterable[Packet]) -> list[Packet]:
    """The pictures' packets as far as the nearest one can be; read at once, for the ring moves on."""
    kept: list[Packet] = []
    later = 0
    for header, payload in packets:
        if header.track != "video":
            continue
        kept.append((header, payload))
        later += header.captured_ns > at_ns
        if later > (_MAX_REORDERED if header.reordered else 0):
            break
    return kept


def _nearest(packets: list[Packet], at_ns: int, rendition: str) -> Found | None:
    if not packets or not packets[0][0].key:
        return None
    number = min(range(len(packets)), key=lambda index: abs(packets[index][0].captured_ns - at_ns))
    header = packets[number][0]
    return Found(
        origin="packets",
        captured_ns=header.captured_ns,
        epoch=header.epoch,
        sequence=header.sequence,
        duration_ns=header.duration_ns,
        frame=lambda: decode_packet(packets[: number + 1]),
        rendition=rendition,
    )


def decode_packet(packets: list[Packet]) -> VideoFrame:
    """The picture of the last packet, the first being a key picture's; blocks.

    Raises:
        InternalError: it cannot be decoded.
    """
    wanted = packets[-1][0]
    decoder = av.CodecContext.create(wanted.codec, "r")
    assert isinstance(decoder, VideoCodecContext)
    decoder.thread_count = _DECODING_THREADS
    coded = []
    # Times as numbers of their own: a producer's may repeat, and the decoder hands on whatever it is given.
    shown = sorted({header.pts_ns for header, _ in packets})
    for header, payload in packets:
        packet: AvPacket[Any] = AvPacket(payload)
        packet.pts = shown.index(header.pts_ns)
        coded.append(packet)
    return decode_until(decoder, coded, coded[-1])


def decode_until(decoder: VideoCodecContext, packets: "Iterable[AvPacket[Any]]", wanted: "AvPacket[Any]") -> VideoFrame:
    """The picture that `wanted`, the last of `packets`, becomes.

    Raises:
        InternalError: it cannot be decoded.
    """
    found: VideoFrame | None = None
    try:
        for packet in packets:
            for frame in decoder.decode(packet):
                found = frame if frame.pts == wanted.pts else found
        for frame in decoder.decode(None):
            found = frame if frame.pts == wanted.pts else found
    except av.FFmpegError as error:
        raise InternalError(f"the picture cannot be decoded: {error}") from error
    if found is None:
        raise InternalError("the picture cannot be decoded: the decoder left it out")
    return found
