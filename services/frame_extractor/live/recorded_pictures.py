"""The recorded picture nearest to a moment, on whichever node: publishers say where it lies, and hand it out."""

import asyncio
import io
from typing import TYPE_CHECKING, Any, Final

import av

from schemas.errors import InternalError, NotFound, Unavailable
from schemas.moments import FileMoment, FindMoment
from schemas.recordings import FetchFile, FilePart
from schemas.subjects import command
from schemas.units import NS_PER_SECOND
from services.frame_extractor.live.found import Found
from services.frame_extractor.live.packet_pictures import decode_until
from shared.bus import Bus
from shared.netguard.libav import ANY_TEXT
from shared.recording_index import DEMUXERS

if TYPE_CHECKING:
    from av.packet import Packet as AvPacket
    from av.video.frame import VideoFrame

_ASK_SECONDS: Final = 5.0  # a disk that has to wake up takes some
_PART_BYTES: Final = 1 << 20
# Of one group of pictures: 20 s of 25 Mbit/s. What is longer has hardly a key picture.
_MAX_BYTES: Final = 64 << 20
_CLOCK_NS: Final = 1_000_000  # of Matroska, the coarsest


async def nearest_recorded(bus: Bus, nodes: list[str], stream: str, at: str, at_ns: int) -> FileMoment | None:
    """Of the nodes' files the picture nearest to `at`; None when no node has any.

    Raises:
        Unavailable: a publisher did not answer, and no other has it.
    """
    asked = await asyncio.gather(*(_ask(bus, node, stream, at) for node in nodes), return_exceptions=True)
    moments = [moment for moment in asked if isinstance(moment, FileMoment)]
    if not moments:
        for error in asked:
            if isinstance(error, BaseException) and not isinstance(error, NotFound):
                raise error
        return None
    return min(moments, key=lambda moment: abs(moment.captured_ns - at_ns))


async def fetch_recorded(bus: Bus, stream: str, moment: FileMoment) -> Found:
    """The picture, with all that is needed to decode it.

    Raises:
        MeshError: the publisher's own; the file is gone, or a group of pictures too large.
    """
    needed = moment.header_bytes + moment.end - moment.offset
    if needed > _MAX_BYTES or moment.format not in DEMUXERS:
        raise InternalError(
            f"{moment.file}: {needed} bytes of {moment.format} are needed for one picture, at most {_MAX_BYTES} are "
            f"read; record with a shorter key_interval"
        )
    head = await _fetch(bus, stream, moment, 0, moment.header_bytes)
    data = head + await _fetch(bus, stream, moment, moment.offset, moment.end)
    return Found(
        origin="recording",
        captured_ns=moment.captured_ns,
        epoch=moment.epoch,
        sequence=moment.sequence,
        duration_ns=moment.duration_ns,
        frame=lambda: _decode(data, moment),
        rendition=moment.rendition,
        file=moment.file,
    )


async def _ask(bus: Bus, node: str, stream: str, at: str) -> FileMoment:
    request = FindMoment(stream=stream, at=at)
    return await bus.request(command("publisher", "moment", node), request, FileMoment, _ASK_SECONDS)


async def _fetch(bus: Bus, stream: str, moment: FileMoment, offset: int, end: int) -> bytes:
    parts = []
    while offset < end:
        request = FetchFile(file=moment.file, stream=stream, offset=offset, size=min(_PART_BYTES, end - offset))
        part = await bus.request(command("publisher", "fetch", moment.node), request, FilePart, _ASK_SECONDS)
        if not part.data:
            raise Unavailable(f"{moment.file} was cut meanwhile; try again")
        parts.append(part.data)
        offset += len(part.data)
    return b"".join(parts)


def _decode(data: bytes, moment: FileMoment) -> "VideoFrame":
    """Raises: MeshError: the file is damaged there."""
    try:
        with av.open(io.BytesIO(data), "r", format=DEMUXERS[moment.format], metadata_errors=ANY_TEXT) as container:
            video = container.streams.video[0]
            group: list[AvPacket[Any]] = []
            first_ns = None
            number = 0
            for packet in container.demux(video):
                if not packet.size:  # the demuxer's last word
                    continue
                if packet.is_keyframe:
                    group.clear()
                group.append(packet)
                shown_ns = _shown_ns(packet)
                first_ns = shown_ns if first_ns is None else first_ns
                if _is_it(number, shown_ns, first_ns, moment):
                    return decode_until(video.codec_context, group, packet)
                number += 1
    except (av.FFmpegError, IndexError) as error:
        raise InternalError(f"{moment.file}: the picture cannot be read: {error}") from error
    raise InternalError(f"{moment.file}: the picture is not where its index says")


def _is_it(number: int, shown_ns: int, first_ns: int, moment: FileMoment) -> bool:
    if moment.format == "mp4":
        return number == moment.number
    # Their muxers sort: a picture may lie elsewhere than where it was handed over, and only the times tell.
    begin_ns = first_ns - moment.first_pts_ns if moment.format == "ts" else 0
    return abs(shown_ns - begin_ns - moment.pts_ns) <= _CLOCK_NS


def _shown_ns(packet: "AvPacket[Any]") -> int:
    if packet.pts is None or packet.time_base is None:
        return 0
    return round(packet.pts * packet.time_base * NS_PER_SECOND)
