"""When pictures are due, which one of an input is shown then, and where its sound belongs."""

import itertools
import time
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import msgspec
import pytest

from schemas.frames import AudioHeader, FrameRef
from schemas.packets import pack
from services.cloud_mix_proxy.mixer.input_times import InputTimes
from services.cloud_mix_proxy.mixer.inputs import StreamInput
from services.cloud_mix_proxy.mixer.picture_queue import PictureQueue
from services.cloud_mix_proxy.mixer.ticks import Ticks
from services.cloud_mix_proxy.mixer.timeline import Timeline
from shared.bus import Bus, Message

pytestmark = pytest.mark.unit
MS = 1_000_000
SECOND = 1_000 * MS


def ref(pts_ms: float, sequence: int = 1) -> FrameRef:
    pts_ns = int(pts_ms * MS)
    return FrameRef(
        stream="cam0", node="test", epoch=1, sequence=sequence, ring="cam0.1.0.ring", slot=0, pixel_format="yuv420p",
        width=64, height=36, pts_ns=pts_ns, captured_ns=pts_ns, monotonic_ns=pts_ns,
    )  # fmt: skip


def test_a_picture_that_is_written_again_keeps_no_input_alive(tmp_path: Path) -> None:
    """As capture does with the last one of a source that is lost, for who comes late."""
    bus = cast(Bus, SimpleNamespace(connected=True))
    one = StreamInput(bus, node="test", stream="cam0", shm_dir=tmp_path, within_ns=SECOND, lost_after_ns=50 * MS)

    def told(sequence: int, captured_ms: float) -> None:
        given = msgspec.structs.replace(ref(captured_ms, sequence), pts_ns=sequence * MS)
        one._take_picture(cast(Message, SimpleNamespace(data=msgspec.json.encode(given))))

    told(1, 10)
    assert one.state == "live"
    queue = one.follow()
    for sequence in range(2, 30):
        told(sequence, 10)
        time.sleep(0.004)  # as they would come: what is judged is that time passes
    assert one.state == "lost"
    found = queue.at(1 << 62)
    assert found is not None
    assert found.sequence == 1, "the one that is leased is the one that was new"
    told(30, 20)
    assert one.state == "live"


def test_what_an_input_could_not_use_is_told(tmp_path: Path) -> None:
    bus = cast(Bus, SimpleNamespace(connected=True))
    one = StreamInput(bus, node="test", stream="cam0", shm_dir=tmp_path, within_ns=SECOND, lost_after_ns=SECOND)
    one.follow()
    for sequence in range(1, 67):  # nobody takes them; 64 wait
        one._take_picture(cast(Message, SimpleNamespace(data=msgspec.json.encode(ref(sequence, sequence)))))
    header = AudioHeader(
        stream="cam0", node="test", epoch=1, sequence=1, sample_rate=44_100, channels=1, sample_format="s16",
        samples=1, pts_ns=0, captured_ns=0,
    )  # fmt: skip
    one._take_sound(cast(Message, SimpleNamespace(data=pack(header, b"\0\0"))))
    assert one.left_out == {"overflown": 2, "late_sound": 0, "unusable_sound": 1}


# -- ticks -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fps", [1.0, 15.0, 24_000 / 1001, 30_000 / 1001, 30.0, 60.0])
def test_ticks_are_even_for_a_day(fps: float) -> None:
    ticks = Ticks(fps, 5 * SECOND)
    first = [ticks.next(0) for _ in range(100)]
    assert first[0] == 5 * SECOND
    assert all(abs(after - before - SECOND / fps) <= 1 for before, after in itertools.pairwise(first))
    day = 86_400 * SECOND
    late = ticks.next(5 * SECOND + day)
    assert abs((late - 5 * SECOND) * fps / SECOND - round((late - 5 * SECOND) * fps / SECOND)) < 1e-6


@pytest.mark.parametrize(
    ("now_ms", "due_ms", "late"),
    [(0, 100, 0), (139, 100, 0), (141, 140, 1), (185, 180, 2), (1100, 1100, 25)],
)
def test_what_is_over_by_a_period_is_left_out(now_ms: int, due_ms: int, late: int) -> None:
    ticks = Ticks(25, 100 * MS)
    assert ticks.next(now_ms * MS) == due_ms * MS
    assert ticks.late == late
    # Never in a burst: the next one is a period later.
    assert ticks.next(now_ms * MS) == (due_ms + 40) * MS


# -- pictures ----------------------------------------------------------------------------------------------------


def test_the_newest_up_to_a_moment_is_taken_once() -> None:
    queue = PictureQueue([ref(0, 1)])
    for number in range(1, 5):
        queue.put(ref(10 * number, number + 1))
    assert queue.at(-1) is None
    found = queue.at(25 * MS)
    assert found is not None
    assert found.pts_ns == 20 * MS
    assert queue.at(25 * MS) is None, "nothing new since"
    following = queue.next()
    assert following is not None
    assert following.pts_ns == 30 * MS, "for when the one before is gone"
    queue.clear()
    assert queue.at(SECOND) is None


def test_pictures_far_ahead_do_not_pile_up() -> None:
    queue = PictureQueue()
    gave_way = sum(queue.put(ref(number * 1_000, number + 1)) for number in range(1_000))
    assert gave_way == 1_000 - 64
    newest = queue.at(10_000 * SECOND)
    assert newest is not None
    assert newest.sequence == 1_000


# -- times -------------------------------------------------------------------------------------------------------


def fed(latency_ms: float, sound_latency_ms: float | None = None, told: bool = True) -> InputTimes:
    """Two seconds of pictures, and of sound, that come so long after they were captured; 40 ms may be under way."""
    times = InputTimes(40 * MS)
    for number in range(60):
        captured = SECOND + number * 33 * MS
        arrived = captured + int(latency_ms * MS)
        times.saw_picture(captured, captured if told else arrived, arrived)
        if sound_latency_ms is not None:
            times.saw_sound(captured, captured, captured + int(sound_latency_ms * MS))
    return times


@pytest.mark.parametrize(
    ("latency_ms", "sound_latency_ms", "told", "offset_ms"),
    [
        (5, None, True, 0),  # as old as it is
        (35, None, True, 0),
        (300, None, True, 260),  # later than can be waited for: just in time
        (30, None, False, 30),  # nobody knows how old it is
        (5, 30, True, 0),
        (5, 65, True, 0),  # 25 ms later than it should be: there is slack
        (5, 340, True, 270),  # the pictures wait for their sound
        (340, 5, True, 300),  # and sound for its pictures
    ],
)
def test_one_difference_for_pictures_and_sound(
    latency_ms: float, sound_latency_ms: float | None, told: bool, offset_ms: float
) -> None:
    assert fed(latency_ms, sound_latency_ms, told).offset_ns == offset_ms * MS


def test_a_time_in_the_future_is_not_believed() -> None:
    times = InputTimes(40 * MS)
    times.saw_picture(0, 3_600 * SECOND, SECOND)
    assert times.offset_ns == SECOND
    assert InputTimes(40 * MS).offset_ns == 0


def offset_ms(*runs: tuple[int, float]) -> list[float]:
    """What a clock says after each of these runs: (pictures, ms that they are later than at first), 25 a second."""
    clock, number, found = Timeline(), 0, []
    for count, late_ms in runs:
        for _ in range(count):
            pts_ns = SECOND + number * 40 * MS
            clock.saw(pts_ns, pts_ns + int(late_ms * MS))
            number += 1
        found.append(round(clock.at(0) / MS))
    return found


def test_a_burst_of_late_ones_moves_nothing() -> None:
    assert offset_ms((50, 0), (12, 300), (50, 0)) == [0, 0, 0], "half a second of a machine that stood still"
    burst = Timeline()
    for number in range(50):
        burst.saw(number * 40 * MS, number * 40 * MS)
    for number in range(50, 62):  # all at once, when it went on
        burst.saw(number * 40 * MS, 62 * 40 * MS)
    assert burst.at(0) == 0


def test_what_stays_elsewhere_is_followed() -> None:
    assert offset_ms((50, 0), (20, 300)) == [0, 300], "late for longer than anything catches up"
    assert offset_ms((50, 0), (4, -300)) == [0, -300], "nothing is too early by itself"
    assert offset_ms((50, 0), (4, 5_000)) == [0, 5_000], "another beginning"
    assert offset_ms((50, 0), (1, 5_000), (3, 0)) == [0, 0, 0]
