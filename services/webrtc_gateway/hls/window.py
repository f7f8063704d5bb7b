"""The last pieces of one rendition as players may ask for them: headers, segments and their parts, in memory."""

import asyncio
import itertools
import math
from collections import deque
from dataclasses import dataclass, field
from typing import Final

from services.webrtc_gateway.hls.header import Header

SEGMENT_SECONDS: Final = 2.0  # what plain players keep three of between them and live
LISTED_SEGMENTS: Final = 7  # three target durations (RFC 8216, 6.2.2) even when the first ones are short
# RFC 8216, 6.2.2: a piece stays for its own and the playlist's duration after it left the playlist.
KEPT_SEGMENTS: Final = 2 * LISTED_SEGMENTS + 1
# 15 segments of 2 s at 30 Mbit/s; what a camera sends with a key picture in a minute must not fill the memory.
MAX_BYTES: Final = 128 << 20
# Cameras that refresh their pictures bit by bit send a key picture once and never again; WHIP publishers may.
MAX_SEGMENT_BYTES: Final = MAX_BYTES // 2
MAX_SEGMENT_SECONDS: Final = 120.0  # twice the longest interval of key pictures that cameras offer; 600 parts


@dataclass
class Part:
    """A fragment: some pictures with their sound."""

    number: int
    """Of all parts, so that the name of the next one is known before it is known whether its segment goes on."""
    seconds: float
    independent: bool
    """A key picture is in it."""
    data: bytes | memoryview


@dataclass(eq=False)
class Segment:
    """From one key picture to another."""

    number: int
    """The media sequence number."""
    header_number: int
    captured_ns: int
    """When its first picture was captured, CLOCK_REALTIME."""
    discontinuity: bool
    parts: list[Part] = field(default_factory=list)
    data: bytes = b""
    """All of it, once it is complete."""

    @property
    def complete(self) -> bool:
        return bool(self.data)

    @property
    def seconds(self) -> float:
        return sum(part.seconds for part in self.parts)

    @property
    def size(self) -> int:
        return sum(len(part.data) for part in self.parts)

    def finish(self) -> None:
        """Make one piece of the parts: copied once, and the parts become views of it."""
        self.data = b"".join(part.data for part in self.parts)
        view, position = memoryview(self.data), 0
        for part in self.parts:
            end = position + len(part.data)
            part.data, position = view[position:end], end


class LiveWindow:
    """Written by one packager, read by any number of requests, all in the event loop."""

    def __init__(self, discontinuities: int = 0) -> None:
        """`discontinuities`: those of earlier windows of this rendition, with the one in between."""
        self.segments: deque[Segment] = deque()
        """The last one may still be growing."""
        self.headers: dict[int, Header] = {}
        # Counted, and not begun high as segments' numbers are: players walk through arrays of that many.
        self.discontinuities = discontinuities
        """Of segments that are gone."""
        self.target_seconds = math.ceil(SEGMENT_SECONDS)
        self.part_target_seconds = 0.0
        """Of a producer that keeps time; set with the first part."""
        self.failed = ""
        """Why there will never be anything."""
        self.ended = False
        self.held_bytes = 0
        """Of complete segments."""
        self.version = 0
        """Grows with each change."""
        self._growing_bytes, self._growing_seconds = 0, 0.0
        self._changed = asyncio.Event()

    @property
    def last(self) -> Segment | None:
        return self.segments[-1] if self.segments else None

    @property
    def header(self) -> Header | None:
        """The latest one."""
        return self.headers[self.segments[-1].header_number] if self.segments else None

    def begin(self, segment: Segment) -> None:
        self.segments.append(segment)
        self._growing_bytes, self._growing_seconds = 0, 0.0

    def add(self, part: Part) -> None:
        """Append to the last segment, and wake who waits."""
        self.segments[-1].parts.append(part)
        self._growing_bytes += len(part.data)
        self._growing_seconds += part.seconds
        self.wake()

    @property
    def overfull(self) -> bool:
        """Whether the segment that grows is longer than any may be."""
        return self._growing_bytes > MAX_SEGMENT_BYTES or self._growing_seconds > MAX_SEGMENT_SECONDS

    def finish(self) -> None:
        """The last segment is complete; what is too old goes."""
        segment = self.segments[-1]
        segment.finish()
        # Grows where key pictures are rarer than promised: players take that better than a cut between them.
        self.target_seconds = max(self.target_seconds, math.floor(segment.seconds + 0.5))
        size = sum(kept.size for kept in self.segments)
        while len(self.segments) > KEPT_SEGMENTS or (size > MAX_BYTES and len(self.segments) > 1):
            gone = self.segments.popleft()
            size -= gone.size
            self.discontinuities += gone.discontinuity
        self.held_bytes = size
        kept = {one.header_number for one in self.segments}
        self.headers = {number: header for number, header in self.headers.items() if number in kept}
        self.wake()

    def wake(self) -> None:
        self.version += 1
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    async def changed(self) -> None:
        """Wait for the next change; whoever calls sets the deadline."""
        await self._changed.wait()

    def listed(self) -> list[Segment]:
        """What the playlist has: the last complete ones and the one that grows."""
        return list(self.segments)[-LISTED_SEGMENTS - 1 :]

    def discontinuity_number(self, first: Segment) -> int:
        """Discontinuities of what came before `first`."""
        before = itertools.takewhile(lambda segment: segment is not first, self.segments)
        return self.discontinuities + sum(segment.discontinuity for segment in before)

    @property
    def all_discontinuities(self) -> int:
        """Since the beginning."""
        return self.discontinuities + sum(segment.discontinuity for segment in self.segments)

    def segment(self, number: int) -> Segment | None:
        """A complete one."""
        return next((one for one in self.segments if one.number == number and one.complete), None)

    def part(self, number: int) -> Part | None:
        for segment in reversed(self.segments):
            if segment.parts and segment.parts[0].number <= number:
                index = number - segment.parts[0].number
                return segment.parts[index] if index < len(segment.parts) else None
        return None

    def has(self, segment_number: int, part_index: int | None) -> bool:
        """Whether the playlist holds that segment whole, or that part of it, or something later."""
        last = self.last
        if last is None:
            return False
        if part_index is None:
            return last.number > segment_number or (last.number == segment_number and last.complete)
        if last.number > segment_number + 1:
            return True
        for segment in self.segments:
            if segment.number == segment_number:
                if part_index < len(segment.parts):
                    return True
                if not segment.complete:
                    return False
                # Beyond its last part: the first of the next one (RFC 8216bis, 6.2.5.2).
                return last.number > segment_number and bool(last.parts)
        return last.number > segment_number
