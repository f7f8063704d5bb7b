"""What the pixel formats of a ring look like in memory: shapes, sample types, planes.

yuv420p                     uint8 (height * 3 / 2, width): Y, then U, then V, each tightly packed
nv12                        uint8 (height * 3 / 2, width): Y, then rows of U and V by turns
bgr24 rgb24                 uint8 (height, width, 3)
gray bayer_*8               uint8 (height, width)
gray10le gray12le gray16le bayer_*16le    uint16 (height, width); the value is in the low 10, 12 or 16 bits
"""

from typing import Final, get_args

import numpy as np
import numpy.typing as npt

from schemas.frames import PixelFormat

Picture = npt.NDArray[np.uint8 | np.uint16]
SampleType = type[np.uint8] | type[np.uint16]

ALL: Final[tuple[PixelFormat, ...]] = get_args(PixelFormat)
SUBSAMPLED: Final = frozenset[str](("yuv420p", "nv12"))
"""Half the colour in both directions, so width and height are even."""
PACKED: Final = frozenset[str](("bgr24", "rgb24"))
MOSAICS: Final = frozenset[str](name for name in ALL if name.startswith("bayer_"))
"""One colour per sample, in cells of two by two."""
_SAMPLE_BITS: Final = {"gray10le": 10, "gray12le": 12}
_TURNED_CELL: Final = (2, 0, 3, 1)
"""Where each sample of a cell, row by row, is taken from when the cell is turned clockwise by 90 degrees."""
_PATTERN: Final = slice(6, 10)  # the letters in `bayer_rggb8`


def sample_bits(pixel_format: PixelFormat) -> int:
    """Bits of a sample that carry the value: 8, 10, 12 or 16."""
    return _SAMPLE_BITS.get(pixel_format, 16 if pixel_format.endswith("16le") else 8)


def sample_type(pixel_format: PixelFormat) -> SampleType:
    """uint16 for samples of more than 8 bits, else uint8."""
    return np.uint8 if sample_bits(pixel_format) == 8 else np.uint16


def array_shape(pixel_format: PixelFormat, width: int, height: int) -> tuple[int, ...]:
    """Of the array that holds a picture of this size."""
    if pixel_format in SUBSAMPLED:
        return (height * 3 // 2, width)
    return (height, width, 3) if pixel_format in PACKED else (height, width)


def plane_shapes(pixel_format: PixelFormat, width: int, height: int) -> tuple[tuple[int, ...], ...]:
    """Of each plane as libav has it; in 4:2:0 the colour of an odd edge is rounded up."""
    if pixel_format not in SUBSAMPLED:
        return (array_shape(pixel_format, width, height),)
    rows, columns = -(-height // 2), -(-width // 2)
    if pixel_format == "nv12":
        return ((height, width), (rows, columns, 2))
    return ((height, width), (rows, columns), (rows, columns))


def planes(array: Picture, pixel_format: PixelFormat, width: int, height: int) -> list[Picture]:
    """The planes of a contiguous array as views, in the shapes of `plane_shapes`."""
    if pixel_format not in SUBSAMPLED:
        return [array]
    flat = array.reshape(-1)
    views: list[Picture] = []
    start = 0
    for shape in plane_shapes(pixel_format, width, height):
        size = int(np.prod(shape))
        views.append(flat[start : start + size].reshape(shape))
        start += size
    return views


def turned(pixel_format: PixelFormat, quarters: int) -> PixelFormat:
    """The format of a picture of even edges after so many clockwise turns by 90 degrees: mosaics change theirs."""
    if pixel_format not in MOSAICS:
        return pixel_format
    cell = pixel_format[_PATTERN]
    for _ in range(quarters % 4):
        cell = "".join(cell[place] for place in _TURNED_CELL)
    name = f"bayer_{cell}{pixel_format[_PATTERN.stop :]}"
    return next(known for known in ALL if known == name)
