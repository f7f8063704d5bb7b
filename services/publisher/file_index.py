"""The index of the file being written: kept in step with what is safely in that file."""

import os
from collections import deque
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from schemas.packets import PacketHeader
from schemas.resources import OutputFormat, OutputSpec
from schemas.units import NS_PER_SECOND
from services.publisher.mp4_fragments import fragments
from services.publisher.outputs.base import Output
from services.publisher.timeline import Place
from shared.recording_index import KEY, RECORD, VERSION, IndexAppender, IndexHeader, index_path

# The muxers' clocks: a time in the index is the one that a player finds in the file.
_CLOCK_HZ: Mapping[OutputFormat, int] = {"mp4": 90_000, "ts": 90_000, "mkv": 1_000}
_LONGEST_DURATION_NS = 2**32 - 1


class _Waiting(NamedTuple):
    """A picture that was handed to the output and may not be in the file yet."""

    number: int
    """Packets of the output until it, itself included."""
    offset: int
    header: PacketHeader
    place: Place


class FileIndex:
    """One file's. Belongs to the output's thread."""

    def __init__(
        self, spec: OutputSpec, output: Output, kind: OutputFormat, tracks: Iterable[str], first: PacketHeader
    ) -> None:
        """Begin the index of a file that was just opened.

        Raises:
            OSError: the file system refuses.
        """
        self._output, self._clock_hz = output, _CLOCK_HZ[kind]
        self._waiting: deque[_Waiting] = deque()
        self._packets = 0
        self._looked_bytes = self._scanned_bytes = 0
        header = IndexHeader(
            version=VERSION,
            stream=spec.stream,
            output=spec.output,
            rendition=spec.rendition,
            node=spec.node or "",
            format=kind,
            codec=first.codec,
            width=first.width,
            height=first.height,
            start_ns=first.captured_ns,
            tracks=tuple(tracks),
            first_sequence=first.sequence,
            first_epoch=first.epoch,
            first_run=first.run,
            first_index=first.index,
        )
        self._appender = IndexAppender(index_path(Path(output.file)), header)
        self._fd = -1
        if kind == "mp4":
            try:
                self._fd = os.open(output.file, os.O_RDONLY | os.O_CLOEXEC)
            except OSError:
                self._appender.close()
                raise

    def written(self, header: PacketHeader, place: Place) -> None:
        """A packet was handed to the output."""
        self._packets += 1
        if header.track == "video":
            # The payload is not kept: what waits is a second of headers.
            self._waiting.append(_Waiting(self._packets, self._output.file_offset, header, place))

    def settle(self) -> PacketHeader | None:
        """Append what is in the file by now; the last picture of it, None when nothing was added.

        Raises:
            OSError: the file system refuses; what waits can be settled later.
        """
        return self._settle_fragments() if self._fd >= 0 else self._settle_packets()

    def close(self) -> None:
        """Nothing more is added. Closing twice is harmless."""
        self._appender.close()
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def _settle_fragments(self) -> PacketHeader | None:
        """MP4: the muxer sorts tracks before it cuts, so that only the file itself tells what is in a fragment."""
        if self._output.bytes_written == self._looked_bytes:
            return None
        looked_bytes, last = self._output.bytes_written, None
        for fragment in fragments(self._fd, self._scanned_bytes):
            count = min(len(fragment.samples), len(self._waiting))
            settled = [self._waiting[number] for number in range(count)]
            self._append([one._replace(offset=fragment.offset) for one in settled])
            for _ in settled:
                last = self._waiting.popleft().header
            self._scanned_bytes = fragment.end
        self._looked_bytes = looked_bytes  # only now: what the disk did not take is looked at again
        return last

    def _settle_packets(self) -> PacketHeader | None:
        if (begun := self._output.picture_offsets) is not None:
            return self._settle_begun(begun)
        settled = []
        for one in self._waiting:
            if one.number > self._output.settled_packets:
                break
            settled.append(one)
        self._append(settled)
        for _ in settled:
            self._waiting.popleft()
        return settled[-1].header if settled else None

    def _settle_begun(self, begun: deque[int]) -> PacketHeader | None:
        """MPEG-TS: pictures lie in the file in the order in which they came, with sound between them."""
        count = min(len(begun), len(self._waiting))
        self._append([self._waiting[number]._replace(offset=begun[number]) for number in range(count)])
        last = None
        for _ in range(count):  # only now: what the disk did not take is taken again
            begun.popleft()
            last = self._waiting.popleft().header
        return last

    def _append(self, pictures: list[_Waiting]) -> None:
        if not pictures:
            return
        records = np.empty(len(pictures), RECORD)
        for number, (_, offset, header, place) in enumerate(pictures):
            records[number] = (
                header.sequence,
                header.epoch,
                header.run,
                header.index,
                _on_clock(place.pts_ns, self._clock_hz),
                header.captured_ns,
                offset,
                min(header.duration_ns, _LONGEST_DURATION_NS),
                KEY if header.key else 0,
            )
        self._appender.append(records)


def _on_clock(nanoseconds: int, clock_hz: int) -> int:
    """The time that a muxer with such a clock makes of it."""
    ticks = (nanoseconds * clock_hz + NS_PER_SECOND // 2) // NS_PER_SECOND
    return (ticks * NS_PER_SECOND + clock_hz // 2) // clock_hz
