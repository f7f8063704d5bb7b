"""One conversion for all renditions of a stream that need the same, and none that waits for ever."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from av.video.frame import PictureType, VideoFrame
from msgspec.structs import replace

from schemas.frames import FrameRef
from schemas.resources import Fit
from services.hw_encode import pictures as module
from services.hw_encode.pictures import Pictures, PictureSource

pytestmark = pytest.mark.unit

WIDTH, HEIGHT = 320, 180
REF = FrameRef(
    stream="cam0", node="n", epoch=1, sequence=1, ring="cam0.1.ab.ring", slot=0, pixel_format="bgr24",
    width=WIDTH, height=HEIGHT, pts_ns=0, captured_ns=0, monotonic_ns=0,
)  # fmt: skip
RED = (0, 0, 200)


def picture(width: int = WIDTH, height: int = HEIGHT) -> npt.NDArray[np.uint8]:
    """Red, with a blue frame of 20 pixels at the left and the right: what is cut is seen."""
    bgr = np.empty((height, width, 3), np.uint8)
    bgr[:] = RED
    bgr[:, :20] = bgr[:, -20:] = (200, 0, 0)
    return bgr


def together(sources: list[PictureSource], take: Callable[[PictureSource], VideoFrame]) -> list[VideoFrame]:
    """What each source's own thread gets, all asking at once."""
    barrier = threading.Barrier(len(sources))

    def run(source: PictureSource) -> VideoFrame:
        barrier.wait(5)
        return take(source)

    with ThreadPoolExecutor(len(sources)) as threads:
        return list(threads.map(run, sources))


def rgb(frame: VideoFrame) -> npt.NDArray[Any]:
    return frame.to_ndarray(format="rgb24").astype(int)


def test_three_renditions_that_need_the_same_have_it_converted_once() -> None:
    pictures = Pictures()
    sources = [PictureSource(pictures) for _ in range(3)]
    bgr = picture()
    take = lambda ref: lambda source: source.frame(bgr, ref, "yuv420p", None, "contain", own=False)  # noqa: E731
    together(sources, take(REF))  # the first picture tells who needs what
    before = [source.counts.converted + source.counts.shared for source in sources]
    assert before == [1, 1, 1]
    converted = sum(source.counts.converted for source in sources)
    frames = [together(sources, take(replace(REF, sequence=number))) for number in range(2, 12)]
    assert sum(source.counts.converted for source in sources) == converted + 10
    assert sum(source.counts.shared for source in sources) == 3 - converted + 20
    first, second, third = frames[-1]
    assert first.planes[0].buffer_ptr == second.planes[0].buffer_ptr == third.planes[0].buffer_ptr, "no copy"
    first.pts, first.pict_type = 7, PictureType.I
    second.pts = 8
    assert (first.pts, second.pts, third.pts) == (7, 8, None)
    assert second.pict_type == third.pict_type == PictureType.NONE
    bgr[:] = 0
    assert np.abs(rgb(third)[HEIGHT // 2, WIDTH // 2] - RED[::-1]).max() < 6, "in memory of its own"


def test_one_rendition_shares_with_nobody_and_keeps_nothing() -> None:
    pictures = Pictures()
    source = PictureSource(pictures)
    for number in range(1, 6):
        source.frame(picture(), replace(REF, sequence=number), "yuv420p", (160, 90), "contain", own=False)
    assert (source.counts.converted, source.counts.shared) == (5, 0)
    assert not any(pictures._kept.values())


def test_a_small_rendition_is_scaled_from_the_whole_picture_that_another_needs() -> None:
    pictures = Pictures()
    whole, small, smaller = sources = [PictureSource(pictures) for _ in range(3)]
    sizes = {whole: None, small: (160, 90), smaller: (80, 80)}
    take = lambda ref: lambda source: source.frame(picture(), ref, "yuv420p", sizes[source], "cover", own=False)  # noqa: E731
    together(sources, take(REF))
    for source in sources:
        source.counts.converted = source.counts.shared = 0
    for number in range(2, 12):
        together(sources, take(replace(REF, sequence=number)))
    # The whole once; each small one from that. Whoever comes second finds the whole one there.
    assert sum(source.counts.converted for source in sources) == 30
    assert sum(source.counts.shared for source in sources) == 20
    frame = small.frame(picture(), replace(REF, sequence=20), "yuv420p", (160, 90), "cover", own=False)
    assert np.abs(rgb(frame)[45, 80] - RED[::-1]).max() < 6


def test_of_each_form_two_pictures_are_kept_and_none_when_nobody_needs_it() -> None:
    pictures = Pictures()
    first, second = PictureSource(pictures), PictureSource(pictures)
    for number in range(1, 9):
        for source in (first, second):
            source.frame(picture(), replace(REF, sequence=number), "yuv420p", None, "contain", own=False)
    assert [len(kept) for kept in pictures._kept.values()] == [2]
    late = second.frame(picture(), replace(REF, sequence=2), "yuv420p", None, "contain", own=False)
    assert np.abs(rgb(late)[90, 160] - RED[::-1]).max() < 6
    assert [min(kept) for kept in pictures._kept.values()] == [(1, 7)], "an old one takes no new one's place"
    second.close()
    assert not pictures._kept


def test_who_has_waited_too_long_or_in_vain_converts_for_itself(monkeypatch: Any) -> None:
    pictures = Pictures()
    first, second = PictureSource(pictures), PictureSource(pictures)
    for source in (first, second):
        source.frame(picture(), REF, "yuv420p", None, "contain", own=False)
    begun, go_on = threading.Event(), threading.Event()
    real = module.convert

    def held(*arguments: Any) -> VideoFrame:
        if threading.current_thread().name == "held":
            begun.set()
            assert go_on.wait(5)
            raise MemoryError
        return real(*arguments)

    monkeypatch.setattr(module, "convert", held)
    monkeypatch.setattr(module, "_WAIT_SECONDS", 0.05)
    ref = replace(REF, sequence=2)

    def take_and_fail() -> None:
        with pytest.raises(MemoryError):
            first.frame(picture(), ref, "yuv420p", None, "contain", own=False)

    thread = threading.Thread(target=take_and_fail, name="held")
    thread.start()
    assert begun.wait(5)
    frame = second.frame(picture(), ref, "yuv420p", None, "contain", own=False)
    assert second.counts.late == 1
    assert np.abs(rgb(frame)[90, 160] - RED[::-1]).max() < 6
    go_on.set()
    thread.join(5)
    monkeypatch.setattr(module, "_WAIT_SECONDS", 5.0)
    second.frame(picture(), ref, "yuv420p", None, "contain", own=False)
    assert second.counts.late == 2, "the conversion that failed is known at once"


@pytest.mark.parametrize("pixel_format", ["yuv420p", "nv12", "yuvj420p"])
@pytest.mark.parametrize(
    ("fit", "corner", "middle_left"),
    [("contain", (0, 0, 0), (0, 0, 200)), ("cover", (200, 0, 0), (200, 0, 0)), ("fill", (0, 0, 200), (0, 0, 200))],
)
def test_bars_cuts_and_stretched_pictures_have_the_right_colours(
    pixel_format: str, fit: Fit, corner: tuple[int, int, int], middle_left: tuple[int, int, int]
) -> None:
    source, other = PictureSource(pictures := Pictures()), None
    for number in range(1, 8):  # more than a canvas has pictures
        frame = source.frame(picture(), replace(REF, sequence=number), pixel_format, (160, 160), fit, own=False)
        if number == 1:
            other, kept = frame, rgb(frame)
    shown = rgb(frame)
    assert shown.shape == (160, 160, 3)
    assert np.abs(shown[2, 2] - corner).max() < 8, shown[2, 2]
    assert np.abs(shown[80, 2] - middle_left).max() < 8, shown[80, 2]
    assert np.abs(shown[80, 80] - RED[::-1]).max() < 8, shown[80, 80]
    assert other is not None
    assert (rgb(other) == kept).all(), "a picture that somebody holds is not written again"
    assert not any(pictures._kept.values())


@pytest.mark.parametrize("size", [(180, 180), (160, 160)])
@pytest.mark.parametrize("own", [True, False])
def test_a_cut_of_a_picture_in_the_encoders_format_is_copied_only_when_libav_keeps_it(
    size: tuple[int, int], own: bool
) -> None:
    ref = replace(REF, pixel_format="yuv420p")
    array = np.full((HEIGHT * 3 // 2, WIDTH), 128, np.uint8)
    frame = PictureSource(Pictures()).frame(array, ref, "yuv420p", size, "cover", own=own)
    array[:HEIGHT] = 235
    seen = int(np.frombuffer(frame.planes[0], np.uint8)[frame.planes[0].line_size * 20 + 20])
    assert (frame.width, frame.height) == size
    assert seen == (235 if size == (180, 180) and not own else 128)
