"""Pixel formats of V4L2 that capture can take: what they are to the mesh or to libav, in order of preference."""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from schemas.frames import PixelFormat

Bytes = npt.NDArray[np.uint8]
Image = npt.NDArray[Any]

# Row bytes a pixel, and rows of the picture a row of the plane stands for: packed 8 bit, 4:2:2 and so on.
_ONE = ((1.0, 1),)
_TWO = ((2.0, 1),)
_THREE = ((3.0, 1),)
_PLANAR_420 = ((1.0, 1), (0.5, 2), (0.5, 2))
_SEMI_PLANAR_420 = ((1.0, 1), (1.0, 2))


@dataclass(frozen=True)
class SensorFormat:
    """One FourCC."""

    fourcc: str
    bits: int
    """A sample."""
    planes: tuple[tuple[float, int], ...] = ()
    """Bytes a pixel in a row, and vertical subsampling, of each plane. Empty: compressed."""
    image: PixelFormat | None = None
    """The form an array of it has in the mesh; what industrial sensors send keeps it."""
    libav: str = ""
    """libav's pixel format, or its decoder's name when compressed."""
    shift: int = 0
    """Bits to the left, for formats of the mesh whose full scale is 16 bits."""

    @property
    def compressed(self) -> bool:
        return not self.planes

    @property
    def mesh_format(self) -> str:
        """What the mesh calls pictures that come like this; a name of no PixelFormat for other ones."""
        return self.image or self.libav

    def row_bytes(self, width: int) -> int:
        return int(self.planes[0][0] * width)

    def picture_bytes(self, width: int, height: int, bytes_per_line: int) -> int:
        """Bytes of one picture in a buffer whose first plane has rows of `bytes_per_line`."""
        ratio = bytes_per_line / self.row_bytes(width)
        return sum(int(each * width * ratio) * (height // rows) for each, rows in self.planes)

    def packed(self, data: Bytes, width: int, height: int, bytes_per_line: int) -> Bytes:
        """The picture's bytes without padding: in place, or copied where rows are padded."""
        size = self.picture_bytes(width, height, bytes_per_line)
        if bytes_per_line == self.row_bytes(width):
            return data[:size]
        ratio, start, parts = bytes_per_line / self.row_bytes(width), 0, []
        for each, vertical in self.planes:
            rows, stride = height // vertical, int(each * width * ratio)
            plane = data[start : start + rows * stride].reshape(rows, stride)
            parts.append(plane[:, : int(each * width)].reshape(-1))
            start += rows * stride
        return np.concatenate(parts)

    def as_image(self, data: Bytes, width: int, height: int, bytes_per_line: int) -> Image:
        """An array of the mesh's form `image`, shape (height, width): in place, or copied where bits are moved."""
        dtype = np.dtype(np.uint8 if self.bits == 8 else "<u2")
        array: Image = np.ndarray((height, width), dtype, data.data, strides=(bytes_per_line, dtype.itemsize))
        return np.left_shift(array, self.shift) if self.shift else array

    def luma(self, data: Bytes, width: int, height: int, bytes_per_line: int) -> Bytes:
        """8 bits of each sample of the first plane: luma, or all components where they are packed."""
        if self.bits == 8:
            return np.ndarray((height, self.row_bytes(width)), np.uint8, data.data, strides=(bytes_per_line, 1))
        image: Image = np.ndarray((height, width), "<u2", data.data, strides=(bytes_per_line, 2))
        return (image >> (self.bits - 8)).astype(np.uint8)


def _bayer16(names: tuple[str, str, str, str], bits: int) -> tuple[SensorFormat, ...]:
    """Bayer formats in the low bits of 16: RGGB, BGGR, GBRG, GRBG."""
    mesh: tuple[PixelFormat, ...] = ("bayer_rggb16le", "bayer_bggr16le", "bayer_gbrg16le", "bayer_grbg16le")
    return tuple(
        SensorFormat(name, bits, _TWO, image=image, shift=16 - bits) for name, image in zip(names, mesh, strict=True)
    )


# In order of preference, where a camera has several at the same size and rate: what costs least to use comes first.
_ALL: Final = (
    SensorFormat("YU12", 8, _PLANAR_420, libav="yuv420p"),
    SensorFormat("NV12", 8, _SEMI_PLANAR_420, libav="nv12"),
    SensorFormat("NV21", 8, _SEMI_PLANAR_420, libav="nv21"),
    SensorFormat("YUYV", 8, _TWO, libav="yuyv422"),
    SensorFormat("UYVY", 8, _TWO, libav="uyvy422"),
    SensorFormat("YVYU", 8, _TWO, libav="yvyu422"),
    SensorFormat("422P", 8, ((1.0, 1), (0.5, 1), (0.5, 1)), libav="yuv422p"),
    SensorFormat("NV16", 8, ((1.0, 1), (1.0, 1)), libav="nv16"),
    SensorFormat("BGR3", 8, _THREE, libav="bgr24"),
    SensorFormat("RGB3", 8, _THREE, libav="rgb24"),
    SensorFormat("MJPG", 8, libav="mjpeg"),
    SensorFormat("JPEG", 8, libav="mjpeg"),
    SensorFormat("GREY", 8, _ONE, image="gray"),
    SensorFormat("RGGB", 8, _ONE, image="bayer_rggb8"),
    SensorFormat("BA81", 8, _ONE, image="bayer_bggr8"),
    SensorFormat("GBRG", 8, _ONE, image="bayer_gbrg8"),
    SensorFormat("GRBG", 8, _ONE, image="bayer_grbg8"),
    SensorFormat("Y10", 10, _TWO, image="gray10le"),
    SensorFormat("Y12", 12, _TWO, image="gray12le"),
    SensorFormat("Y14", 14, _TWO, image="gray16le", shift=2),
    SensorFormat("Y16", 16, _TWO, image="gray16le"),
    *_bayer16(("RG10", "BG10", "GB10", "BA10"), 10),
    *_bayer16(("RG12", "BG12", "GB12", "BA12"), 12),
    *_bayer16(("RG14", "BG14", "GB14", "GR14"), 14),
    *_bayer16(("RG16", "BYR2", "GB16", "GR16"), 16),
)
FORMATS: Final[dict[str, SensorFormat]] = {each.fourcc: each for each in _ALL}
PREFERENCE: Final[dict[str, int]] = {each.fourcc: place for place, each in enumerate(_ALL)}
