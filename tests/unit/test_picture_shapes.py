"""Sizes of pictures, which way up they are, and that nothing of a frame is read late."""

import gc
import io
import weakref
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image

from schemas.errors import InvalidValue
from schemas.sampling import PictureOptions
from services.frame_extractor.pictures import make_picture, picture_array, picture_size
from tests.support.reference_pictures import opened, psnr, rgb_truth, yuv_frame

FORMATS = ("jpg", "png", "webp")
WIDTH, HEIGHT = 160, 96
TRUTH = rgb_truth(WIDTH, HEIGHT)
_TRUE_DB = 38.0  # a picture that is mirrored or turned the wrong way has 8 to 20


def test_sizes() -> None:
    hd: list[tuple[dict[str, Any], tuple[int, int]]] = [
        ({}, (1920, 1080)),
        ({"short_side": 720}, (1280, 720)),
        ({"short_side": 721}, (1280, 720)),  # even
        ({"short_side": 2160}, (3840, 2160)),
        ({"width": 720}, (720, 404)),
        ({"width": 721}, (721, 406)),
        ({"height": 100}, (178, 100)),
        ({"width": 300, "height": 300}, (300, 300)),
        ({"width": 1}, (1, 2)),
    ]
    for asked, size in hd:
        assert picture_size(1920, 1080, PictureOptions(**asked)) == size, asked
    assert picture_size(1919, 1079, PictureOptions()) == (1919, 1079)
    assert picture_size(1920, 1080, PictureOptions(short_side=720), turned=True) == (720, 1280)
    assert picture_size(1920, 1080, PictureOptions(width=540), turned=True) == (540, 960)


def test_pixels_become_square() -> None:
    size = PictureOptions()
    assert picture_size(720, 576, size, sample_aspect=Fraction(64, 45)) == (1024, 576)
    assert picture_size(720, 480, size, sample_aspect=Fraction(10, 11)) == (654, 480)
    assert picture_size(720, 576, size, sample_aspect=Fraction(16, 11), turned=True) == (576, 1048)
    assert picture_size(720, 576, PictureOptions(short_side=288), sample_aspect=Fraction(64, 45)) == (512, 288)
    for nonsense in (None, Fraction(0, 1), Fraction(-4, 3), Fraction(1, 1000), Fraction(1000, 1)):
        assert picture_size(720, 576, size, sample_aspect=nonsense) == (720, 576)


def test_too_large_pictures_are_refused() -> None:
    for size, options, field in (
        ((4000, 2), PictureOptions(short_side=1080), "pictures.short_side"),
        ((1920, 1080), PictureOptions(width=16_384, height=16_384), "pictures.width"),
        ((100, 9000), PictureOptions(width=200), "pictures.width"),
        ((16_384, 100), PictureOptions(format="webp"), "pictures.short_side"),
    ):
        with pytest.raises(InvalidValue) as refused:
            picture_size(*size, options)
        assert refused.value.field == field


@pytest.mark.parametrize("name", ["yuv420p", "yuv422p10le", "nv12", "rgb24", "rgba", "gray", "yuva420p", "gbrp12le"])
@pytest.mark.parametrize("file_format", FORMATS)
def test_every_format_and_option_opens_again_in_its_size(file_format: Any, name: str) -> None:
    frame = yuv_frame(TRUTH, 1).reformat(format=name)
    asked: dict[str, Any]
    for asked, degrees in (({}, 0), ({"short_side": 48}, 90), ({"width": 51, "height": 197}, 0), ({"height": 33}, 90)):
        options = PictureOptions(format=file_format, quality=1 if degrees else 100, **asked)
        made = make_picture(frame, options, degrees)
        image = Image.open(io.BytesIO(made.data))
        image.load()
        assert image.size == (made.width, made.height)
        assert image.size == picture_size(WIDTH, HEIGHT, options, turned=bool(degrees))
    options = PictureOptions(short_side=48)
    array = picture_array(frame, options, order="bgr24")
    assert array.shape == (48, 80, 3)
    assert np.array_equal(array[..., ::-1], picture_array(frame, options))


@pytest.mark.parametrize("matrix", [1, 6])
@pytest.mark.parametrize("degrees", [0, 90, 180, 270, -90, 360])
def test_turned_pictures_are_upright(degrees: int, matrix: int) -> None:
    shown = np.rot90(TRUTH, degrees // 90)  # counterclockwise, both
    for file_format in FORMATS:
        made = make_picture(yuv_frame(TRUTH, matrix), PictureOptions(format=file_format, quality=95), degrees)
        assert psnr(opened(made.data), shown) > 36


def test_scaled_pictures_show_the_same() -> None:
    for size in ((80, 48), (320, 192), (53, 47)):
        truth = rgb_truth(*size)
        for bits, layout in ((8, "420"), (10, "420"), (8, "444")):
            frame = yuv_frame(TRUTH, 1, bits=bits, layout=layout)
            for file_format in FORMATS:
                options = PictureOptions(format=file_format, quality=95, width=size[0], height=size[1])
                assert psnr(opened(make_picture(frame, options).data), truth) > 35, (size, bits, file_format)


def test_a_frame_may_change_once_its_picture_is_made() -> None:
    """Nothing is read late, and no picture lies in memory that the next is made in."""
    for matrix, full in ((1, False), (6, False), (6, True)):
        for name in ("yuv420p", "yuv444p", "rgb24", "gray"):
            first = yuv_frame(TRUTH, matrix, full=full)
            first = first if name == "yuv420p" else first.reformat(format=name)
            before = [make_picture(first, PictureOptions(format=form)).data for form in FORMATS]
            array = picture_array(first, PictureOptions())
            copy, kept = array.copy(), [bytes(data) for data in before]
            for plane in first.planes:
                plane.update(bytes([77]) * plane.buffer_size)
            picture_array(first, PictureOptions())
            assert np.array_equal(array, copy)
            after = [make_picture(first, PictureOptions(format=form)).data for form in FORMATS]
            assert before == kept
            assert all(one != other for one, other in zip(before, after, strict=True))


def test_frames_stay_as_they_are() -> None:
    frame = yuv_frame(TRUTH, 1, bits=10)
    frame.color_trc, frame.color_primaries, frame.pts = 16, 9, 1234
    planes = [bytes(plane) for plane in frame.planes]
    make_picture(frame, PictureOptions(short_side=48), 90)
    assert [bytes(plane) for plane in frame.planes] == planes
    assert (frame.color_trc, frame.color_primaries, frame.colorspace, frame.pts) == (16, 9, 1, 1234)


@pytest.mark.parametrize("trc", [1, 16])  # SDR, and PQ, which has more said beside it
def test_a_frame_is_gone_once_its_picture_is_made(trc: int) -> None:
    """A decoder's memory is free for its next picture, not at some later collection of garbage."""
    samples = np.zeros((HEIGHT * 3 // 2, WIDTH), np.uint8)
    alive = weakref.ref(samples)
    frame = av.VideoFrame.from_numpy_buffer(samples, "yuv420p")
    frame.color_trc = trc
    del samples
    gc.disable()
    try:
        for file_format in FORMATS:
            make_picture(frame, PictureOptions(format=file_format))
        picture_array(frame, PictureOptions())
        del frame
        assert alive() is None
    finally:
        gc.enable()


def test_many_threads_make_the_same_pictures_as_one() -> None:
    frames = [yuv_frame(rgb_truth(160 + 2 * number, 96), 1) for number in range(6)]
    alone = [make_picture(frame, PictureOptions()) for frame in frames]
    with ThreadPoolExecutor(4) as pool:
        for _ in range(5):
            assert list(pool.map(lambda frame: make_picture(frame, PictureOptions()), frames)) == alone


def test_lines_of_two_moments_become_one_picture() -> None:
    """Of what moves by 6 pixels from field to field, one moment is shown, in full height."""
    wide = rgb_truth(WIDTH + 6, HEIGHT)
    x = np.arange(WIDTH + 6)
    wide = wide * (0.6 + 0.4 * np.sin(x / 5))[np.newaxis, :, np.newaxis]
    first, second = wide[:, :WIDTH], wide[:, 6:]
    woven = first.copy()
    woven[1::2] = second[1::2]
    still = interlaced(yuv_frame(first, 1, layout="444"))
    moving = interlaced(yuv_frame(woven, 1, layout="444"))
    assert psnr(picture_array(still, PictureOptions()) / 255, first) > _TRUE_DB
    combed = psnr(picture_array(yuv_frame(woven, 1, layout="444"), PictureOptions()) / 255, first)
    assert combed < 22
    assert psnr(picture_array(moving, PictureOptions()) / 255, first) > _TRUE_DB


def interlaced(frame: av.VideoFrame) -> av.VideoFrame:
    """The same, flagged, top field first."""
    graph = av.filter.Graph()
    source = graph.add("buffer", f"video_size={WIDTH}x{HEIGHT}:pix_fmt={frame.format.name}:time_base=1/25")
    flag, sink = graph.add("setfield", "tff"), graph.add("buffersink")
    source.link_to(flag)
    flag.link_to(sink)
    graph.configure()
    frame.pts = 0
    source.push(frame)
    result = sink.pull()
    assert isinstance(result, av.VideoFrame)
    assert result.interlaced_frame
    return result
