"""When the first packets of a file are to be decoded, where its container does not say so."""

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from av.packet import Packet
    from av.video.stream import VideoStream

_MAX_HELD: Final = 64
"""Packets, with the sound between them. Pictures are reordered over 16 at most."""


def with_decoding_times(packets: "Iterable[Packet[Any]]", video: "VideoStream | None") -> "Iterator[Packet[Any]]":
    """The packets of a file in their order, their decoding times growing from the first on.

    Matroska has times of presentation only: libav finds those of decoding, but not for the first pictures, as many as
    are reordered. Taken for their times of presentation they would lie behind those that follow.
    """
    held: list[Packet[Any]] = []
    looking = video is not None
    for packet in packets:
        if looking and packet.size:
            of_video = packet.stream is video
            if len(held) < _MAX_HELD and (held or of_video) and (packet.dts is None or not of_video):
                held.append(packet)
                continue
            if of_video or held:
                looking = False
                _fill([one for one in held if one.stream is video], packet)
                yield from held
                held = []
        yield packet
    yield from held


def _fill(before: "list[Packet[Any]]", known: "Packet[Any]") -> None:
    """Give those `before` their times, backwards from one that has it."""
    if known.dts is None:
        return
    for back, packet in enumerate(reversed(before), 1):
        dts = known.dts - back * max(1, packet.duration or 0)
        packet.dts = dts if packet.pts is None else min(dts, packet.pts)
