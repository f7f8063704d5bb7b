"""Decodes runs of packets and hands over the pictures that are wanted."""

import threading
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

import av
from av.container import InputContainer
from av.packet import Packet, PacketSideData
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from schemas.errors import MeshError
from services.frame_extractor.engine.errors import VideoError
from services.frame_extractor.engine.index import NO_TIME, Index
from services.frame_extractor.engine.limits import Limits
from services.frame_extractor.engine.open import OpenVideo
from services.frame_extractor.engine.packets import packets_of
from services.frame_extractor.engine.plan import Run, Share, is_fed
from services.frame_extractor.engine.targets import Moment

Give = Callable[[Moment, int, VideoFrame], None]
"""A picture and the time, or number, that it has."""

_SEEK_PACKETS = 100  # reading over fewer takes no longer than a seek
_SEARCH_PACKETS = 4000  # after a seek: more than any group of pictures that one seeks in
_CODED_PIXELS = 2  # coded pictures are larger than what is shown of them; small ones by half
_BY_PTS = ("matroska", "webm")  # whose indices hold the times of presentation; all others those of decoding


class _Lost(Exception):
    """The packets end before they should."""


class _Unseekable(Exception):
    """After a seek other packets come than those that the index names."""


def decode_shares(
    video: OpenVideo,
    index: Index,
    next_share: Callable[[], Share | None],
    give: Give,
    halt: threading.Event,
    limits: Limits,
) -> list[Moment]:
    """Decode shares until there are no more, and `give` their pictures.

    Returns the moments whose pictures did not come out.

    Raises:
        VideoError: the video cannot be opened, or its pictures are too large.
    """
    missed: list[Moment] = []
    # Where the clock was set back a time is in the file twice, perhaps with a packet of the same size at each.
    seeks = not index.shift.any()
    share = next_share()
    while share is not None:
        with video.opened(halt) as (container, stream):
            feeder = _Feeder(container, stream, index, seeks)
            threads = share.decoder_threads
            try:
                decoder = _Decoder(stream, index, threads, halt, limits)
            except MemoryError:
                raise
            except av.FFmpegError:  # of what the container says of the stream nothing can be made
                raise VideoError("video", f"{video.name}: its header does not fit its codec, {index.codec}") from None
            while share is not None and share.decoder_threads == threads and not halt.is_set():
                try:
                    while share.runs and not halt.is_set():
                        missed += decoder.decode(share.runs[0], feeder, give)
                        share.runs.pop(0)
                except _Unseekable:
                    seeks = False
                    break  # from the beginning again: in order, packets are always the same
                except MemoryError:
                    raise
                except (MeshError, av.FFmpegError, OSError, _Lost):
                    # Where this file ends for us, it ended for the index a little later: the rest is gone.
                    missed += decoder.left()
                    missed += [moment for run in share.runs[1:] for same in run.wanted.values() for moment in same]
                    share = next_share()
                    break
                share = next_share()
            if halt.is_set():
                break
    return missed


class _Feeder:
    """Packets by their number in the file."""

    def __init__(self, container: InputContainer, stream: VideoStream, index: Index, seeks: bool) -> None:
        self._container, self._stream, self._index, self._seeks = container, stream, index, seeks
        self._source = packets_of(container, stream)
        self._next = 0
        self._held: Packet[Any] | None = None
        self._configuration: PacketSideData | None = None

    def packets(self, first: int, last: int) -> Iterator[tuple[int, "Packet[Any]"]]:
        if self._seeks and (first < self._next or first - self._next > _SEEK_PACKETS):
            self._seek(first)
        elif first < self._next:
            raise _Unseekable
        while self._next <= last:
            packet = self._read()
            if packet.has_sidedata("new_extradata"):
                self._configuration = PacketSideData.from_packet(packet, "new_extradata")
            if self._next <= first:
                continue
            if self._configuration is not None:
                # What was said with a packet that nobody decodes holds for those after it.
                self._configuration.to_packet(packet)
                self._configuration = None
            yield self._next - 1, packet

    def _read(self) -> "Packet[Any]":
        packet, self._held = self._held, None
        while packet is None:
            packet = next(self._source, None)
            if packet is None:
                raise _Lost
            if not packet.size:
                packet = None
        self._next += 1
        return packet

    def _seek(self, target: int) -> None:
        index = self._index
        by_pts = any(name in self._container.format.name for name in _BY_PTS)
        time = int((index.pts if by_pts else index.dts)[target])
        if time == NO_TIME:
            raise _Unseekable
        try:
            self._container.seek(time, stream=self._stream)
        except av.FFmpegError:
            raise _Unseekable from None
        self._source = packets_of(self._container, self._stream)
        self._held = self._find(target)
        self._next = target

    def _find(self, target: int) -> "Packet[Any]":
        """Read until this packet comes."""
        index = self._index
        wanted = (int(index.pts[target]), int(index.dts[target]), int(index.size[target]))
        for packet in islice(self._source, _SEARCH_PACKETS):
            if (packet.pts, packet.dts, packet.size) == wanted:
                return packet
            if packet.dts is not None and packet.dts > wanted[1]:
                break
        raise _Unseekable


class _Decoder:
    """One decoder for many runs."""

    def __init__(self, stream: VideoStream, index: Index, threads: int, halt: threading.Event, limits: Limits) -> None:
        self._context = stream.codec_context
        self._context.thread_count = threads
        self._context.thread_type = "FRAME" if threads > 1 else "NONE"
        self._context.options = {"max_pixels": str(_CODED_PIXELS * limits.pixels)}
        self._context.open(strict=False)
        self._index, self._halt = index, halt
        self._number = self._shift = 0
        self._sort: _Exact | _Shown = _Exact({}, lambda *_: None)

    def decode(self, run: Run, feeder: _Feeder, give: Give) -> list[Moment]:
        """Returns the moments whose pictures did not come out."""
        index, context = self._index, self._context
        self._sort = sort = (_Shown if index.careful else _Exact)(run.wanted, give)
        self._number, self._shift = 0, int(index.shift[run.first])
        context.flush_buffers()
        # Flushing makes the decoder forget how far pictures are apart from their order, and it would lose some.
        context.reorder_depth = index.reorder_depth
        for number, packet in feeder.packets(run.first, run.last):
            if self._halt.is_set():
                return []
            if is_fed(index, run, number):
                self._feed(packet)
                if sort.done:
                    return []
        self._feed(None)
        return sort.end()

    def left(self) -> list[Moment]:
        """What did not come out of a run that broke off."""
        self._feed(None)
        return self._sort.end()

    def _feed(self, packet: "Packet[Any] | None") -> None:
        try:
            frames = self._context.decode(packet)
        except MemoryError:
            raise
        except av.FFmpegError:  # of a broken packet nothing comes out; what is missing is asked for again
            return
        for frame in frames:
            if self._halt.is_set():
                return
            if self._index.numbered:
                self._sort.put(self._number, frame)
                self._number += 1
            elif frame.pts is not None:
                self._sort.put(frame.pts + self._shift, frame)


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
        self._shown = at, frame  # not given yet: one with the same time may come behind it

    def end(self) -> list[Moment]:
        while self._wanted and self._shown is not None:
            self._give_shown()
        return [moment for _, moments in self._wanted for moment in moments]

    def _give_shown(self) -> None:
        assert self._shown is not None
        for moment in self._wanted.pop()[1]:
            self._give(moment, *self._shown)
