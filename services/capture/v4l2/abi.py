"""Structures and request numbers of linux/videodev2.h, as far as they are used; for controls see `control_abi.py`.

A unit test holds every size and number against a C compiler's. Numbers are those of the architectures with the
generic ioctl encoding (x86, ARM, RISC-V).
"""

import ctypes
from ctypes import (
    Structure,
    Union,
    c_char,
    c_int32,
    c_long,
    c_uint8,
    c_uint16,
    c_uint32,
    c_ulong,
    sizeof,
)
from typing import Final

READ: Final = 2
WRITE: Final = 1
_MAX_PLANES: Final = 8

BUF_TYPE_VIDEO_CAPTURE: Final = 1
BUF_TYPE_VIDEO_CAPTURE_MPLANE: Final = 9
MEMORY_MMAP: Final = 1
FIELD_ANY: Final = 0

CAP_VIDEO_CAPTURE: Final = 0x0000_0001
CAP_VIDEO_CAPTURE_MPLANE: Final = 0x0000_1000
CAP_VIDEO_M2M: Final = 0x0000_8000
CAP_STREAMING: Final = 0x0400_0000
CAP_DEVICE_CAPS: Final = 0x8000_0000
CAP_TIMEPERFRAME: Final = 0x1000

SIZE_DISCRETE: Final = 1
INTERVAL_DISCRETE: Final = 1

BUF_FLAG_ERROR: Final = 0x0000_0040
BUF_FLAG_TIMESTAMP_MASK: Final = 0x0000_E000
BUF_FLAG_TIMESTAMP_MONOTONIC: Final = 0x0000_2000


class Capability(Structure):
    _fields_ = (
        ("driver", c_char * 16),
        ("card", c_char * 32),
        ("bus_info", c_char * 32),
        ("version", c_uint32),
        ("capabilities", c_uint32),
        ("device_caps", c_uint32),
        ("reserved", c_uint32 * 3),
    )


class FormatDescription(Structure):
    """struct v4l2_fmtdesc"""

    _fields_ = (
        ("index", c_uint32),
        ("type", c_uint32),
        ("flags", c_uint32),
        ("description", c_char * 32),
        ("pixelformat", c_uint32),
        ("mbus_code", c_uint32),
        ("reserved", c_uint32 * 3),
    )


class PixFormat(Structure):
    _fields_ = tuple(
        (name, c_uint32)
        for name in (
            "width", "height", "pixelformat", "field", "bytesperline", "sizeimage", "colorspace", "priv", "flags",
            "ycbcr_enc", "quantization", "xfer_func",
        )
    )  # fmt: skip


class PlaneFormat(Structure):
    """struct v4l2_plane_pix_format"""

    _pack_ = 1
    _fields_ = (("sizeimage", c_uint32), ("bytesperline", c_uint32), ("reserved", c_uint16 * 6))


class PixFormatMplane(Structure):
    _pack_ = 1
    _fields_ = (
        ("width", c_uint32),
        ("height", c_uint32),
        ("pixelformat", c_uint32),
        ("field", c_uint32),
        ("colorspace", c_uint32),
        ("plane_fmt", PlaneFormat * _MAX_PLANES),
        ("num_planes", c_uint8),
        ("flags", c_uint8),
        ("ycbcr_enc", c_uint8),
        ("quantization", c_uint8),
        ("xfer_func", c_uint8),
        ("reserved", c_uint8 * 7),
    )


class _FormatUnion(Union):
    # As longs, because other members hold pointers, and they decide where the union begins.
    _fields_ = (
        ("pix", PixFormat),
        ("pix_mp", PixFormatMplane),
        ("raw_data", c_ulong * (200 // sizeof(c_ulong))),
    )


class Format(Structure):
    _fields_ = (("type", c_uint32), ("fmt", _FormatUnion))


class Fraction(Structure):
    _fields_ = (("numerator", c_uint32), ("denominator", c_uint32))


class _SizeStepwise(Structure):
    _fields_ = tuple(
        (name, c_uint32) for name in ("min_width", "max_width", "step_width", "min_height", "max_height", "step_height")
    )


class _SizeDiscrete(Structure):
    _fields_ = (("width", c_uint32), ("height", c_uint32))


class _SizeUnion(Union):
    _fields_ = (("discrete", _SizeDiscrete), ("stepwise", _SizeStepwise))


class FrameSize(Structure):
    """struct v4l2_frmsizeenum"""

    _anonymous_ = ("size",)
    _fields_ = (
        ("index", c_uint32),
        ("pixel_format", c_uint32),
        ("type", c_uint32),
        ("size", _SizeUnion),
        ("reserved", c_uint32 * 2),
    )


class _IntervalStepwise(Structure):
    _fields_ = (("min", Fraction), ("max", Fraction), ("step", Fraction))


class _IntervalUnion(Union):
    _fields_ = (("discrete", Fraction), ("stepwise", _IntervalStepwise))


class FrameInterval(Structure):
    """struct v4l2_frmivalenum"""

    _anonymous_ = ("interval",)
    _fields_ = (
        ("index", c_uint32),
        ("pixel_format", c_uint32),
        ("width", c_uint32),
        ("height", c_uint32),
        ("type", c_uint32),
        ("interval", _IntervalUnion),
        ("reserved", c_uint32 * 2),
    )


class _CaptureParameters(Structure):
    _fields_ = (
        ("capability", c_uint32),
        ("capturemode", c_uint32),
        ("timeperframe", Fraction),
        ("extendedmode", c_uint32),
        ("readbuffers", c_uint32),
        ("reserved", c_uint32 * 4),
    )


class _ParametersUnion(Union):
    _fields_ = (("capture", _CaptureParameters), ("raw_data", c_uint8 * 200))


class StreamParameters(Structure):
    """struct v4l2_streamparm"""

    _anonymous_ = ("parm",)
    _fields_ = (("type", c_uint32), ("parm", _ParametersUnion))


class RequestBuffers(Structure):
    _fields_ = (
        ("count", c_uint32),
        ("type", c_uint32),
        ("memory", c_uint32),
        ("capabilities", c_uint32),
        ("flags", c_uint8),
        ("reserved", c_uint8 * 3),
    )


class _TimeValue(Structure):
    _fields_ = (("seconds", c_long), ("microseconds", c_long))


class _TimeCode(Structure):
    _fields_ = (("type", c_uint32), ("flags", c_uint32), ("digits", c_uint8 * 4), ("userbits", c_uint8 * 4))


class _PlaneUnion(Union):
    _fields_ = (("mem_offset", c_uint32), ("userptr", c_ulong), ("fd", c_int32))


class Plane(Structure):
    _fields_ = (
        ("bytesused", c_uint32),
        ("length", c_uint32),
        ("m", _PlaneUnion),
        ("data_offset", c_uint32),
        ("reserved", c_uint32 * 11),
    )


class _MemoryUnion(Union):
    _fields_ = (("offset", c_uint32), ("userptr", c_ulong), ("planes", ctypes.POINTER(Plane)), ("fd", c_int32))


class Buffer(Structure):
    _fields_ = (
        ("index", c_uint32),
        ("type", c_uint32),
        ("bytesused", c_uint32),
        ("flags", c_uint32),
        ("field", c_uint32),
        ("timestamp", _TimeValue),
        ("timecode", _TimeCode),
        ("sequence", c_uint32),
        ("memory", c_uint32),
        ("m", _MemoryUnion),
        ("length", c_uint32),
        ("reserved2", c_uint32),
        ("request_fd", c_int32),
    )


def request_number(direction: int, number: int, argument: "type[Structure] | type[c_int32]") -> int:
    """_IOC(direction, 'V', number, size)"""
    return direction << 30 | sizeof(argument) << 16 | ord("V") << 8 | number


QUERYCAP: Final = request_number(READ, 0, Capability)
ENUM_FMT: Final = request_number(READ | WRITE, 2, FormatDescription)
G_FMT: Final = request_number(READ | WRITE, 4, Format)
S_FMT: Final = request_number(READ | WRITE, 5, Format)
REQBUFS: Final = request_number(READ | WRITE, 8, RequestBuffers)
QUERYBUF: Final = request_number(READ | WRITE, 9, Buffer)
QBUF: Final = request_number(READ | WRITE, 15, Buffer)
DQBUF: Final = request_number(READ | WRITE, 17, Buffer)
STREAMON: Final = request_number(WRITE, 18, c_int32)
STREAMOFF: Final = request_number(WRITE, 19, c_int32)
S_PARM: Final = request_number(READ | WRITE, 22, StreamParameters)
ENUM_FRAMESIZES: Final = request_number(READ | WRITE, 74, FrameSize)
ENUM_FRAMEINTERVALS: Final = request_number(READ | WRITE, 75, FrameInterval)


def fourcc(name: str) -> int:
    """`YUYV` -> the number; shorter names end with spaces."""
    return int.from_bytes(name.ljust(4).encode("ascii"), "little")


def fourcc_name(number: int) -> str:
    """The number -> `YUYV`; bit 31 marks the big-endian variants."""
    text = (number & 0x7FFF_FFFF).to_bytes(4, "little").decode("ascii", "replace").rstrip()
    return f"{text}-BE" if number >> 31 else text
