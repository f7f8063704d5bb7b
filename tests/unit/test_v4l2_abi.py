"""The structures and numbers of V4L2, held against what a C compiler makes of the kernel's own header."""

import ctypes
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from services.capture.v4l2 import abi, control_abi
from tests.support.v4l2 import needs_gcc

_STRUCTS: dict[str, type[ctypes.Structure]] = {
    "v4l2_capability": abi.Capability,
    "v4l2_fmtdesc": abi.FormatDescription,
    "v4l2_pix_format": abi.PixFormat,
    "v4l2_format": abi.Format,
    "v4l2_plane_pix_format": abi.PlaneFormat,
    "v4l2_pix_format_mplane": abi.PixFormatMplane,
    "v4l2_plane": abi.Plane,
    "v4l2_frmsizeenum": abi.FrameSize,
    "v4l2_frmivalenum": abi.FrameInterval,
    "v4l2_streamparm": abi.StreamParameters,
    "v4l2_requestbuffers": abi.RequestBuffers,
    "v4l2_buffer": abi.Buffer,
    "v4l2_query_ext_ctrl": control_abi.QueryControl,
    "v4l2_querymenu": control_abi.QueryMenu,
    "v4l2_ext_control": control_abi.Control,
    "v4l2_ext_controls": control_abi.Controls,
}
_FIELDS: dict[str, tuple[type[ctypes.Structure], str]] = {
    "offsetof(struct v4l2_format, fmt)": (abi.Format, "fmt"),
    "offsetof(struct v4l2_frmsizeenum, discrete)": (abi.FrameSize, "size"),
    "offsetof(struct v4l2_frmivalenum, discrete)": (abi.FrameInterval, "interval"),
    "offsetof(struct v4l2_streamparm, parm)": (abi.StreamParameters, "parm"),
    "offsetof(struct v4l2_captureparm, timeperframe)": (abi._CaptureParameters, "timeperframe"),
    "offsetof(struct v4l2_buffer, timestamp)": (abi.Buffer, "timestamp"),
    "offsetof(struct v4l2_buffer, sequence)": (abi.Buffer, "sequence"),
    "offsetof(struct v4l2_buffer, m)": (abi.Buffer, "m"),
    "offsetof(struct v4l2_plane, data_offset)": (abi.Plane, "data_offset"),
    "offsetof(struct v4l2_pix_format_mplane, num_planes)": (abi.PixFormatMplane, "num_planes"),
    "offsetof(struct v4l2_buffer, length)": (abi.Buffer, "length"),
    "offsetof(struct v4l2_query_ext_ctrl, flags)": (control_abi.QueryControl, "flags"),
    "offsetof(struct v4l2_query_ext_ctrl, nr_of_dims)": (control_abi.QueryControl, "nr_of_dims"),
    "offsetof(struct v4l2_querymenu, name)": (control_abi.QueryMenu, "item"),
    "offsetof(struct v4l2_ext_control, value64)": (control_abi.Control, "content"),
    "offsetof(struct v4l2_ext_controls, controls)": (control_abi.Controls, "controls"),
}
_OURS = {"BUF_TYPE_VIDEO_CAPTURE", "MEMORY_MMAP", "FIELD_ANY", "SIZE_DISCRETE", "INTERVAL_DISCRETE"}
_CALLS = (
    "QUERYCAP", "ENUM_FMT", "G_FMT", "S_FMT", "REQBUFS", "QUERYBUF", "QBUF", "DQBUF", "STREAMON", "STREAMOFF", "S_PARM",
    "QUERYMENU", "G_EXT_CTRLS", "S_EXT_CTRLS", "ENUM_FRAMESIZES", "ENUM_FRAMEINTERVALS", "QUERY_EXT_CTRL",
)  # fmt: skip
_C_NAMES = {"SIZE_DISCRETE": "V4L2_FRMSIZE_TYPE_DISCRETE", "INTERVAL_DISCRETE": "V4L2_FRMIVAL_TYPE_DISCRETE"}


def _constants() -> dict[str, int]:
    return {
        _C_NAMES.get(name, f"V4L2_{name}"): value
        for name, value in (vars(abi) | vars(control_abi)).items()
        if isinstance(value, int) and name.startswith(("CAP_", "BUF_", "CTRL_", *_OURS))
    }


def _expected() -> dict[str, int]:
    sizes = {f"sizeof(struct {name})": ctypes.sizeof(struct) for name, struct in _STRUCTS.items()}
    offsets = {text: int(getattr(struct, field).offset) for text, (struct, field) in _FIELDS.items()}
    calls = {f"VIDIOC_{name}": (vars(abi) | vars(control_abi))[name] for name in _CALLS}
    return sizes | offsets | calls | _constants()


@pytest.fixture
def compiled(tmp_path: Path) -> Callable[[list[str]], list[int]]:
    """Prints C expressions as a C program sees them."""

    def run(expressions: list[str]) -> list[int]:
        lines = "".join(f'printf("%llu\\n", (unsigned long long)({each}));' for each in expressions)
        source = tmp_path / "values.c"
        source.write_text(
            "#include <stddef.h>\n#include <stdio.h>\n#include <linux/videodev2.h>\nint main(void) {" + lines + "}"
        )
        subprocess.run(["gcc", "-o", str(tmp_path / "values"), str(source)], check=True, timeout=60)
        done = subprocess.run([str(tmp_path / "values")], check=True, capture_output=True, text=True, timeout=10)
        return [int(line) for line in done.stdout.split()]

    return run


@needs_gcc
def test_every_size_offset_and_number(compiled: Callable[[list[str]], list[int]]) -> None:
    expected = _expected()
    assert len(expected) > 60
    values = dict(zip(expected, compiled(list(expected)), strict=True))
    assert {name: value & 0xFFFF_FFFF for name, value in values.items()} == expected


@needs_gcc
def test_every_format_is_one_of_the_kernels(compiled: Callable[[list[str]], list[int]]) -> None:
    from services.capture.v4l2.formats import FORMATS

    names = {
        "GREY": "GREY", "Y10": "Y10", "Y12": "Y12", "Y14": "Y14", "Y16": "Y16", "YUYV": "YUYV", "UYVY": "UYVY",
        "YVYU": "YVYU", "NV12": "NV12", "NV21": "NV21", "NV16": "NV16", "YUV420": "YU12", "YUV422P": "422P",
        "RGB24": "RGB3", "BGR24": "BGR3", "MJPEG": "MJPG", "JPEG": "JPEG",
        "SRGGB8": "RGGB", "SBGGR8": "BA81", "SGBRG8": "GBRG", "SGRBG8": "GRBG",
        "SRGGB10": "RG10", "SBGGR10": "BG10", "SGBRG10": "GB10", "SGRBG10": "BA10",
        "SRGGB12": "RG12", "SBGGR12": "BG12", "SGBRG12": "GB12", "SGRBG12": "BA12",
        "SRGGB14": "RG14", "SBGGR14": "BG14", "SGBRG14": "GB14", "SGRBG14": "GR14",
        "SRGGB16": "RG16", "SBGGR16": "BYR2", "SGBRG16": "GB16", "SGRBG16": "GR16",
    }  # fmt: skip
    assert set(names.values()) == set(FORMATS)
    numbers = compiled([f"V4L2_PIX_FMT_{name}" for name in names])
    assert [abi.fourcc_name(number) for number in numbers] == list(names.values())
    assert [abi.fourcc(name) for name in names.values()] == numbers
    # The mosaic's order is the order of its name.
    for kernel, ours in names.items():
        if kernel.startswith(("SR", "SB", "SG")):
            image = FORMATS[ours].image
            assert image is not None
            assert image.startswith(f"bayer_{kernel[1:5].lower()}")
            assert FORMATS[ours].bits == int(kernel[5:])
