"""A picture that was found, before it is a file."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from av.video.frame import VideoFrame

from schemas.ids import Id
from schemas.moments import Origin

_USUAL_DISTANCE_NS: Final = 40_000_000  # of two pictures, where nothing tells: 25 a second
# Half the distance of two pictures is as near as one can be; cameras' clocks are not quite even.
_NEAR_SHARE: Final = 0.75


@dataclass
class Found:
    """One picture; whoever has it calls `release` once, after the last use of its frame."""

    origin: Origin
    captured_ns: int
    epoch: int
    sequence: int
    duration_ns: int
    frame: Callable[[], VideoFrame]
    """Decodes where that is needed, and blocks; in the ring's memory where it is not."""
    release: Callable[[], None] = field(default=lambda: None)
    rendition: Id | None = None
    file: str = ""

    def off_ns(self, at_ns: int) -> int:
        return self.captured_ns - at_ns

    def is_near(self, at_ns: int) -> bool:
        """Whether no other picture of the stream can be nearer."""
        return abs(self.off_ns(at_ns)) <= _NEAR_SHARE * (self.duration_ns or _USUAL_DISTANCE_NS)
