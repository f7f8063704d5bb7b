"""Which picture was being exposed at an instant."""

from schemas.frames import FrameRef
from services.io_signal.inputs.frame_times import FrameTimes, StreamTimes

MS = 1_000_000
SECOND = 1_000 * MS


def ref(sequence: int, captured_ms: float, epoch: int = 1, duration_ms: int = 0, exposure_ms: int = 0) -> FrameRef:
    return FrameRef(
        stream="cam0",
        node="edge1",
        epoch=epoch,
        sequence=sequence,
        ring="cam0.1",
        slot=0,
        pixel_format="gray",
        width=8,
        height=8,
        pts_ns=0,
        captured_ns=round(captured_ms * MS),
        monotonic_ns=0,
        duration_ns=duration_ms * MS,
        exposure_ns=exposure_ms * MS,
        clock="driver",
    )


def times_of(*refs: FrameRef) -> StreamTimes:
    times = StreamTimes("cam0")
    for one in refs:
        times.take(one, 0)
    return times


def even(count: int, distance_ms: int = 33, first_ms: int = 1_000) -> list[FrameRef]:
    return [ref(number, first_ms + number * distance_ms) for number in range(1, count + 1)]


def test_the_picture_captured_last_before_the_instant_with_its_neighbours() -> None:
    times = times_of(*even(5, 40))
    joined = times.join(1_125 * MS)
    assert joined is not None
    assert (joined.stream, joined.epoch, joined.clock) == ("cam0", 1, "driver")
    assert (joined.frame.sequence, joined.frame.dt_ns) == (3, 5 * MS)
    assert joined.before is not None
    assert (joined.before.sequence, joined.before.dt_ns) == (2, 45 * MS)
    assert joined.after is not None
    assert (joined.after.sequence, joined.after.dt_ns) == (4, -35 * MS)


def test_the_instant_of_a_capture_belongs_to_that_picture() -> None:
    joined = times_of(*even(5, 40)).join(1_120 * MS)
    assert joined is not None
    assert (joined.frame.sequence, joined.frame.dt_ns) == (3, 0)


def test_an_instant_is_settled_once_a_later_picture_is_known() -> None:
    times = times_of(*even(3, 40))
    assert times.is_settled(1_119 * MS)
    assert not times.is_settled(1_120 * MS)
    times.take(ref(4, 1_160), 0)
    assert times.is_settled(1_120 * MS)


def test_the_newest_picture_is_the_one_for_about_as_long_as_pictures_take() -> None:
    times = times_of(*even(5, 40))
    joined = times.join(1_255 * MS)
    assert joined is not None
    assert (joined.frame.sequence, joined.after) == (5, None)
    assert times.join(1_265 * MS) is None
    assert times.nearest_ns(1_265 * MS) == 65 * MS


def test_a_slow_source_that_tells_how_long_its_pictures_last_is_believed() -> None:
    assert times_of(ref(1, 0)).join(400 * MS) is None
    for slow in (ref(1, 0, duration_ms=500), ref(1, 0, exposure_ms=500)):
        joined = times_of(slow).join(400 * MS)
        assert joined is not None
        assert joined.frame.sequence == 1


def test_no_picture_was_exposed_in_a_gap() -> None:
    times = times_of(*even(5, 40), ref(6, 5_000))
    assert times.join(3_000 * MS) is None
    joined = times.join(5_010 * MS)
    assert joined is not None
    assert joined.frame.sequence == 6


def test_a_picture_that_comes_late_does_not_take_its_place_from_the_one_before() -> None:
    times = times_of(*even(5, 40), ref(6, 1_330))
    joined = times.join(1_325 * MS)
    assert joined is not None
    assert (joined.frame.sequence, joined.frame.dt_ns) == (5, 125 * MS)
    lost_between = times_of(*even(5, 40), ref(7, 1_330))
    assert lost_between.join(1_325 * MS) is None
    assert lost_between.join(1_255 * MS) is not None


def test_before_the_first_picture_there_is_none() -> None:
    times = times_of(*even(5, 40))
    assert times.join(1_000 * MS) is None
    assert times.nearest_ns(1_000 * MS) == -40 * MS
    assert StreamTimes("cam0").join(1) is None
    assert StreamTimes("cam0").nearest_ns(1) is None


def test_another_writer_begins_anew_and_the_former_one_is_not_heard() -> None:
    times = times_of(*even(5, 40), ref(1, 1_240, epoch=2), ref(6, 1_245, epoch=1), ref(2, 1_280, epoch=2))
    joined = times.join(1_250 * MS)
    assert joined is not None
    assert (joined.epoch, joined.frame.sequence, joined.before) == (2, 1, None)
    assert joined.after is not None
    assert joined.after.sequence == 2
    last_of_the_first = times.join(1_239 * MS)
    assert last_of_the_first is not None
    assert (last_of_the_first.epoch, last_of_the_first.frame.sequence, last_of_the_first.after) == (1, 5, None)


def test_a_picture_that_is_written_again_counts_as_what_it_was() -> None:
    repeated = [ref(6, 1_200), ref(7, 1_200)]
    times = times_of(*even(5, 40), *repeated, ref(8, 1_240))
    joined = times.join(1_210 * MS)
    assert joined is not None
    assert (joined.frame.sequence, joined.before and joined.before.sequence) == (5, 4)
    assert times.find(1, 7) == 1_200 * MS


def test_a_clock_that_is_set_back_is_followed() -> None:
    times = times_of(*(ref(number, 100_000 + 40 * number) for number in range(1, 300)))
    for number in range(300, 320):
        times.take(ref(number, 40 * number), 0)
    joined = times.join(40 * 310 * MS + 1)
    assert joined is not None
    assert joined.frame.sequence == 310


def test_a_picture_is_found_by_its_sequence() -> None:
    times = FrameTimes()
    assert times.find("cam0", None, 3) is None
    for one in (*even(5, 40), ref(3, 9_000, epoch=2)):
        times.of("cam0").take(one, 0)
    assert times.find("cam0", 1, 3) == 1_120 * MS
    assert times.find("cam0", 2, 3) == 9_000 * MS
    assert times.find("cam0", None, 3) == 9_000 * MS
    assert times.find("cam0", None, 99) is None
    times.forget("cam0")
    assert times.find("cam0", 1, 3) is None


def test_only_the_last_ones_are_kept() -> None:
    times = times_of(*even(1_000))
    assert times.find(1, 744) is None
    assert times.find(1, 745) is not None


def test_how_late_pictures_come_is_that_of_the_newest() -> None:
    times = StreamTimes("cam0")
    times.take(ref(1, 1_000), 1_900 * MS)
    assert times.late_ns == 900 * MS
    times.take(ref(2, 1_000), 5_000 * MS)  # written again
    assert times.late_ns == 900 * MS
    times.take(ref(3, 6_000), 5_990 * MS)  # by a clock that is ahead
    assert times.late_ns == 0
