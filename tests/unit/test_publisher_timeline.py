"""Times on an output's own clock: gaps, repeats, restarts, clocks that are set back."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.packets import PacketHeader, Track
from services.publisher.timeline import Place, Timeline

pytestmark = pytest.mark.unit

SECOND = 1_000_000_000
FRAME = SECOND // 25
START = 1_700_000_000 * SECOND


def header(
    index: int, pts_ns: int, *, track: Track = "video", key: bool = False, run: int = 1, dts_ns: int | None = None
) -> PacketHeader:
    return PacketHeader(
        stream="cam0",
        rendition="main",
        track=track,
        codec="h264" if track == "video" else track,
        epoch=1,
        sequence=1,
        run=run,
        index=index,
        key=key,
        pts_ns=pts_ns,
        dts_ns=pts_ns if dts_ns is None else dts_ns,
        captured_ns=pts_ns,
        duration_ns=FRAME if track == "video" else 20_000_000,
    )


@pytest.fixture
def dropped() -> Counter[str]:
    return Counter()


@pytest.fixture
def timeline(dropped: Counter[str]) -> Timeline:
    return Timeline(dropped)


def test_it_starts_at_the_first_key_picture_and_zero(timeline: Timeline, dropped: Counter[str]) -> None:
    assert timeline.place(header(1, START)) is None
    assert timeline.place(header(1, START, track="aac")) is None
    assert timeline.place(header(2, START + FRAME, key=True)) == Place(0, 0)
    assert timeline.place(header(2, START + FRAME - 1, track="aac")) is None, "sound of before the picture"
    assert timeline.place(header(3, START + FRAME, track="aac")) == Place(0, 0)
    assert timeline.place(header(3, START + 2 * FRAME)) == Place(FRAME, FRAME)
    assert dropped == {"waiting_for_key": 1, "before_first_picture": 2}


def test_reordered_pictures_start_their_decoding_at_zero(timeline: Timeline) -> None:
    assert timeline.place(header(1, START, key=True, dts_ns=START - 2 * FRAME)) == Place(2 * FRAME, 0)
    assert timeline.place(header(1, START - FRAME, track="aac")) is None, "before the first picture is shown"
    assert timeline.place(header(2, START, track="aac")) == Place(2 * FRAME, 2 * FRAME)


def test_after_a_lost_picture_the_next_key_is_awaited(timeline: Timeline, dropped: Counter[str]) -> None:
    timeline.place(header(1, START, key=True))
    assert timeline.place(header(3, START + 2 * FRAME)) is None
    assert timeline.place(header(4, START + 3 * FRAME)) is None
    assert timeline.place(header(5, START + 4 * FRAME, key=True)) == Place(4 * FRAME, 4 * FRAME), "the gap stays a gap"
    assert dropped == {"waiting_for_key": 2}


def test_repeated_packets_are_dropped(timeline: Timeline, dropped: Counter[str]) -> None:
    timeline.place(header(1, START, key=True))
    timeline.place(header(2, START + FRAME))
    assert timeline.place(header(1, START, key=True)) is None
    assert timeline.place(header(2, START + FRAME)) is None
    assert timeline.place(header(3, START + 2 * FRAME)) is not None
    assert dropped == {"repeated": 2}


def test_another_run_waits_for_its_key_and_keeps_real_time(timeline: Timeline) -> None:
    timeline.place(header(1, START, key=True))
    assert timeline.place(header(1, START + 3 * SECOND, run=2)) is None
    assert timeline.place(header(2, START + 4 * SECOND, run=2, key=True)) == Place(4 * SECOND, 4 * SECOND)
    assert timeline.rebased == 0


def test_a_step_backwards_is_made_good_for_both_tracks(timeline: Timeline, dropped: Counter[str]) -> None:
    timeline.place(header(1, START, key=True))
    timeline.place(header(2, START + FRAME))
    back = START - 3_600 * SECOND
    assert timeline.place(header(1, back, run=2, key=True)) == Place(2 * FRAME, 2 * FRAME)
    assert timeline.place(header(1, START + 2 * FRAME, track="aac")) is None, "sound of the old clock"
    assert timeline.place(header(2, back, track="aac", run=2)) == Place(2 * FRAME, 2 * FRAME)
    assert timeline.rebased == 1
    assert dropped == {"far_from_pictures": 1}


def test_a_step_backwards_within_a_group_waits_for_its_end(timeline: Timeline, dropped: Counter[str]) -> None:
    timeline.place(header(1, START, key=True))
    assert timeline.place(header(2, START - SECOND)) is None
    assert timeline.place(header(3, START - SECOND + FRAME)) is None
    assert timeline.place(header(4, START - SECOND + 2 * FRAME, key=True)) == Place(FRAME, FRAME)
    assert dropped == {"backwards": 1, "waiting_for_key": 1}


@given(
    packets=st.lists(
        st.tuples(
            st.sampled_from(["video", "aac"]),
            st.integers(1, 3),
            st.integers(0, 40),
            st.booleans(),
            st.integers(-(1 << 62), 1 << 62) | st.integers(START, START + 5 * SECOND),
        ),
        max_size=60,
    )
)
def test_whatever_comes_decoding_times_grow(packets: list[tuple[Track, int, int, bool, int]]) -> None:
    dropped: Counter[str] = Counter()
    timeline = Timeline(dropped)
    last: dict[Track, int] = {}
    placed = 0
    for track, run, index, key, pts_ns in packets:
        place = timeline.place(header(index, pts_ns, track=track, run=run, key=key))
        if place is not None:
            assert place.dts_ns > last.get(track, -1)
            last[track] = place.dts_ns
            placed += 1
    assert placed + dropped.total() == len(packets), "nothing goes uncounted"
