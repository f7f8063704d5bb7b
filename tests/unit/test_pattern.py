"""The test pattern and its tone."""

import time

import numpy as np
import pytest

from schemas.errors import InvalidValue
from shared.media import glyphs, timecode
from shared.media.pattern import Pattern
from shared.media.tone import tone

pytestmark = pytest.mark.unit

NOW_NS = 1_795_224_463_841_000_000
SIZES = [(384, 32), (384, 62), (386, 90), (384, 2_160), (640, 360), (1280, 720), (1920, 1080)]


def drawn(pattern: Pattern, sequence: int, now_ns: int = NOW_NS, fill: int = 0) -> np.ndarray:
    picture = np.full((pattern.height * 3 // 2, pattern.width), fill, np.uint8)
    pattern.draw(picture, sequence, now_ns)
    return picture


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_every_pixel_is_written_and_the_same_again(width: int, height: int) -> None:
    pattern = Pattern(width, height)
    for sequence in (0, 1, 60, 96, 97, 12_345_678_901):
        first = drawn(pattern, sequence, fill=0)
        assert np.array_equal(first, drawn(pattern, sequence, fill=255))
        assert first[:height].min() >= 16
        assert first.max() <= 240


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_it_moves(width: int, height: int) -> None:
    pattern = Pattern(width, height)
    pictures = [drawn(pattern, sequence).tobytes() for sequence in range(0, 100, 10)]
    assert len(set(pictures)) == len(pictures)


@pytest.mark.parametrize("sequence", [0, 5, 50, 97])
def test_the_corner_of_the_time_code_stands_still(sequence: int) -> None:
    pattern = Pattern(640, 360)
    assert np.array_equal(drawn(pattern, sequence)[:32, :384], drawn(pattern, 31)[:32, :384])
    picture = drawn(pattern, sequence)
    timecode.burn(picture, 1_234_567)
    assert timecode.read(picture[:360], 1_234_567) == 1_234_567


def _contains(luma: np.ndarray, text: str, scale: int) -> bool:
    """Whether the dots of `text` are all light somewhere in the picture."""
    wanted = glyphs.render(text, scale, 0, 1).astype(bool)
    light = luma == 235
    height, width = wanted.shape
    windows = np.lib.stride_tricks.sliding_window_view(light, (height, width))
    return bool((windows == wanted).all(axis=(2, 3)).any())


def test_counter_and_clock_are_shown() -> None:
    pattern = Pattern(640, 360)
    panel = drawn(pattern, 123, 45_296_789_000_000)[280:360]  # 12:34:56.789
    assert _contains(panel, "#00000123  12:34:56.789", 3)
    assert not _contains(panel, "#00000124", 3)


@pytest.mark.parametrize(("width", "height"), [(383, 32), (382, 32), (384, 30), (385, 64), (640, 361)])
def test_sizes_that_cannot_be(width: int, height: int) -> None:
    with pytest.raises(InvalidValue, match=f"{width}x{height}"):
        Pattern(width, height)


def test_drawing_is_cheap() -> None:
    pattern = Pattern(1280, 720)
    picture = np.empty((1080, 1280), np.uint8)
    seconds = []
    for sequence in range(100):
        started = time.perf_counter()
        pattern.draw(picture, sequence, NOW_NS)
        seconds.append(time.perf_counter() - started)
    assert sorted(seconds)[10] < 1e-3  # the 10th percentile: other processes share the machine


@pytest.mark.parametrize(("sample_rate", "channels"), [(48_000, 2), (44_100, 1), (11_025, 6)])
def test_the_tone_goes_on_without_a_gap(sample_rate: int, channels: int) -> None:
    whole = tone(0, 3 * sample_rate, sample_rate, channels)
    assert whole.dtype == np.int16
    assert whole.shape == (3 * sample_rate * channels,)
    start = 2 * sample_rate - 700
    blocks = [tone(index, 480, sample_rate, channels) for index in range(start, start + 4_800, 480)]
    joined = np.concatenate(blocks)
    assert np.array_equal(joined, whole[start * channels :][: len(joined)])
    left = whole[::channels].astype(int)
    # A beep of 1 kHz at 0.3 changes by at most 2 * pi * f * level / rate per sample; a click would change by more.
    assert np.abs(np.diff(left)).max() <= 2 * np.pi * 1_000 * 0.3 * 32_767 / sample_rate * 1.1 + 2
    assert np.array_equal(left, whole[channels - 1 :: channels])


def test_the_beep_marks_the_second() -> None:
    loudness = [int(np.abs(tone(index, 480, 48_000, 1)).max()) for index in range(48_000 - 480, 48_000 + 9_600, 480)]
    assert loudness[0] < 4_000  # the last 10 ms of the second before
    assert min(loudness[1:10]) > 9_000
    assert max(loudness[11:]) < 4_000


def test_the_pitch_of_the_tone() -> None:
    quiet = tone(24_000, 4_800, 48_000, 1).astype(float)
    spectrum = np.abs(np.fft.rfft(quiet))
    assert spectrum.argmax() * 10 == 440  # a bin is 10 Hz
