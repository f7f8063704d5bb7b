"""Inputs of other colours than the canvas' look on it as they look by themselves."""

import numpy as np
import pytest
from av import VideoFrame

from schemas.colours import RGB as RGB_SPACE
from schemas.colours import UNSPECIFIED, ColourSpace
from schemas.frames import FrameRef, PixelFormat
from schemas.mix_resources import Box, Crop, MixInput
from services.cloud_mix_proxy.mixer.colours import yuv_of
from services.cloud_mix_proxy.mixer.place import frame_of
from services.cloud_mix_proxy.mixer.scaling import Scaler
from services.cloud_mix_proxy.mixer.stills import still_tile
from shared.media.colour.facts import mark
from shared.media.frames import frame_planes
from shared.pixel_formats import PACKED, array_shape, sample_type

pytestmark = pytest.mark.unit
_LEVELS_OFF = 2  # rounding, once in the source and once here; the other matrix is 15 off, the other range 20
RGB = (180, 60, 30)
_SHARES = {
    "bt709": (0.2126, 0.0722),
    "smpte170m": (0.299, 0.114),
    "bt470bg": (0.299, 0.114),
    "bt2020nc": (0.2627, 0.0593),
}


def frame(width: int, height: int, matrix: str, full: bool, said: ColourSpace, layout: str = "yuv420p") -> VideoFrame:
    """One colour, by the formulas of H.273."""
    kr, kb = _SHARES[matrix]
    red, green, blue = (value / 255 for value in RGB)
    luma = kr * red + (1 - kr - kb) * green + kb * blue
    u, v = (blue - luma) / (2 * (1 - kb)), (red - luma) / (2 * (1 - kr))
    values = (luma * 255, u * 255 + 128, v * 255 + 128) if full else (luma * 219 + 16, u * 224 + 128, v * 224 + 128)
    made = VideoFrame(width, height, layout)
    levels = [round(value) for value in values]
    planes = frame_planes(made, "nv12" if layout == "nv12" else "yuv420p")
    if layout == "nv12":
        planes[0][...], planes[1][..., 0], planes[1][..., 1] = levels
    else:
        for plane, level in zip(planes, levels, strict=True):
            plane[...] = level
    return mark(made, said)


HD, SD = (1280, 720), (640, 360)


@pytest.mark.parametrize("canvas_lines", [480, 1080])
@pytest.mark.parametrize("size", [HD, SD], ids=["hd", "sd"])
@pytest.mark.parametrize("layout", ["yuv420p", "nv12"])
@pytest.mark.parametrize(
    ("matrix", "said"),
    [
        (None, UNSPECIFIED),  # by the lines of the source
        ("smpte170m", ColourSpace(matrix="smpte170m", range="full")),
        ("bt470bg", ColourSpace(matrix="bt470bg", range="limited")),
        ("bt709", ColourSpace(matrix="bt709")),
        ("bt709", ColourSpace(matrix="bt709", range="full")),
        ("bt2020nc", ColourSpace(matrix="bt2020nc", range="limited")),
    ],
)
@pytest.mark.parametrize("scaled", [True, False])
def test_colours_of_the_canvas(
    canvas_lines: int, size: tuple[int, int], layout: str, matrix: str | None, said: ColourSpace, scaled: bool
) -> None:
    source = frame(*size, matrix or ("bt709" if size == HD else "smpte170m"), said.range == "full", said, layout)
    width, height = (320, 180) if scaled else size
    tile = Scaler(MixInput(input="a", source="x"), Box(x=0, y=0, width=width, height=height), canvas_lines).tile(source)
    found = [int(plane[5, 5]) for plane in tile.planes]
    wanted = yuv_of("#{:02x}{:02x}{:02x}".format(*RGB), canvas_lines)
    assert max(abs(a - b) for a, b in zip(found, wanted, strict=True)) <= _LEVELS_OFF, (found, wanted)


@pytest.mark.parametrize("size", [HD, SD, (641, 361)], ids=["hd", "sd", "odd"])
@pytest.mark.parametrize("pixel_format", ["bgr24", "rgb24", "gray", "gray16le", "bayer_rggb8"])
@pytest.mark.parametrize("canvas_lines", [480, 1080])
def test_pictures_of_applications(size: tuple[int, int], pixel_format: PixelFormat, canvas_lines: int) -> None:
    width, height = size
    if pixel_format == "bayer_rggb8":
        width, height = width & ~1, height & ~1  # a mosaic has whole cells
    shape, dtype = array_shape(pixel_format, width, height), sample_type(pixel_format)
    array = np.full(shape, 200 * (257 if dtype is np.uint16 else 1), dtype)
    wanted = yuv_of("#c8c8c8", canvas_lines)
    if pixel_format in PACKED:
        array[...] = RGB if pixel_format == "rgb24" else RGB[::-1]
        wanted = yuv_of("#{:02x}{:02x}{:02x}".format(*RGB), canvas_lines)
    ref = FrameRef(
        stream="app", node="test", epoch=1, sequence=1, ring="app.1.0.ring", slot=0, pixel_format=pixel_format,
        width=width, height=height, pts_ns=0, captured_ns=0, monotonic_ns=0,
        colour_space=RGB_SPACE if pixel_format in PACKED else UNSPECIFIED,
    )  # fmt: skip
    one = MixInput(input="a", source="x", fit="fill")
    tile = Scaler(one, Box(x=0, y=0, width=320, height=180), canvas_lines).tile(frame_of(array, ref))
    found = [int(plane[5, 5]) for plane in tile.planes]
    assert max(abs(a - b) for a, b in zip(found, wanted, strict=True)) <= _LEVELS_OFF, (found, wanted)


def test_a_still_keeps_its_transparency_within_round_corners() -> None:
    image = np.zeros((100, 200, 4), np.uint8)
    image[..., :3], image[:, :100, 3] = RGB, 255
    one = MixInput(input="a", source="a.png", radius=20, crop=Crop(top=0.5), opacity=0.5)
    tile = still_tile(image, one, Box(x=10, y=10, width=200, height=50), 1080)
    assert not tile.opaque
    (part,) = tile.parts
    assert part.rect.width == 100, "the half that can be seen"
    assert part.alpha is not None
    assert part.alpha.luma[25, 50] == 128
    assert part.alpha.luma[0, 0] == 0, "its corner is round"
