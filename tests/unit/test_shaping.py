"""What is done to pictures, held against a slow and obvious reference; and no mask lets anything through."""

import math
import re
from fractions import Fraction
from typing import Any, get_args

import av
import av.filter
import msgspec
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.errors import InvalidValue
from schemas.frames import PixelFormat
from schemas.pictures import Mask, PictureSettings
from services.capture.shaping import Shaped, Shaper
from shared import pixel_formats
from shared.media.frames import array_frame, frame_planes

pytestmark = pytest.mark.unit

Array = npt.NDArray[Any]
FORMATS: tuple[PixelFormat, ...] = get_args(PixelFormat)
MOSAICS = [name for name in FORMATS if name.startswith("bayer")]
WIDTH, HEIGHT = 44, 30  # not a multiple of four, nor of what libav likes
CROP = (20, 14, 10, 6)
MASKS = (Mask(x=0.31, y=0.26, width=0.2, height=0.3), Mask(x=0.9, y=0.9, width=0.1, height=0.1))


def noise(pixel_format: PixelFormat, width: int = WIDTH, height: int = HEIGHT, seed: int = 1) -> Array:
    most = (1 << pixel_formats.sample_bits(pixel_format)) - 1
    dtype = pixel_formats.sample_type(pixel_format)
    shape = pixel_formats.array_shape(pixel_format, width, height)
    return np.random.default_rng(seed).integers(0, most, shape, dtype, endpoint=True)


def done(shaped: Shaped) -> Array:
    array = np.full(shaped.geometry.array_shape, 77, shaped.geometry.array_dtype)
    shaped.fill(array)
    return array


def pixel(array: Array, pixel_format: PixelFormat, width: int, height: int, x: int, y: int) -> tuple[int, ...]:
    """All samples of one pixel, from the layout as the documentation has it."""
    if pixel_format == "yuv420p":
        flat = array.reshape(-1)
        place = y // 2 * (width // 2) + x // 2
        luma, chroma = width * height, width * height // 4
        return int(flat[y * width + x]), int(flat[luma + place]), int(flat[luma + chroma + place])
    if pixel_format == "nv12":
        return int(array[y, x]), int(array[height + y // 2, x // 2 * 2]), int(array[height + y // 2, x // 2 * 2 + 1])
    return tuple(int(sample) for sample in np.atleast_1d(array[y, x]))


def black(pixel_format: PixelFormat) -> tuple[int, ...]:
    if pixel_format in ("yuv420p", "nv12"):
        return (16, 128, 128)
    return (0, 0, 0) if pixel_format in ("bgr24", "rgb24") else (0,)


def masked(x: int, y: int) -> bool:
    """Whether a pixel of the source shares a cell of two by two with what a mask touches."""
    for mask in MASKS:
        left, top = mask.x * WIDTH, mask.y * HEIGHT
        right, bottom = left + mask.width * WIDTH, top + mask.height * HEIGHT
        cells_x = range(math.floor(left) // 2, math.ceil(right / 2))
        cells_y = range(math.floor(top) // 2, math.ceil(bottom / 2))
        if x // 2 in cells_x and y // 2 in cells_y:
            return True
    return False


def turned_back(x: int, y: int, width: int, height: int, rotate: int) -> tuple[int, int]:
    """Where the pixel (x, y) of the turned picture was in one of `width` x `height`."""
    return {
        0: (x, y),
        90: (y, height - 1 - x),
        180: (width - 1 - x, height - 1 - y),
        270: (width - 1 - y, x),
    }[rotate]


@pytest.mark.parametrize("kind", ["frame", "image"])
@pytest.mark.parametrize("masks", [(), MASKS], ids=["plain", "masked"])
@pytest.mark.parametrize("crop", [None, CROP], ids=["whole", "cropped"])
@pytest.mark.parametrize("rotate", [0, 90, 180, 270])
@pytest.mark.parametrize("pixel_format", FORMATS)
def test_every_pixel_is_where_it_belongs(
    pixel_format: PixelFormat, rotate: Any, crop: tuple[int, ...] | None, masks: tuple[Mask, ...], kind: str
) -> None:
    array = noise(pixel_format)
    before = array.copy()
    wanted_format = pixel_format
    if kind == "frame":  # a decoder's picture becomes yuv420p unless told otherwise
        wanted_format = pixel_formats.turned(pixel_format, rotate // 90)
    shaper = Shaper(
        PictureSettings(
            crop="{}x{}+{}+{}".format(*crop) if crop else None,
            rotate=rotate,
            masks=masks,
            pixel_format=wanted_format if kind == "frame" else None,
        )
    )
    frame = array_frame(array, pixel_format, WIDTH, HEIGHT)
    shaped = shaper.frame(frame) if kind == "frame" else shaper.image(array, pixel_format)
    result = done(shaped)
    assert np.array_equal(array, before), "the source's own picture was written to"
    width, height, left, top = crop or (WIDTH, HEIGHT, 0, 0)
    geometry = shaped.geometry
    assert (geometry.width, geometry.height) == ((height, width) if rotate in (90, 270) else (width, height))
    for y in range(geometry.height):
        for x in range(geometry.width):
            in_crop = turned_back(x, y, width, height, rotate)
            at = in_crop[0] + left, in_crop[1] + top
            found = pixel(result, geometry.pixel_format, geometry.width, geometry.height, x, y)
            if masks and masked(*at):
                assert found == black(geometry.pixel_format), (x, y)
            else:
                assert found == pixel(array, pixel_format, WIDTH, HEIGHT, *at), (x, y)


@pytest.mark.parametrize("quarters", [1, 2, 3])
@pytest.mark.parametrize("pixel_format", MOSAICS)
def test_a_turned_mosaic_is_named_for_what_it_is(pixel_format: PixelFormat, quarters: int) -> None:
    colours = np.array([[pixel_format[6], pixel_format[7]], [pixel_format[8], pixel_format[9]]])
    letters = "".join(np.rot90(colours, -quarters).ravel())
    shaped = Shaper(PictureSettings(rotate=quarters * 90)).image(noise(pixel_format), pixel_format)  # type: ignore[arg-type]
    assert shaped.geometry.pixel_format == f"bayer_{letters}{pixel_format[10:]}"


def _colours(pixel_format: PixelFormat) -> Array:
    """Four flat colours, one in each quarter, in any format, made sample by sample."""
    quarters = {(0, 0): (200, 40, 90), (0, 1): (30, 160, 60), (1, 0): (60, 70, 220), (1, 1): (128, 128, 128)}
    rgb = np.empty((48, 64, 3), np.uint8)
    for (row, column), colour in quarters.items():
        rgb[row * 24 : row * 24 + 24, column * 32 : column * 32 + 32] = colour
    if pixel_format in MOSAICS:
        wide = pixel_format.endswith("16le")
        array = np.empty((48, 64), np.uint16 if wide else np.uint8)
        for place, letter in enumerate(pixel_format[6:10]):
            samples = rgb[place // 2 :: 2, place % 2 :: 2, "rgb".index(letter)]
            array[place // 2 :: 2, place % 2 :: 2] = samples.astype(np.uint16) * 257 if wide else samples
        return array
    return av.VideoFrame.from_ndarray(rgb, format="rgb24").reformat(format=pixel_format).to_ndarray()


@pytest.mark.parametrize("to", [name for name in FORMATS if name not in MOSAICS])
@pytest.mark.parametrize("pixel_format", FORMATS)
def test_colours_survive_every_conversion_and_scaling(pixel_format: PixelFormat, to: PixelFormat) -> None:
    colours = [(200, 40, 90), (30, 160, 60), (60, 70, 220), (128, 128, 128)]
    shaper = Shaper(PictureSettings(rotate=90, size="96x128", pixel_format=to))
    shaped = shaper.image(_colours(pixel_format), pixel_format)
    geometry = shaped.geometry
    assert (geometry.pixel_format, geometry.width, geometry.height) == (to, 96, 128)
    rgb = array_frame(done(shaped), to, 96, 128).to_ndarray(format="rgb24").astype(int)
    # Turned clockwise: what was bottom left is top left now.
    for centre, colour in zip([(32, 24), (32, 72), (96, 24), (96, 72)], [2, 0, 3, 1], strict=True):
        wanted = np.array(colours[colour])
        if "gray" in (pixel_format[:4], to[:4]):
            wanted = np.full(3, wanted @ (0.299, 0.587, 0.114))
        assert np.abs(rgb[centre] - wanted).max() <= 6, (centre, rgb[centre], wanted)


def test_full_scale_stays_full_scale() -> None:
    for pixel_format in FORMATS:
        if not pixel_format.startswith("gray"):
            continue
        most = (1 << pixel_formats.sample_bits(pixel_format)) - 1
        white = np.full((32, 32), most, pixel_formats.sample_type(pixel_format))
        for to, wanted in (("gray", 255), ("gray16le", 65535), ("bgr24", 255)):
            result = done(Shaper(PictureSettings(pixel_format=to)).image(white, pixel_format))  # type: ignore[arg-type]
            assert (result == wanted).all(), (pixel_format, to, result[0, 0])


# -- masks ---------------------------------------------------------------------------------------------------

# Formats that a ring does not have: bytes of one place in a plane, and how many pixels it stands for, across and down,
# in the first plane and in those of colour.
FOREIGN = {
    "yuvj420p": (1, (1, 1), (2, 2)),
    "yuvj422p": (1, (1, 1), (2, 1)),
    "yuv444p": (1, (1, 1), (1, 1)),
    "yuv410p": (1, (1, 1), (4, 4)),
    "yuv422p10le": (2, (1, 1), (2, 1)),
    "gbrp": (1, (1, 1), (1, 1)),
    "rgba": (4, (1, 1), (1, 1)),
    "yuyv422": (4, (2, 1), (2, 1)),
}


@st.composite
def masks_in_pictures(draw: st.DrawFn) -> tuple[int, int, PictureSettings]:
    width, height = draw(st.integers(16, 90)), draw(st.integers(16, 70))
    x, y = draw(st.floats(0, 0.9)), draw(st.floats(0, 0.9))
    mask = Mask(x=x, y=y, width=min(draw(st.floats(0.01, 1)), 1 - x), height=min(draw(st.floats(0.01, 1)), 1 - y))
    crop = None
    if draw(st.booleans()):
        crop_width, crop_height = 2 * draw(st.integers(4, width // 2)), 2 * draw(st.integers(4, height // 2))
        left = 2 * draw(st.integers(0, (width - crop_width) // 2))
        top = 2 * draw(st.integers(0, (height - crop_height) // 2))
        crop = f"{crop_width}x{crop_height}+{left}+{top}"
    size = None
    if draw(st.booleans()):
        size = f"{2 * draw(st.integers(4, 80))}x{2 * draw(st.integers(4, 80))}"
    rotate = draw(st.sampled_from([0, 90, 180, 270]))
    return width, height, PictureSettings(masks=(mask,), crop=crop, size=size, rotate=rotate)


def _samples(frame: av.VideoFrame) -> list[tuple[Array, tuple[int, int]]]:
    """Each plane as an array that may be written to, and how many pixels a place in it stands for."""
    name = frame.format.name
    if name in FORMATS:
        shares = [(1, 1)] + [(2, 2)] * 2
        return list(zip(frame_planes(frame, name), shares, strict=False))
    place_bytes, first, others = FOREIGN[name]
    planes = []
    for number, plane in enumerate(frame.planes):
        share = others if number else first
        rows, columns = -(-frame.height // share[1]), -(-frame.width // share[0])
        view = np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)[:rows, : columns * place_bytes]
        planes.append(
            (
                view.reshape(rows, columns, place_bytes)
                if view.flags.c_contiguous
                else np.lib.stride_tricks.as_strided(
                    view, (rows, columns, place_bytes), (plane.line_size, place_bytes, 1)
                ),
                share,
            )
        )
    return planes


def _two_frames(source: str, width: int, height: int, mask: Mask) -> tuple[av.VideoFrame, av.VideoFrame]:
    """Pictures of noise that differ in every sample that the mask touches, and nowhere else."""
    frames = (av.VideoFrame(width, height, source), av.VideoFrame(width, height, source))
    deep = source in FOREIGN and "10le" in source
    bits = 10 if deep else pixel_formats.sample_bits(source) if source in FORMATS else 8  # type: ignore[arg-type]
    left, right = math.floor(mask.x * width), math.ceil((mask.x + mask.width) * width)
    top, bottom = math.floor(mask.y * height), math.ceil((mask.y + mask.height) * height)
    for frame, secret in zip(frames, (0, 0xA5), strict=True):
        for number, (samples, (across, down)) in enumerate(_samples(frame)):
            most = (1 << bits) - 1 if samples.dtype == np.uint16 else 255
            noise = np.random.default_rng(number).integers(0, most, samples.shape, samples.dtype, endpoint=True)
            if deep:
                noise[..., 1] &= 3  # the upper byte of ten bits
            area = slice(top // down, -(-bottom // down)), slice(left // across, -(-right // across))
            noise[area] ^= np.array([secret, 0] if deep else secret, samples.dtype)
            samples[...] = noise
    return frames


@settings(max_examples=400, deadline=None)
@given(picture=masks_in_pictures(), source=st.sampled_from([*FORMATS, *FOREIGN]), to=st.sampled_from(FORMATS))
def test_nothing_of_a_masked_area_shows(
    picture: tuple[int, int, PictureSettings], source: str, to: PixelFormat
) -> None:
    """Two pictures that differ only where the mask is come out the same to the last bit, whatever is done to them."""
    width, height, wanted = picture
    if to in MOSAICS:
        to = "bgr24"
    shaper = Shaper(msgspec.structs.replace(wanted, pixel_format=to))
    plain, secret = _two_frames(source, width, height, wanted.masks[0])
    first, second = done(shaper.frame(plain)), done(shaper.frame(secret))
    assert np.array_equal(first, second)


@pytest.mark.parametrize("size", [None, "80x80", "16x16", "30x78"])
@pytest.mark.parametrize("pixel_format", ["yuv420p", "nv12", "bgr24", "gray16le"])
def test_a_mask_is_black_after_scaling_too(pixel_format: PixelFormat, size: str | None) -> None:
    mask = Mask(x=0.25, y=0.5, width=0.25, height=0.25)
    white = np.full((40, 40), 255, np.uint8)
    result = done(Shaper(PictureSettings(masks=(mask,), size=size, pixel_format=pixel_format)).image(white, "gray"))
    width, height = (int(edge) for edge in (size or "40x40").split("x"))
    for y in range(height):
        for x in range(width):
            inside = x + 1 > width * 0.25 and x < width * 0.5 and y + 1 > height * 0.5 and y < height * 0.75
            found = pixel(result, pixel_format, width, height, x, y)
            if inside:
                assert found == black(pixel_format), (x, y)
            near = width * 0.25 - 4 <= x <= width * 0.5 + 4 and height * 0.5 - 4 <= y <= height * 0.75 + 4
            if not near:
                assert found[0] > 220, (x, y)


def test_what_cannot_be_done_is_one_clear_error() -> None:
    bayer = noise("bayer_rggb8")
    for wanted, array, pixel_format, text in [
        ({"crop": "32x32+20+0"}, noise("gray"), "gray", "crop '32x32+20+0': the source's pictures are 44x30"),
        ({"size": "20x10"}, bayer, "bayer_rggb8", "size '20x10': bayer_rggb8 cannot be scaled; use 44x30"),
        ({"pixel_format": "bayer_rggb8", "rotate": 90}, bayer, "bayer_rggb8", "are bayer_grbg8 here"),
        ({"pixel_format": "bayer_rggb8"}, noise("gray"), "gray", "are gray here"),
        ({}, noise("gray16le"), "gray", "gray pictures are uint8"),
        ({}, noise("gray"), "bgr24", "array"),
    ]:
        with pytest.raises(InvalidValue, match=re.escape(text)):
            Shaper(PictureSettings(**wanted)).image(array, pixel_format)  # type: ignore[arg-type]


@pytest.mark.parametrize(("width", "height"), [(45, 31), (45, 30), (44, 31)])
def test_an_odd_edge_is_left_out_of_subsampled_pictures_only(width: int, height: int) -> None:
    frame = av.VideoFrame(width, height, "yuv420p")
    for samples, _ in _samples(frame):
        samples[...] = np.arange(samples.size, dtype=np.uint8).reshape(samples.shape)
    shaped = Shaper(PictureSettings()).frame(frame)
    assert (shaped.geometry.width, shaped.geometry.height) == (44, 30)
    luma = frame_planes(frame, "yuv420p")[0]
    assert np.array_equal(done(shaped)[:30], luma[:30, :44])
    gray = noise("gray", width, height)
    assert np.array_equal(done(Shaper(PictureSettings()).image(gray, "gray")), gray)


def test_a_picture_that_stands_upside_down_in_memory() -> None:
    frame = av.VideoFrame(WIDTH, HEIGHT, "bgr24")
    upright = noise("bgr24")
    frame_planes(frame, "bgr24")[0][...] = upright
    graph = av.filter.Graph()
    source = graph.add_buffer(width=WIDTH, height=HEIGHT, format="bgr24", time_base=Fraction(1, 30))
    flip, end = graph.add("vflip"), graph.add("buffersink")
    source.link_to(flip)
    flip.link_to(end)
    graph.configure()
    frame.pts, frame.time_base = 0, Fraction(1, 30)
    source.push(frame)
    flipped = end.pull()
    assert flipped.planes[0].line_size < 0, "libav flips a picture by counting its lines backwards"
    result = done(Shaper(PictureSettings(pixel_format="bgr24")).frame(flipped))
    assert np.array_equal(result, upright[::-1])
