"""The time code in the picture, also after an encoder had it."""

import io
import time
from typing import Any

import av
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import InvalidValue
from schemas.frames import PixelFormat
from shared.media import timecode
from shared.media.frames import array_frame
from shared.pixel_formats import sample_bits, sample_type

pytestmark = pytest.mark.unit

NOW_MS = 1_795_224_463_841


@pytest.mark.parametrize(
    ("ms", "expected"),
    [
        (0, "00000000001e"),
        (1, "000000000119"),
        (1_700_000_000_000, "8bcfe568001d"),
        (NOW_MS, "a1fbb769e11b"),
        (1_099_511_627_775, "fffffffffff9"),
    ],
)
def test_check_values(ms: int, expected: str) -> None:
    assert timecode.word(ms).hex() == expected


@given(st.integers(0, 1 << 45), st.integers(-(1 << 38), 1 << 38))
def test_what_is_burnt_is_read(ms: int, skew_ms: int) -> None:
    picture = np.full((32, 384), 90, np.uint8)
    timecode.burn(picture, ms, "gray")
    assert timecode.read(picture, ms + skew_ms) == ms


FORMATS: list[tuple[PixelFormat, tuple[int, ...]]] = [
    ("yuv420p", (360 * 3 // 2, 640)),
    ("yuv420p", (90 * 3 // 2, 386)),
    ("nv12", (360 * 3 // 2, 640)),
    ("gray", (360, 640)),
    ("bgr24", (360, 640, 3)),
    ("rgb24", (360, 640, 3)),
    ("gray10le", (360, 640)),
    ("gray12le", (360, 640)),
    ("gray16le", (360, 640)),
    ("bayer_rggb8", (360, 640)),
    ("bayer_gbrg16le", (360, 640)),
]


@pytest.mark.parametrize(("pixel_format", "shape"), FORMATS)
def test_every_format_is_read_after_conversion(pixel_format: PixelFormat, shape: tuple[int, ...]) -> None:
    most = (1 << sample_bits(pixel_format)) - 1
    picture = np.random.default_rng(1).integers(0, most, shape, sample_type(pixel_format))
    before = picture.copy()
    timecode.burn(picture, NOW_MS, pixel_format)
    frame = array_frame(picture, pixel_format, 640 if shape[1] == 640 else 386, 360 if shape[1] == 640 else 90)
    rgb = frame.to_ndarray(format="rgb24")
    assert timecode.read(rgb[:, :, 1], NOW_MS) == NOW_MS
    corner = rgb[2:30, 2:382].astype(int)
    if pixel_format.startswith(
        "bayer"
    ):  # colours are guessed from neighbours: at a cell's edge they are another cell's
        corner = rgb[:32, :384].reshape(2, 16, 24, 16, 3)[:, 2:14, :, 2:14].astype(int)
    assert np.ptp(corner, axis=-1).max() <= 2  # no colour left in the area
    # Nothing outside the area is touched: 384 x 32 luma samples and, in 4:2:0, half as many chroma samples.
    area = 384 * 32 * {"yuv420p": 3, "nv12": 3, "bgr24": 6, "rgb24": 6}.get(pixel_format, 2) // 2
    assert area * 0.97 < np.count_nonzero(picture != before) <= area


@pytest.mark.parametrize("value", [0, 16, 128, 235, 255])
def test_a_plain_area_is_no_code(value: int) -> None:
    assert timecode.read(np.full((32, 384), value, np.uint8), NOW_MS) is None


@given(st.integers(0, 47))
def test_one_wrong_cell_is_noticed(cell: int) -> None:
    picture = np.empty((32, 384), np.uint8)
    timecode.burn(picture, NOW_MS, "gray")
    y, x = cell // 24 * 16, cell % 24 * 16
    picture[y : y + 16, x : x + 16] = 251 - picture[y : y + 16, x : x + 16]
    assert timecode.read(picture, NOW_MS) is None


def test_too_small_pictures() -> None:
    with pytest.raises(InvalidValue, match="382x400"):
        timecode.burn(np.zeros((600, 382), np.uint8), NOW_MS)
    with pytest.raises(InvalidValue, match="30"):
        timecode.burn(np.zeros((45, 384), np.uint8), NOW_MS)
    with pytest.raises(InvalidValue, match="padding"):
        timecode.burn(np.zeros((540, 700), np.uint8)[:, :640], NOW_MS)
    assert timecode.read(np.zeros((32, 383), np.uint8), NOW_MS) is None
    assert timecode.read(np.zeros((0, 0), np.uint8), NOW_MS, scale=0.01) is None


@pytest.mark.parametrize("scale", [1.0, 0.5, 2 / 3, 0.75, 1.5, 2.0, 3.0])
def test_scales(scale: float) -> None:
    picture = np.full((720, 1280), 100, np.uint8)
    timecode.burn(picture, NOW_MS, "gray")
    frame = av.VideoFrame.from_ndarray(picture, format="gray")
    scaled = frame.reformat(width=round(1280 * scale), height=round(720 * scale))
    assert timecode.read(scaled.to_ndarray(), NOW_MS, scale) == NOW_MS


def _waves(width: int, height: int, count: int) -> npt.NDArray[np.uint8]:
    """A moving picture with film grain, (height * 3 // 2, width)."""
    y, x = np.mgrid[: height * 3 // 2, :width]
    grain = np.random.default_rng(count).normal(0, 6, x.shape)
    waves = 120 + 60 * np.sin((x + 9 * count) / 40) * np.cos((y - 5 * count) / 31) + grain
    return np.clip(waves, 16, 235).astype(np.uint8)


@pytest.mark.parametrize(("width", "height", "kilobit_per_s"), [(640, 360, 500), (1280, 720, 1_000)])
def test_through_x264(width: int, height: int, kilobit_per_s: int) -> None:
    pictures = 20
    file = io.BytesIO()
    with av.open(file, "w", format="mpegts") as output:
        options = {"preset": "ultrafast", "tune": "zerolatency"}
        stream = output.add_stream("libx264", rate=30, options=options)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.bit_rate = kilobit_per_s * 1_000
        for count in range(pictures):
            picture = _waves(width, height, count)
            timecode.burn(picture, NOW_MS + count * 33)
            output.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="yuv420p")))
        output.mux(stream.encode(None))
    file.seek(0)
    full, half = [], []
    with av.open(file) as container:
        for frame in container.decode(video=0):
            full.append(timecode.read(_luma(frame), NOW_MS))
            half.append(timecode.read(_luma(frame.reformat(width // 2, height // 2)), NOW_MS, 0.5))
    expected = [NOW_MS + count * 33 for count in range(pictures)]
    assert full == expected
    assert half == expected


def _luma(frame: av.VideoFrame) -> npt.NDArray[Any]:
    return frame.to_ndarray()[: frame.height]


def test_burning_is_cheap() -> None:
    picture = np.zeros((720 * 3 // 2, 1280), np.uint8)
    seconds = []
    for _ in range(200):
        started = time.perf_counter()
        timecode.burn(picture, NOW_MS)
        seconds.append(time.perf_counter() - started)
    assert sorted(seconds)[20] < 60e-6  # the 10th percentile: other processes share the machine
