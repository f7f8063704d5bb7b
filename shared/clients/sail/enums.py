"""Names of pixel formats and sample types, as SAIL has them."""

from enum import Enum


class Format(Enum):
    """How the samples of a picture lie in memory."""

    FORMAT_YUV420P = 0
    FORMAT_YUV422P = 1
    FORMAT_YUV444P = 2
    FORMAT_NV12 = 3
    FORMAT_GRAY = 7
    FORMAT_RGB_PLANAR = 8
    FORMAT_BGR_PLANAR = 9
    FORMAT_RGB_PACKED = 10
    FORMAT_BGR_PACKED = 11


class ImgDtype(Enum):
    """What one sample is."""

    DATA_TYPE_EXT_FLOAT32 = 0
    DATA_TYPE_EXT_1N_BYTE = 1


LIBAV_NAMES: dict[Format, tuple[str, ...]] = {
    Format.FORMAT_YUV420P: ("yuv420p", "yuvj420p"),
    Format.FORMAT_YUV422P: ("yuv422p", "yuvj422p"),
    Format.FORMAT_YUV444P: ("yuv444p", "yuvj444p"),
    Format.FORMAT_NV12: ("nv12",),
    Format.FORMAT_GRAY: ("gray",),
    Format.FORMAT_RGB_PACKED: ("rgb24",),
    Format.FORMAT_BGR_PACKED: ("bgr24",),
}
"""The planar RGB formats have none here."""
FORMAT_OF: dict[str, Format] = {name: form for form, names in LIBAV_NAMES.items() for name in names}
