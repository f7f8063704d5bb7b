"""Which way up a frame is shown: turns by 90 degrees and mirrors, as its display matrix says."""

import struct
from dataclasses import dataclass

from av.video.frame import VideoFrame

from shared.media.colour.graphs import Step
from shared.media.colour.side_data import side_data

_MATRIX = struct.Struct("=9i")  # a b u, c d v, x y w: ISO/IEC 14496-12, 8.3.2.3, in the order of this machine
# By the signs of a, b, c and d: where the right and the lower edge of the stored picture go.
_STEPS: dict[tuple[int, int, int, int], tuple[Step, ...]] = {
    (1, 0, 0, 1): (),
    (0, 1, -1, 0): (Step("transpose", "clock"),),
    (-1, 0, 0, -1): (Step("hflip"), Step("vflip")),
    (0, -1, 1, 0): (Step("transpose", "cclock"),),
    (-1, 0, 0, 1): (Step("hflip"),),
    (1, 0, 0, -1): (Step("vflip"),),
    (0, 1, 1, 0): (Step("transpose", "cclock_flip"),),
    (0, -1, -1, 0): (Step("transpose", "clock_flip"),),
}
_QUARTERS = {90: (0, -1, 1, 0), 180: (-1, 0, 0, -1), 270: (0, 1, -1, 0)}
_QUARTER_DEGREES = 90


@dataclass(frozen=True)
class Orientation:
    """What makes a stored picture upright."""

    steps: tuple[Step, ...] = ()

    @property
    def swaps_edges(self) -> bool:
        return any(step.filter == "transpose" for step in self.steps)


def orientation_of(frame: VideoFrame, rotation_degrees: int) -> Orientation:
    """That of the frame's own display matrix, else the given one; turns by less than a quarter are left as they are.

    Args:
        rotation_degrees: counterclockwise, as `VideoFrame.rotation` counts; for frames that have no matrix.
    """
    data = side_data(frame, "DISPLAYMATRIX")
    if data is None:
        quarters = round((frame.rotation or rotation_degrees) / _QUARTER_DEGREES) * _QUARTER_DEGREES % 360
        return Orientation(_STEPS[_QUARTERS.get(quarters, (1, 0, 0, 1))])
    a, b, _, c, d, *_ = _MATRIX.unpack_from(data)
    largest = max(abs(a), abs(b), abs(c), abs(d), 1)
    signs = tuple(round(entry / largest) for entry in (a, b, c, d))
    return Orientation(_STEPS.get((signs[0], signs[1], signs[2], signs[3]), ()))
