"""When a publisher's pictures were taken: by arrival, by its reports, by a clock that is wrong."""

from itertools import pairwise

from services.webrtc_gateway.ingest.media_time import (
    PICTURE_SLEW,
    SOUND_SLEW,
    PublisherClock,
    TrackTime,
    ntp_to_ns,
)
from shared.rtp.clock import ntp_timestamp

MS = 1_000_000
START_NS = 1_800_000_000_000 * MS // 1000
WRONG_NS = 3_600_000 * MS  # an hour


def test_ntp_and_back() -> None:
    assert abs(ntp_to_ns(ntp_timestamp(START_NS)) - START_NS) <= 1


def test_before_any_report_it_is_the_quickest_arrival() -> None:
    time = TrackTime(90_000, PublisherClock(), PICTURE_SLEW)
    late_ms = (30, 5, 40, 0, 60)
    placed = [time.place(number * 3000, START_NS + number * 33_333_333 + ms * MS) for number, ms in enumerate(late_ms)]
    for number, (captured_ns, _) in enumerate(placed[1:], 1):
        assert abs(captured_ns - START_NS - number * 33_333_333 - (5 if number < 3 else 0) * MS) < 10
    assert all(b[1] > a[1] for a, b in pairwise(placed))


def test_reports_bring_sound_and_pictures_together() -> None:
    clock = PublisherClock()
    sound, picture = TrackTime(48_000, clock, SOUND_SLEW), TrackTime(90_000, clock, PICTURE_SLEW)
    apart: list[int] = []
    for number in range(400):  # of 20 ms
        taken_ns = START_NS + number * 20 * MS
        if number == 10:
            picture.report(number * 1800, taken_ns, taken_ns + 1 * MS)
        if number == 60:
            sound.report(number * 960, taken_ns, taken_ns + 1 * MS)
        captured_sound, shown_sound = sound.place(number * 960, taken_ns + 15 * MS)
        captured_picture, shown_picture = picture.place(number * 1800, taken_ns + 70 * MS)  # an encoder's delay
        apart.append(shown_picture - shown_sound)
        if number > 60:
            assert abs(captured_sound - taken_ns) <= 1
        if number > 10:
            assert abs(captured_picture - taken_ns) <= 1
    assert apart[0] == 55 * MS
    assert abs(apart[30]) <= 16 * MS, "pictures hurry"
    assert abs(apart[-1]) <= 1, "and sound follows slowly"
    steps = [b - a for a, b in pairwise(apart)]
    assert max(map(abs, steps)) <= 11 * MS


def test_a_clock_that_is_an_hour_ahead_is_not_believed_but_keeps_the_tracks_together() -> None:
    clock = PublisherClock()
    sound, picture = TrackTime(48_000, clock, SOUND_SLEW), TrackTime(90_000, clock, PICTURE_SLEW)
    sound.report(0, START_NS + WRONG_NS, START_NS + 4 * MS)
    picture.report(0, START_NS + WRONG_NS, START_NS + 4 * MS)
    captured_sound, shown_sound = sound.place(960, START_NS + 40 * MS)
    captured_picture, shown_picture = picture.place(1800, START_NS + 90 * MS)
    assert shown_sound == shown_picture == captured_sound == captured_picture == START_NS + 24 * MS


def test_a_report_that_lies_about_the_future_makes_no_picture_of_the_future() -> None:
    time = TrackTime(90_000, PublisherClock(), PICTURE_SLEW)
    for number in range(50):
        arrived_ns = START_NS + number * 33 * MS
        time.report(number * 3000, START_NS + (number % 7) * 10**18, arrived_ns)
        captured_ns, _ = time.place(number * 3000, arrived_ns)
        assert captured_ns <= arrived_ns


def test_a_count_or_a_clock_that_jumps_makes_no_picture_of_another_day() -> None:
    for jump, clock_ns in ((1 << 30, 0), (-1 << 30, 0), (0, -WRONG_NS), (0, WRONG_NS)):
        time = TrackTime(90_000, PublisherClock(), PICTURE_SLEW)
        for number in range(60):
            arrived_ns = START_NS + number * 33_333_333
            after = number >= 30
            timestamp = (number * 3000 + after * jump) % (1 << 32)
            if number in (5, 40):
                time.report(timestamp, arrived_ns - 5 * MS + after * clock_ns, arrived_ns)
            captured_ns, shown_ns = time.place(timestamp, arrived_ns)
            assert abs(captured_ns - arrived_ns) <= 100 * MS
            assert abs(shown_ns - arrived_ns) <= 100 * MS
