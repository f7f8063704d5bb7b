"""When the last pictures of streams were captured, and which of them was being exposed at an instant."""

import time
from collections import deque
from itertools import pairwise
from typing import Final, NamedTuple

from schemas.frames import FrameRef
from schemas.signal_resources import FrameAt, JoinedFrame

# Who commands about a picture has looked at it for a while: 4 s at 60 a second, 0.5 s at 500.
_KEPT: Final = 256
# Pictures are not captured evenly: within so many of their distances the newest is still the one of an instant.
_PATIENT_DISTANCES: Final = 1.5
# Between a picture and the one written next there is none, however late it came on a busy machine; but a source that
# pauses for longer was away.
_LONGEST_PAUSE_NS: Final = 1_000_000_000


class PictureTime(NamedTuple):
    epoch: int
    sequence: int
    captured_ns: int
    duration_ns: int
    exposure_ns: int
    clock: str


class StreamTimes:
    """Of one stream. Any number of its writers, one after the other."""

    def __init__(self, stream: str) -> None:
        self.stream = stream
        self._kept: deque[PictureTime] = deque(maxlen=_KEPT)
        self._latest_ns = 0
        """Of all that are kept: with each picture every instant that waits asks for it, and 1,024 may wait."""
        self.late_ns = 0
        """How long after its capture the newest picture came."""

    def take(self, ref: FrameRef, now_ns: int | None = None) -> None:
        """A reference has come, `now_ns` by CLOCK_REALTIME; those of a writer whose time is over are left out."""
        if self._kept and ref.epoch < self._kept[-1].epoch:
            return
        if not self._kept or ref.captured_ns != self._kept[-1].captured_ns:  # else it is written again, as old as it is
            self.late_ns = max(0, (time.time_ns() if now_ns is None else now_ns) - ref.captured_ns)
        self._kept.append(
            PictureTime(ref.epoch, ref.sequence, ref.captured_ns, ref.duration_ns, ref.exposure_ns, ref.clock)
        )
        self._latest_ns = max(kept.captured_ns for kept in self._kept)

    def find(self, epoch: int | None, sequence: int) -> int | None:
        """When a picture was captured. `epoch`: None for the newest that has this sequence."""
        for kept in reversed(self._kept):
            if kept.sequence == sequence and epoch in (None, kept.epoch):
                return kept.captured_ns
        return None

    def is_settled(self, at_ns: int) -> bool:
        """A picture was captured after the instant: what comes now changes nothing about it."""
        return self._latest_ns > at_ns

    def join(self, at_ns: int) -> JoinedFrame | None:
        """The picture with the latest capture before the instant, and its neighbours; None: none that was near.

        A picture that was written again, in place of those of a lost source, counts as what it was first.
        """
        before = [kept for kept in self._kept if kept.captured_ns <= at_ns]
        after = [kept for kept in self._kept if kept.captured_ns > at_ns]
        if not before:
            return None
        frame = max(before, key=_first_by_time)
        following = min(after, key=lambda kept: (kept.captured_ns, kept.sequence)) if after else None
        if not _are_neighbours(frame, following) and not self._was_exposed(frame, at_ns):
            return None
        earlier = [kept for kept in before if kept.epoch == frame.epoch and kept.captured_ns < frame.captured_ns]
        return JoinedFrame(
            stream=self.stream,
            epoch=frame.epoch,
            frame=_at(frame, at_ns),
            before=_at(max(earlier, key=_first_by_time), at_ns) if earlier else None,
            after=_at(following, at_ns) if following is not None and following.epoch == frame.epoch else None,
            clock=frame.clock,
        )

    def nearest_ns(self, at_ns: int) -> int | None:
        """Of the capture nearest to the instant, what it was before it; negative after it. None: nothing is known."""
        found = [at_ns - kept.captured_ns for kept in self._kept]
        return min(found, key=abs) if found else None

    def _was_exposed(self, frame: PictureTime, at_ns: int) -> bool:
        """Whether the instant is so near that no other picture can have been exposed then."""
        since_ns = (at_ns - frame.captured_ns) / _PATIENT_DISTANCES
        return since_ns <= max(frame.duration_ns, frame.exposure_ns) or since_ns <= self._usual_distance_ns()

    def _usual_distance_ns(self) -> int:
        """Of one picture from the next; 0 while there are fewer than two."""
        times = sorted({kept.captured_ns for kept in self._kept})
        distances = sorted(later - earlier for earlier, later in pairwise(times))
        return distances[len(distances) // 2] if distances else 0


class FrameTimes:
    """Of all streams that are followed here."""

    def __init__(self) -> None:
        self._streams: dict[str, StreamTimes] = {}

    def of(self, stream: str) -> StreamTimes:
        """Made on first use; `forget` ends it."""
        return self._streams.setdefault(stream, StreamTimes(stream))

    def forget(self, stream: str) -> None:
        self._streams.pop(stream, None)

    def find(self, stream: str, epoch: int | None, sequence: int) -> int | None:
        """CLOCK_REALTIME of a picture's capture; None where the stream is not followed, or the picture is too old."""
        times = self._streams.get(stream)
        return times.find(epoch, sequence) if times is not None else None


def _are_neighbours(frame: PictureTime, following: PictureTime | None) -> bool:
    return (
        following is not None
        and (following.epoch, following.sequence) == (frame.epoch, frame.sequence + 1)
        and following.captured_ns - frame.captured_ns <= _LONGEST_PAUSE_NS
    )


def _first_by_time(kept: PictureTime) -> tuple[int, int]:
    # Of equal captures the first that was written.
    return kept.captured_ns, -kept.sequence


def _at(kept: PictureTime, at_ns: int) -> FrameAt:
    return FrameAt(sequence=kept.sequence, captured_ns=kept.captured_ns, dt_ns=at_ns - kept.captured_ns)
