"""Decodes runs of packets and hands over the pictures that are wanted."""

import threading
from collections.abc import Callable, Iterator
from typing import Any

import av
from av.container import InputContainer
from av.packet import Packet, PacketSideData
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from schemas.errors import MeshError
from services.frame_extractor.engine.index import NO_TIME, Index
from services.frame_extractor.engine.limits import Limits
from services.frame_extractor.engine.open import OpenVideo
from services.frame_extractor.engine.plan import Run, Share, is_fed
from services.frame_extractor.engine.targets import Moment

Give = Callable[[Moment, int, VideoFrame], None]
"""A picture and the time, or number, that it has."""

_SEEK_PACKETS = 100  # reading over fewer takes no longer than a seek
_SEARCH_PACKETS = 4000  # after a seek: more than any group of pictures that one seeks in
_BY_PTS = ("matroska", "webm")  # whose indices hold the times of presentation; all others those of decoding


class Lost(Exception):
    """The packets cannot be read on."""


def decode_share(
    video: OpenVideo, index: Index, share: Share, give: Give, halt: threading.Event, limits: Limits
) -> list[Moment]:
    """Decode the share and `give` its pictures; returns the moments whose pictures did not come out.

    Raises:
        VideoError: the video cannot be opened, or its pictures are too large.
    """
    with video.opened(halt) as (container, stream):
        feeder = _Feeder(container, stream, index)
        decoder = _Decoder(stream, index, share.decoder_threads, halt, limits)
        missed: list[Moment] = []
        for run in share.runs:
            if halt.is_set():
                break
            try:
                missed += decoder.decode(run, feeder.packets(run.first, run.last), give)
            except (MeshError, av.FFmpegError, OSError, Lost):
                if halt.is_set():
                    break
                missed += decoder.left(run)
                return missed + [moment for later in share.runs if later.first > run.first
                                 for wanted in later.wanted.values() for moment in wanted]  # fmt: skip
        return missed


class _Feeder:
    """Packets by their number in the file."""

    def __init__(self, container: InputContainer, stream: VideoStream, index: Index) -> None:
        self._container, self._stream, self._index = container, stream, index
        self._source = container.demux(stream)
        self._next = 0
        self._held: Packet[Any] | None = None
        self._seeks = True
        self._configuration: PacketSideData | None = None

    def packets(self, first: int, last: int) -> Iterator[tuple[int, "Packet[Any]"]]:
        if first < self._next or (first - self._next > _SEEK_PACKETS and self._seeks):
            self._seek(first)
        while self._next <= last:
            packet = self._read()
            if packet.has_sidedata("new_extradata"):
                self._configuration = PacketSideData.from_packet(packet, "new_extradata")
            if self._next > first and self._configuration is not None:
                # What was said with a packet that nobody decodes holds for those after it.
                self._configuration.to_packet(packet)
                self._configuration = None
            if self._next > first:
                yield self._next - 1, packet

    def _read(self) -> "Packet[Any]":
        packet, self._held = self._held, None
        while packet is None:
            packet = next(self._source, None)
            if packet is None:
                raise Lost
            if not packet.size:
                packet = None
        self._next += 1
        return packet

    def _seek(self, target: int) -> None:
        index = self._index
        by_pts = any(name in self._container.format.name for name in _BY_PTS)
        times = (index.pts, index.dts) if by_pts else (index.dts, index.pts)
        at = next((int(time[target]) for time in times if time[target] != NO_TIME), None)
        try:
            if at is not None and self._seeks:
                self._container.seek(at, stream=self._stream)
                self._source = self._container.demux(self._stream)
                if self._find(target):
                    return
            self._seeks = False
            self._container.seek(0 if index.dts[0] == NO_TIME else int(index.dts[0]), stream=self._stream)
            self._source = self._container.demux(self._stream)
            if not self._find(0):
                raise Lost
        except av.FFmpegError:
            raise Lost from None

    def _find(self, target: int) -> bool:
        """Read until this packet comes, and hold it."""
        index = self._index
        wanted = (int(index.pts[target]), int(index.dts[target]), int(index.size[target]))
        for _ in range(_SEARCH_PACKETS):
            packet = next(self._source, None)
            if packet is None:
                return False
            if not packet.size:
                continue
            if (_time(packet.pts), _time(packet.dts), packet.size) == wanted:
                self._held, self._next = packet, target
                return True
            if _time(packet.dts) > wanted[1] != NO_TIME:
                return False
        return False


class _Decoder:
    """One decoder for many runs."""

    def __init__(self, stream: VideoStream, index: Index, threads: int, halt: threading.Event, limits: Limits) -> None:
        self._context = stream.codec_context
        self._context.thread_count = threads
        self._context.thread_type = "FRAME" if threads > 1 else "NONE"
        self._context.options = {"max_pixels": str(limits.pixels)}
        self._index, self._halt = index, halt
        self._number = 0
        self._sort: _Exact | _Shown = _Exact({}, lambda *_: None)

    def decode(self, run: Run, packets: Iterator[tuple[int, "Packet[Any]"]], give: Give) -> list[Moment]:
        """Returns the moments whose pictures did not come out."""
        index, context = self._index, self._context
        self._sort = sort = (_Shown if index.careful else _Exact)(run.wanted, give)
        self._number = 0
        context.flush_buffers()
        # Flushing makes the decoder forget how far pictures are apart from their order, and it would lose some.
        context.reorder_depth = index.reorder_depth
        for number, packet in packets:
            if self._halt.is_set():
                return []
            if is_fed(index, run, number):
                self._feed(packet)
                if sort.done:
                    return []
        self._feed(None)
        return sort.end()

    def left(self, run: Run) -> list[Moment]:
        """What did not come out of a run that broke off."""
        self._feed(None)
        return self._sort.end()

    def _feed(self, packet: "Packet[Any] | None") -> None:
        try:
            frames = self._context.decode(packet)
        except av.InvalidDataError:  # of a broken packet nothing comes out; what is missing is asked for again
            return
        except av.error.EOFError:
            return
        for frame in frames:
            if self._halt.is_set():
                return
            if self._index.numbered:
                self._sort.put(self._number, frame)
                self._number += 1
            elif frame.pts is not None:
                self._sort.put(frame.pts, frame)


class _Exact:
    """Gives the pictures that are wanted as they come."""

    def __init__(self, wanted: dict[int, list[Moment]], give: Give) -> None:
        self._wanted = dict(wanted)
        self._give = give

    @property
    def done(self) -> bool:
        return not self._wanted

    def put(self, at: int, frame: VideoFrame) -> None:
        for moment in self._wanted.pop(at, ()):
            self._give(moment, at, frame)

    def end(self) -> list[Moment]:
        return [moment for moments in self._wanted.values() for moment in moments]


class _Shown:
    """Gives the pictures that are shown then: with all pictures of a run at hand, the last up to the time."""

    def __init__(self, wanted: dict[int, list[Moment]], give: Give) -> None:
        self._wanted = sorted(wanted.items(), reverse=True)
        self._give = give
        self._shown: tuple[int, VideoFrame] | None = None

    @property
    def done(self) -> bool:
        return not self._wanted

    def put(self, at: int, frame: VideoFrame) -> None:
        if self._shown is not None:
            while self._wanted and self._wanted[-1][0] < at:
                self._give_shown()
        self._shown = at, frame
        if self._wanted and self._wanted[-1][0] == at:
            self._give_shown()

    def end(self) -> list[Moment]:
        while self._wanted and self._shown is not None:
            self._give_shown()
        return [moment for _, moments in self._wanted for moment in moments]

    def _give_shown(self) -> None:
        assert self._shown is not None
        for moment in self._wanted.pop()[1]:
            self._give(moment, *self._shown)


def _time(value: int | None) -> int:
    return NO_TIME if value is None else value
