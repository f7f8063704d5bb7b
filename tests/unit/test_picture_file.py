"""Pictures of the ring as files: sizes, colours and depth of every pixel format, as another decoder reads them."""

import io
from typing import Any, get_args

import numpy as np
import numpy.typing as npt
import pytest
from av.video.frame import VideoFrame
from PIL import Image

from schemas.frames import PixelFormat
from shared.media.picture_file import PictureFile, encode_picture

pytestmark = pytest.mark.unit

FORMATS: tuple[PixelFormat, ...] = get_args(PixelFormat)
WIDTH, HEIGHT = 320, 180
_DEPTH_MAXIMUM = {"gray10le": 1023, "gray12le": 4095, "gray16le": 65_535}
# Of 255, over the whole picture: a jpg of quality 90 costs 1.0 to 1.5; limited levels taken for full ones 15.
_JPG_ERROR = 2.5
_WEBP_ERROR = 2.5  # limited levels, rounded once more
_LEVELS_ERROR = 1.5  # of 8-bit 4:2:0 as `Frame.bgr()` has it: limited levels, and libav's fastest way
_PNG_ERROR = 0.6  # rounding, and what demosaicing makes of a gradient


def rgb_truth() -> npt.NDArray[np.uint8]:
    """A gradient in each channel, each another way."""
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    channels = (x * 255 // WIDTH, y * 255 // HEIGHT, 255 - (x + y) * 255 // (WIDTH + HEIGHT))
    return np.stack(channels, axis=-1).astype(np.uint8)


def made(pixel_format: PixelFormat) -> tuple[npt.NDArray[Any], npt.NDArray[np.uint8]]:
    """The picture as the ring has it, and what it shows as RGB."""
    truth = rgb_truth()
    if pixel_format.startswith("bayer"):
        mosaic = np.zeros((HEIGHT, WIDTH), np.uint8)
        for place, channel in enumerate(pixel_format[6:10]):
            rows, columns = slice(place // 2, None, 2), slice(place % 2, None, 2)
            mosaic[rows, columns] = truth[rows, columns, "rgb".index(channel)]
        return (mosaic.astype(np.uint16) * 257 if pixel_format.endswith("le") else mosaic), truth
    if pixel_format.startswith("gray"):
        grey = truth[..., 0]
        shown = np.repeat(grey[..., None], 3, axis=2)
        if pixel_format == "gray":
            return grey.copy(), shown
        return (grey * (_DEPTH_MAXIMUM[pixel_format] / 255)).round().astype(np.uint16), shown
    return VideoFrame.from_ndarray(truth, format="rgb24").reformat(format=pixel_format).to_ndarray(), truth


def encoded(
    array: npt.NDArray[Any],
    pixel_format: PixelFormat,
    file_format: Any,
    width: int = WIDTH,
    height: int = HEIGHT,
    **options: Any,
) -> PictureFile:
    return encode_picture(array, pixel_format, width, height, file_format, **options)


def opened(data: bytes) -> npt.NDArray[np.float64]:
    """As RGB, 0 to 255."""
    image = Image.open(io.BytesIO(data))
    assert image.format in ("JPEG", "PNG", "WEBP")
    array = np.asarray(image).astype(np.float64)
    if image.mode.startswith("I"):
        array = array / 257
    return array if array.ndim == 3 else np.repeat(array[..., None], 3, axis=2)


@pytest.mark.parametrize("pixel_format", FORMATS)
@pytest.mark.parametrize(("file_format", "most"), [("jpg", _JPG_ERROR), ("png", _PNG_ERROR), ("webp", _WEBP_ERROR)])
def test_the_colours_of_every_format(pixel_format: PixelFormat, file_format: Any, most: float) -> None:
    array, truth = made(pixel_format)
    array.setflags(write=False)  # as a leased picture is
    file = encoded(array, pixel_format, file_format)
    shown = opened(file.data)
    assert shown.shape == (HEIGHT, WIDTH, 3)
    inner = np.s_[4:-4, 4:-4]  # a mosaic has no neighbours at its edge
    most = max(most, _LEVELS_ERROR) if pixel_format == "yuv420p" else most
    assert np.abs(shown[inner] - truth[inner]).mean() < most


@pytest.mark.parametrize("pixel_format", ["gray10le", "gray12le", "gray16le"])
def test_a_deep_grey_png_keeps_every_value(pixel_format: PixelFormat) -> None:
    maximum = _DEPTH_MAXIMUM[pixel_format]
    array = np.linspace(0, maximum, WIDTH * HEIGHT).astype(np.uint16).reshape(HEIGHT, WIDTH)
    image = Image.open(io.BytesIO(encoded(array, pixel_format, "png").data))
    assert image.mode == "I;16"
    values = np.asarray(image).astype(np.int64)
    assert values.max() == 65_535, "full scale stays full scale"
    assert np.array_equal((values * maximum + 32_767) // 65_535, array)


def test_white_and_black_are_the_whole_range() -> None:
    array = np.full((HEIGHT * 3 // 2, WIDTH), 128, np.uint8)
    array[:HEIGHT, : WIDTH // 2], array[:HEIGHT, WIDTH // 2 :] = 16, 235
    shown = opened(encoded(array, "yuv420p", "jpg", quality=100).data)
    assert shown[:, : WIDTH // 2 - 16].max() <= 1
    assert shown[:, WIDTH // 2 + 16 :].min() >= 254


@pytest.mark.parametrize("pixel_format", FORMATS)
@pytest.mark.parametrize("max_width", [2, 100, 319])
def test_wide_pictures_are_scaled_down(pixel_format: PixelFormat, max_width: int) -> None:
    array, _ = made(pixel_format)
    for file_format in ("jpg", "png", "webp"):
        file = encoded(array, pixel_format, file_format, max_width=max_width)
        assert Image.open(io.BytesIO(file.data)).size == (file.width, file.height)
        assert file.width == max_width
        assert abs(file.height - HEIGHT * max_width / WIDTH) <= 2


def test_narrow_pictures_are_left_alone() -> None:
    array, _ = made("gray")
    assert encoded(array, "gray", "png", max_width=WIDTH).width == WIDTH
    assert encoded(array, "gray", "png", max_width=5000).width == WIDTH


@pytest.mark.parametrize(("width", "height"), [(1278, 718), (2, 2), (6, 1080)])
@pytest.mark.parametrize("pixel_format", ["yuv420p", "nv12"])
def test_sizes_that_libav_does_not_take_in_place(pixel_format: PixelFormat, width: int, height: int) -> None:
    array = np.full((height * 3 // 2, width), 128, np.uint8)
    file = encoded(array, pixel_format, "jpg", width, height)
    assert Image.open(io.BytesIO(file.data)).size == (width, height)


def test_a_higher_quality_is_a_larger_and_truer_file() -> None:
    truth = np.random.default_rng(3).integers(0, 256, (HEIGHT, WIDTH), np.uint8)
    sizes, errors = [], []
    for quality in (1, 30, 60, 90):
        file = encoded(truth, "gray", "jpg", quality=quality)
        sizes.append(len(file.data))
        errors.append(np.abs(opened(file.data)[..., 0] - truth).mean())
    assert sizes == sorted(set(sizes))
    assert errors == sorted(set(errors), reverse=True)
