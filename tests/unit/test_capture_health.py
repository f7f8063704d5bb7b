"""What a stream's state is judged by: the distance of pictures, their sameness, and times that only grow."""

import asyncio
import itertools
import threading
import time
from types import SimpleNamespace

import av
import numpy as np
import pytest

from schemas.errors import BadRequest, ErrorInfo, InvalidValue, TooMany, Unavailable
from services.capture.arrivals import Arrivals
from services.capture.cadence import Cadence
from services.capture.continuity import Continuity
from services.capture.slate import short_reason, slate
from services.capture.source_thread import MAX_LEFT_BEHIND, End, SourceThread, left_behind
from services.capture.stillness import Stillness, luma_of
from shared.media.glyphs import render
from shared.ring import RingGeometry

pytestmark = pytest.mark.unit
MS = 1_000_000


# -- the distance of pictures ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("fps", "stall"), [(25, 1.0), (4, 2.0), (0.5, 16.0)])
def test_a_stall_is_eight_usual_distances_and_a_second_at_least(fps: float, stall: float) -> None:
    cadence = Cadence()
    for _ in range(100):
        cadence.note(1 / fps)
    assert cadence.stall_seconds == pytest.approx(stall)


def test_one_gap_is_no_new_habit() -> None:
    cadence = Cadence()
    for _ in range(100):
        cadence.note(0.2)
    cadence.note(30)
    assert cadence.stall_seconds < 2.1


def test_bursts_are_judged_by_their_mean() -> None:
    cadence = Cadence()
    for _ in range(50):
        for _ in range(4):
            cadence.note(0.0)
        cadence.note(2.0)  # five pictures every two seconds
    assert 2.5 < cadence.stall_seconds < 4.0


def test_a_pause_that_ended_by_itself_may_come_again_for_a_while() -> None:
    cadence = Cadence()
    for _ in range(100):
        cadence.note(0.04)
    cadence.forgive(3.0)
    assert cadence.stall_seconds > 3.5
    for _ in range(75):
        cadence.note(0.04)
    assert cadence.stall_seconds == pytest.approx(1.0, abs=0.1), "three steady seconds later"


# -- times -------------------------------------------------------------------------------------------------------


def test_times_pass_unchanged_while_they_grow() -> None:
    times = Continuity()
    assert [times.place("video", at * MS, 40 * MS) for at in (0, 40, 80, 5_000)] == [0, 40 * MS, 80 * MS, 5_000 * MS]


def test_a_source_that_is_opened_again_goes_on_behind_what_was() -> None:
    times = Continuity()
    times.place("video", 1_000 * MS, 40 * MS)
    times.place("audio", 1_030 * MS, 20 * MS)
    times.anew()
    assert times.place("audio", 100 * MS, 20 * MS) == 1_050 * MS
    assert times.place("video", 110 * MS, 40 * MS) == 1_060 * MS, "moved as the sound was"
    times.anew()
    assert times.place("video", 9_000 * MS) == 9_000 * MS, "a gap stays a gap"


def test_late_pictures_are_put_behind_until_the_clock_is_taken_to_have_stood_still() -> None:
    now = [0.0]
    times = Continuity(clock=lambda: now[0])
    times.place("video", 0, 40 * MS)
    held = times.follow("video", 3_000 * MS)
    assert held == 3_000 * MS
    placed = []
    for number in range(1, 40):
        now[0] += 0.04
        placed.append(times.place("video", number * 40 * MS, 40 * MS))
    assert all(after > before for before, after in zip([held, *placed], placed, strict=False))
    assert placed[5] - held < MS, "waits for half a second whether it catches up"
    assert placed[-1] - placed[-2] == 40 * MS
    assert placed[-1] < held + 40 * 40 * MS


def test_a_sender_that_catches_up_keeps_its_times() -> None:
    times = Continuity(clock=lambda: 0.0)
    times.place("video", 0, 40 * MS)
    times.follow("video", 200 * MS)
    placed = [times.place("video", number * 40 * MS, 40 * MS) for number in range(1, 10)]
    assert placed[-1] == 9 * 40 * MS


# -- sameness ----------------------------------------------------------------------------------------------------

HEIGHT, WIDTH = 720, 1280


def scene(number: int, kind: str) -> np.ndarray:
    """yuv420p, shape (height * 3/2, width): a landscape of soft noise, and what moves in it."""
    rng = np.random.default_rng(1)
    coarse = rng.integers(40, 200, (HEIGHT // 16 + 1, WIDTH // 16 + 1)).astype(np.float32)
    rows, columns = np.arange(HEIGHT) / 16, np.arange(WIDTH) / 16
    picture = coarse[rows.astype(int)][:, columns.astype(int)] + rng.normal(0, 6, (HEIGHT, WIDTH))
    if kind == "clock":
        digits = render(f"12:34:{number // 25:02d}", 2, 16, 235)
        picture[40 : 40 + digits.shape[0], 40 : 40 + digits.shape[1]] = digits
    elif kind == "dot":
        picture[300:312, 200 + 3 * number : 212 + 3 * number] += 60
    luma = picture.clip(0, 255).astype(np.uint8)
    return np.concatenate([luma, np.full((HEIGHT // 2, WIDTH), 128, np.uint8)])


def encoded(kind: str, bit_rate: int, pictures: int = 60) -> list[np.ndarray]:
    encoder = av.CodecContext.create("libx264", "w")
    assert isinstance(encoder, av.VideoCodecContext)
    encoder.width, encoder.height, encoder.pix_fmt, encoder.framerate = WIDTH, HEIGHT, "yuv420p", 25
    encoder.bit_rate = bit_rate
    encoder.options = {"preset": "ultrafast", "tune": "zerolatency", "g": "25"}
    decoder = av.CodecContext.create("h264", "r")
    still = None if kind != "still" else scene(0, kind)
    found = []
    for number in range(pictures):
        picture = still if still is not None else scene(number, kind)
        for packet in encoder.encode(av.VideoFrame.from_ndarray(picture, format="yuv420p")):
            found += [frame.to_ndarray()[:HEIGHT] for frame in decoder.decode(packet)]  # type: ignore[attr-defined]
    return found


@pytest.mark.parametrize(
    ("kind", "bit_rate", "identical"),
    [("still", 4_000_000, True), ("still", 1_500_000, True), ("clock", 2_000_000, False), ("dot", 2_000_000, False)],
)
def test_encoding_noise_is_no_movement_and_a_small_thing_is(kind: str, bit_rate: int, identical: bool) -> None:
    now = [0.0]
    stillness = Stillness("h264", lambda: None, clock=lambda: now[0])
    for picture in encoded(kind, bit_rate)[25:]:  # a rate control that has just begun is coarser
        now[0] += 0.04
        stillness.compare(picture)
    assert (stillness.seconds > 1.2) is identical


def test_unencoded_pictures_are_alive_while_their_noise_is() -> None:
    now = [0.0]
    stillness = Stillness("raw", lambda: None, clock=lambda: now[0])
    rng = np.random.default_rng(2)
    still = rng.integers(0, 255, (480, 640), np.uint8)
    for _ in range(10):
        now[0] += 1
        stillness.compare(still + rng.integers(0, 2, still.shape, np.uint8))
    assert stillness.seconds == 0
    for _ in range(10):
        now[0] += 1
        stillness.compare(still)
    assert stillness.seconds == 9


def test_the_first_different_picture_is_told_once() -> None:
    told: list[int] = []
    stillness = Stillness("h264", lambda: told.append(1))
    dark, light = np.zeros((480, 640), np.uint8), np.full((480, 640), 99, np.uint8)
    stillness.compare(dark)
    stillness.compare(light)
    assert not told
    stillness.tell_change()
    stillness.compare(light)
    assert not told
    stillness.compare(dark)
    stillness.compare(light)
    assert told == [1]


@pytest.mark.parametrize("pixel_format", ["yuv420p", "nv12", "bgr24", "gray", "gray12le", "gray16le", "bayer_rggb8"])
def test_luma_of_every_kind(pixel_format: str) -> None:
    geometry = RingGeometry(pixel_format=pixel_format, width=320, height=180)  # type: ignore[arg-type]
    picture = slate(geometry, "cam0", "no signal since 12:34:56", "does not answer in time")
    assert picture.shape == geometry.array_shape
    luma = luma_of(picture, geometry)
    assert luma.shape[1] == 320
    assert 35 < np.median(luma) < 80
    assert luma.max() > 180


def test_a_look_at_a_picture_is_quick() -> None:
    stillness = Stillness("h264", lambda: None)
    picture = np.random.default_rng(3).integers(0, 255, (1080, 1920), np.uint8)
    times = []
    for _ in range(200):
        began = time.perf_counter()
        stillness.compare(picture)
        times.append(time.perf_counter() - began)
    print(f"{min(times) * 1e6:.0f} µs at best, {np.median(times) * 1e6:.0f} µs at the median")
    assert min(times) < 0.3e-3  # 0.06 ms on a quiet machine


def test_a_reason_in_short() -> None:
    url = "rtsp://10.0.0.7/stream1"
    assert (
        short_reason(f"source '{url}' refuses the connection; is the server running?", url) == "refuses the connection"
    )
    assert short_reason(f"source {url}: no picture for 1.2 s; is it?", url) == "no picture for 1.2 s"
    assert len(short_reason("x" * 500, url)) == 60


# -- the thread --------------------------------------------------------------------------------------------------


class FakeSink:
    """Only what a thread asks of a sink."""

    def __init__(self) -> None:
        self.arrivals = Arrivals(lambda: None)
        self.frames = SimpleNamespace(superseded=False)

    def lost(self) -> None:
        pass


class Scripted:
    """A source that does what it is told."""

    steady = True

    def __init__(self, act) -> None:
        self.act = act

    def run(self, sink, stop: threading.Event) -> None:
        self.act(sink, stop)


def thread_of(act, told: list[tuple[End, ErrorInfo | None]], sink: FakeSink | None = None) -> SourceThread:
    return SourceThread(
        "cam0",
        lambda: Scripted(act),  # type: ignore[return-value,arg-type]
        sink or FakeSink(),  # type: ignore[arg-type]
        lambda end, problem: told.append((end, problem)),
    )


async def until(condition, seconds: float = 5.0) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.01)


async def test_what_can_never_be_played_is_refused_and_what_was_played_is_lost() -> None:
    def refuse(sink, stop) -> None:
        raise BadRequest("no media")

    for played, end in ((0, "refused"), (1, "lost")):
        told: list[tuple[End, ErrorInfo | None]] = []
        sink = FakeSink()
        sink.arrivals.last_ns = played
        thread = thread_of(refuse, told, sink)
        thread.start()
        await until(lambda: told)  # noqa: B023
        assert told[0][0] == end
        assert await thread.end(2)


async def test_pictures_that_came_and_cannot_be_made_so_are_refused_however_long_they_played() -> None:
    def unfit(sink: FakeSink, stop: threading.Event) -> None:
        sink.arrivals.first_at = 1.0
        raise InvalidValue("crop", "9x9+0+0", "keep it within the picture")

    told: list[tuple[End, ErrorInfo | None]] = []
    sink = FakeSink()
    sink.arrivals.last_ns = 1
    thread = thread_of(unfit, told, sink)
    thread.start()
    await until(lambda: told)
    assert told[0][0] == "refused", "it would be opened and lost again once a second"
    assert await thread.end(2)


async def test_a_silent_source_is_opened_again_when_asked() -> None:
    told: list[tuple[End, ErrorInfo | None]] = []
    thread = thread_of(lambda sink, stop: stop.wait(10), told)
    thread.start()
    await until(lambda: thread.attempt_since is not None)
    thread.reopen(Unavailable("no picture"))
    await until(lambda: told)
    assert told[0][0] == "lost"
    assert told[0][1] == Unavailable("no picture").info
    await until(lambda: thread.attempt_since is not None, 3)
    assert thread.reopen_asked_at is None
    assert await thread.end(2)
    assert len(told) == 1


async def test_a_thread_that_hangs_is_left_behind_and_counted() -> None:
    let_go = threading.Event()
    before, threads = left_behind.total, []
    for number in range(MAX_LEFT_BEHIND):
        thread = thread_of(lambda sink, stop: let_go.wait(20), [])
        thread.start()
        await until(lambda: thread.attempt_since is not None)  # noqa: B023
        assert not await thread.end(0.05)
        threads.append(thread)
        assert left_behind.of("cam0") == number + 1
    with pytest.raises(TooMany, match="hang in the source's driver"):
        thread_of(lambda sink, stop: None, []).start()
    assert left_behind.total == before + MAX_LEFT_BEHIND
    let_go.set()
    await until(lambda: left_behind.of("cam0") == 0)


async def test_a_peer_that_gives_a_few_pictures_each_time_is_tried_every_second() -> None:
    told: list[tuple[End, ErrorInfo | None]] = []
    times: list[float] = []

    def a_moment(sink: FakeSink, stop: threading.Event) -> None:
        times.append(time.monotonic())
        sink.arrivals.first_at = 1.0
        raise Unavailable("gone")

    thread = thread_of(a_moment, told)
    thread.start()
    await until(lambda: len(times) == 4, 8)
    assert await thread.end(2)
    assert all(0.7 < after - before < 1.6 for before, after in itertools.pairwise(times))
