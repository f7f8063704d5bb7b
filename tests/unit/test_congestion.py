"""When a line looks thin, when a viewer moves, what is sent again, and whose key frames are asked for."""

from collections import Counter
from types import SimpleNamespace

import pytest
from aiortc.rtp import RtcpRtpfbPacket

from services.webrtc_gateway.congestion.hearing import Hearing
from services.webrtc_gateway.congestion.key_requests import KeyRequests
from services.webrtc_gateway.congestion.ladder import Ladder, Pace
from services.webrtc_gateway.congestion.line import Line
from services.webrtc_gateway.congestion.repairs import SHARE, SHARE_THIN, Repairs
from services.webrtc_gateway.egress.counters import EgressCounters
from services.webrtc_gateway.egress.fanout import RenditionFeed
from services.webrtc_gateway.egress.rtcp import ReceptionReport
from shared.rtp.clock import ntp_timestamp

pytestmark = pytest.mark.unit
PACE = Pace(settle=3, calm_before_up=10, trial=6, max_calm_before_up=35)
SECOND_NS = 1_000_000_000


def report(highest: int, lost: float = 0.0, *, last_report: int = 0, delay: int = 0) -> ReceptionReport:
    return ReceptionReport(lost, 0, highest, 0, last_report, delay)


def test_a_round_trip_is_what_is_left_of_the_time_since_our_report() -> None:
    sent_ns = 1_700_000_000 * SECOND_NS
    last_report = ntp_timestamp(sent_ns) >> 16 & 0xFFFFFFFF
    heard = report(1, last_report=last_report, delay=65_536 // 2)
    assert heard.rtt_s(sent_ns + SECOND_NS * 3 // 4) == pytest.approx(0.25, abs=1e-4)
    assert heard.rtt_s(sent_ns + SECOND_NS // 2 - 20_000) == 0.0, "a peer that rounds up"
    assert heard.rtt_s(sent_ns + 3600 * SECOND_NS) is None, "a clock that was set"
    assert report(1).rtt_s(sent_ns) is None, "it has heard no report of ours yet"


def test_loss_is_that_of_a_second_however_often_it_is_reported() -> None:
    line = Line()
    line.reported(report(100), None)
    for highest in range(101, 181):  # one packet a report, as with a NACK for each
        line.reported(report(highest, lost=1.0 if highest % 8 == 0 else 0.0), None)
    line.tick(0, 1.0)
    assert line.fraction_lost == pytest.approx(1 / 8)
    assert line.sign == "loss"
    line.reported(report(280), None)
    line.tick(0, 2.0)
    assert (line.fraction_lost, line.sign, line.calm, line.windows) == (0.0, "", True, 2)


def test_a_queue_is_seen_against_the_lines_own_delay() -> None:
    line, highest = Line(), 0
    for second, rtt_s in enumerate([0.3, 0.3, 0.55, 0.9]):
        highest += 100
        line.reported(report(highest), rtt_s)
        line.reported(report(highest + 50), rtt_s)
        line.tick(0, float(second))
    assert line.queueing_s == pytest.approx(0.6, abs=0.05)
    assert line.sign == "delay"
    assert not line.calm
    line.reported(report(highest + 200), 0.8)
    line.tick(0, 9.0)
    assert (line.sign, line.calm) == ("", False), "the queue is long and grows shorter: neither down nor up"


@pytest.mark.parametrize(
    ("estimates", "sign"),
    [((900_000, 850_000, 400_000), "delay"), ((400_000, 390_000, 400_000), ""), ((), "")],
)
def test_an_estimate_that_falls_makes_less_delay_a_sign_and_a_low_one_does_not(
    estimates: tuple[int, ...], sign: str
) -> None:
    """By its value nothing is told: without a limit it was a tenth of what came."""
    line = Line()
    for second, rtt_s in enumerate([0.05, 0.05, 0.3]):
        line.reported(report(100 * (second + 1)), rtt_s)
        for estimate_bps in estimates[second : second + 1]:
            line.estimated(estimate_bps, float(second))
        line.tick(0, float(second))
    line.reported(report(500), 0.32)
    line.tick(2_000_000, 4.0)
    assert line.queueing_s == pytest.approx(0.27, abs=0.03)
    assert line.sign == sign


def test_a_fallen_estimate_without_delay_is_no_sign() -> None:
    line = Line()
    for second, estimate_bps in enumerate([900_000, 100_000]):
        line.reported(report(100 * (second + 1)), 0.05)
        line.estimated(estimate_bps, float(second))
        line.tick(0, float(second))
    assert line.sign == ""
    assert line.calm


def test_a_probe_that_fails_is_tried_again_later_and_a_step_that_fails_later_still() -> None:
    ladder = Ladder(1, PACE)
    walk(ladder, range(4), thin=True)
    waits, began = [], 4
    for _ in range(5):
        now = next(s for s in range(began, began + 60) if ladder.next_step("", True, float(s), probes=True) == 0)
        waits.append(now - began)
        ladder.probe_failed()
        began = now + 1
    assert waits == [4, 6, 9, 14, 20]
    ladder.moved(0, float(began))
    ladder.next_step("delay", False, began + 1.0, probes=True)
    ladder.moved(1, began + 1.0)
    calm = range(began + 2, began + 60)
    assert next(s for s in calm if ladder.next_step("", True, float(s), probes=True) == 0) - calm[0] == 8


@pytest.mark.parametrize("highest", [0, 5, 1 << 31])
def test_reports_that_make_no_sense_are_no_loss(highest: int) -> None:
    line = Line()
    line.reported(report(1000), None)
    line.reported(report(highest, lost=1.0), None)
    line.tick(0, 10.0)
    assert line.fraction_lost == 0.0


def walk(ladder: Ladder, seconds: range, thin: bool, most: int = 9) -> list[tuple[int, int]]:
    """(second, new step) of each step taken on a line that is `thin`, or calm; of `most` of them."""
    taken = []
    for second in seconds:
        step = ladder.next_step("loss" if thin else "", not thin, float(second))
        if step != ladder.step:
            ladder.moved(step, float(second))
            taken.append((second, step))
        if len(taken) == most:
            break
    return taken


def test_down_after_two_signs_and_no_faster_than_the_queue_empties() -> None:
    ladder = Ladder(2, PACE)
    assert walk(ladder, range(12), thin=True) == [(1, 1), (4, 2)]
    assert walk(Ladder(2, PACE), range(1), thin=True) == [], "one bad second is none"
    slow = Ladder(2, PACE)
    slow.moved(1, 0.0, rtt_s=2.0)
    assert walk(slow, range(12), thin=True) == [(7, 2)], "a long round trip tells late"


def test_up_after_a_calm_and_later_each_time_that_fails() -> None:
    ladder = Ladder(1, PACE)
    assert walk(ladder, range(4), thin=True) == [(1, 1)]
    waits, now = [], 10
    for _ in range(4):
        ((up, step),) = walk(ladder, range(now, now + 40), thin=False, most=1)
        assert step == 0
        waits.append(up - now)
        now = up + 1
        assert walk(ladder, range(now, now + 1), thin=True) == [(now, 1)], "a trial fails at its first sign"
        now += 1
    assert waits == [10, 20, 35, 35]


def test_what_cannot_be_taken_is_tried_again_later() -> None:
    ladder = Ladder(1, PACE)
    assert ladder.next_step("loss", False, 0.0) == 0
    assert ladder.next_step("loss", False, 1.0) == 1
    ladder.not_now(1.0)
    assert [ladder.next_step("loss", False, float(second)) for second in range(2, 6)] == [0, 0, 1, 1]


def test_a_repair_is_on_its_way_once_and_has_its_share() -> None:
    drops: Counter[str] = Counter()
    repairs = Repairs(drops)
    repairs.tick(1000, thin=False)
    assert repairs.choose([1, 2, 3], 0.1, 0.0) == [1, 2, 3]
    assert repairs.choose([2, 3, 4], 0.1, 0.05) == [4], "two and three are on their way"
    assert repairs.choose([2, 3], 0.1, 0.2) == [2, 3], "and have been lost again"
    assert len(repairs.choose(range(100, 2000), 0.1, 0.3)) == 1000 * SHARE - 6
    repairs.tick(2000, thin=True)
    assert len(repairs.choose(range(3000, 5000), 0.1, 1.3)) == 1000 * SHARE_THIN
    assert drops["nack_on_its_way"] == 2
    assert drops["nack_share"] == (1900 - 494) + (2000 - 100)


def test_who_asks_for_key_frames_all_the_time_is_heard_less_and_forgiven() -> None:
    requests = KeyRequests()
    heard = [step / 8 for step in range(80) if requests.passes(step / 8)]
    assert heard == [0.0, 0.375, 1.0, 2.25, 4.25, 6.25, 8.25]
    assert requests.passes(25.0)
    assert requests.passes(25.3), "after a quiet time it begins anew"


def test_who_reports_without_end_is_not_read_to_the_end() -> None:
    counters = EgressCounters()
    hearing = Hearing((), SimpleNamespace(bytes=0), counters)  # type: ignore[arg-type]
    feed = RenditionFeed("cam0", counters)
    asked = bytes(RtcpRtpfbPacket(fmt=1, ssrc=1, media_ssrc=2, lost=list(range(0, 60_000, 20))))
    for _ in range(20):
        hearing.heed(asked, feed)
    read = 65_536 // len(asked)
    assert counters.drops == {"rtcp_flood": 20 - read}
    hearing.tick(1.0)
    hearing.heed(asked, feed)
    assert counters.drops == {"rtcp_flood": 20 - read}
