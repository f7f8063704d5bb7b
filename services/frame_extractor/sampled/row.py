"""What comes of one video: five lists, and as Arrow has them."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pyarrow as pa

Pixels = npt.NDArray[np.uint8]
Shape = tuple[int, int, int]

_NOTHING: Pixels = np.empty(0, np.uint8)


@dataclass(frozen=True)
class SampledRow:
    """The pictures of one video in the order of time; each list has one entry a picture, or none at all."""

    pixels: Pixels = field(default_factory=lambda: _NOTHING)
    """Of all pictures, one after the other: lines of three samples of 8 bits, blue first."""
    shapes: Sequence[Shape] = ()
    """Of each: height, width, 3."""
    base64: Sequence[str] = ()
    """Picture files, without a prefix."""
    timestamps: Sequence[float] = ()
    """Seconds from the first picture of the video on: of the picture that was taken."""
    frame_indices: Sequence[int | None] = ()
    """Of the video's pictures, from 0; None: nobody can count them."""
    tos_paths: Sequence[str] = ()
    note: str = ""
    """What of the video could not be read, and is no column; empty: all could."""

    @property
    def frames(self) -> list[Pixels]:
        """Arrays of height x width x 3, into `pixels`."""
        ends = np.cumsum([height * width * depth for height, width, depth in self.shapes])
        return [part.reshape(shape) for part, shape in zip(np.split(self.pixels, ends), self.shapes, strict=False)]


def rows_to_arrow(rows: Sequence[SampledRow]) -> pa.StructArray:
    """A struct of five lists a row. Of a single row the pixels are used where they are; of more they are copied."""
    pixels = rows[0].pixels if len(rows) == 1 else np.concatenate([row.pixels for row in rows] or [_NOTHING])
    shapes = [shape for row in rows for shape in row.shapes]
    sizes = [height * width * depth for height, width, depth in shapes]
    # A tensor, as Daft lays it out: its samples, and its shape.
    tensors = pa.StructArray.from_arrays(
        [
            _lists(sizes, pa.Array.from_buffers(pa.uint8(), len(pixels), [None, pa.py_buffer(pixels)])),
            _lists([3] * len(shapes), pa.array(np.array(shapes, np.uint64).reshape(-1))),
        ],
        names=["data", "shape"],
    )
    return pa.StructArray.from_arrays(
        [
            _lists([len(row.shapes) for row in rows], tensors),
            pa.array([row.base64 for row in rows], pa.large_list(pa.large_string())),
            pa.array([row.timestamps for row in rows], pa.large_list(pa.float64())),
            pa.array([row.frame_indices for row in rows], pa.large_list(pa.int64())),
            pa.array([row.tos_paths for row in rows], pa.large_list(pa.large_string())),
        ],
        names=["frames", "base64", "timestamps", "frame_indices", "tos_paths"],
    )


def _lists(lengths: Sequence[int], values: pa.Array) -> pa.LargeListArray:
    offsets = np.zeros(len(lengths) + 1, np.int64)  # 64 bits: a minute of 4K is more than 2 GiB
    np.cumsum(lengths, out=offsets[1:])
    return pa.LargeListArray.from_arrays(pa.array(offsets), values)
