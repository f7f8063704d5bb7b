"""Outputs come to their safe states whatever dies: the service, the hand, both, the bus; and nothing stays on."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.io_signal import SignalService
from tests.support.nats import NatsServer
from tests.support.pace import slowness

pytestmark = [pytest.mark.alone, pytest.mark.chaos, pytest.mark.timeout(90)]

KEEP_SECONDS = 0.5
# Nothing is on for longer than that after its keep time, whatever is killed.
LATE_SECONDS = 1.0
REPLACED_SECONDS = 2.0
BUS_LOST_SECONDS = 1.0
STEADY = "steady"
PULSED = "pulsed"
INVERTED = "inverted"


class Rig:
    """One service with three outputs: one that stays on, one with a keep time, one whose safe state is on."""

    def __init__(self, service: SignalService) -> None:
        self.service = service
        self.steady = service.output(STEADY, bus_lost=f"{BUS_LOST_SECONDS:g}s")
        self.pulsed = service.output(PULSED, safe="hold")
        self.inverted = service.output(INVERTED, safe="on", bus_lost=f"{BUS_LOST_SECONDS:g}s")

    @property
    def states(self) -> str:
        return "".join(path.read_text() or "?" for path in (self.steady, self.pulsed, self.inverted))

    def set(self) -> float:
        """All away from their safe states; when the pulse has begun."""
        self.service.call("on", signal=STEADY)
        self.service.call("off", signal=INVERTED)
        self.service.call("on", signal=PULSED, keep_ms=round(KEEP_SECONDS * 1_000))
        assert self.states == "110"
        return time.monotonic()

    def safe(self, seconds: float, what: str) -> float:
        """Wait until all are safe; how long that took."""
        began = time.monotonic()
        self.service.wait_for(lambda: self.states == "001", seconds + 10, what)
        took = time.monotonic() - began
        print(f"{what}: safe after {took * 1_000:.0f} ms")
        assert took < seconds * slowness(), what
        return took

    def works(self) -> None:
        """Commands are done again, with nobody telling the service anything."""

        def done() -> Any:
            try:
                return self.service.call("on", signal=STEADY)
            except Exception:
                return None

        self.service.wait_for(done, 15, "commands are done again")
        self.service.call("off", signal=STEADY)


@pytest.fixture(scope="module")
def rig() -> Iterator[Rig]:
    with NatsServer() as nats, SignalService(nats) as service:
        yield Rig(service)


@pytest.fixture(autouse=True)
def running(rig: Rig) -> Iterator[None]:
    """Also where a test that is tried again has left the service dead, or off-mode active."""
    yield
    assert rig.service.process is not None
    if rig.service.process.poll() is not None:
        rig.service.start()
    rig.service.call("off-mode", active=False)


def one_hand(rig: Rig, before: int = 0) -> int:
    found = rig.service.wait_for(
        lambda: (hands := rig.service.hands()) and len(hands) == 1 and hands[0] != before and hands, 10, "one hand"
    )
    return int(found[0])


def causes(rig: Rig) -> list[str]:
    """Of all changes of an output, in order."""
    return [one["cause"] for one in rig.service.changes(STEADY)]


def kill_service(rig: Rig) -> Callable[[], None]:
    rig.service.kill()
    return rig.service.start


def kill_hand(rig: Rig) -> Callable[[], None]:
    os.kill(one_hand(rig), signal.SIGKILL)
    return lambda: None


def stop_service(rig: Rig) -> Callable[[], None]:
    rig.service.stop()
    return rig.service.start


@pytest.mark.parametrize(
    ("drill", "seconds"),
    [(kill_service, 0.5), (kill_hand, REPLACED_SECONDS), (stop_service, 1.0)],
    ids=["kill -9 service", "kill -9 hand", "SIGTERM"],
)
def test_all_outputs_are_safe_when_something_ends(
    rig: Rig, drill: Callable[[Rig], Callable[[], None]], seconds: float
) -> None:
    hand = one_hand(rig)
    rig.set()
    go_on = drill(rig)
    rig.safe(seconds, drill.__name__)
    if drill is stop_service:
        assert not Path(f"/proc/{hand}").exists(), "it has ended before the service did"
    go_on()
    assert one_hand(rig, hand)
    rig.works()
    if drill is kill_service:  # told by the next one: nobody was there to hear it
        rig.service.wait_for(lambda: "end" in causes(rig), what="what the hand did at its end is told")


def test_the_hand_ignores_what_ends_others(rig: Rig) -> None:
    hand = one_hand(rig)
    rig.service.call("on", signal=STEADY)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        os.kill(hand, number)
    rig.service.call("off", signal=STEADY)
    assert one_hand(rig) == hand


def test_a_pulse_ends_when_service_and_hand_are_killed(rig: Rig) -> None:
    began = rig.set()
    rig.service.kill()
    for pid in rig.service.hands():
        os.kill(pid, signal.SIGKILL)
    # The service may have been seen dead by the hand before it died too: then all is safe already.
    rig.service.start()
    rig.service.wait_for(lambda: rig.states == "001", 10, "safe")
    late = time.monotonic() - began - KEEP_SECONDS
    print(f"both killed: {late * 1_000:.0f} ms after the keep time")
    assert late < LATE_SECONDS * slowness()
    rig.works()


def test_a_hand_that_stands_still_is_replaced(rig: Rig) -> None:
    hand = one_hand(rig)
    rig.set()
    os.kill(hand, signal.SIGSTOP)
    rig.safe(REPLACED_SECONDS, "hand stopped")
    assert one_hand(rig, hand)
    rig.works()


@pytest.mark.long
def test_a_hand_that_stands_still_when_its_service_dies_is_ended_by_the_next(rig: Rig) -> None:
    hand = one_hand(rig)
    rig.set()
    os.kill(hand, signal.SIGSTOP)
    rig.service.kill()
    rig.service.start()
    rig.safe(REPLACED_SECONDS, "hand stopped, service killed")  # 1 s of it for a hand that might end by itself
    assert one_hand(rig, hand)
    rig.works()


def test_a_service_that_stands_still_is_no_reason_to_stay_on(rig: Rig) -> None:
    rig.set()
    assert rig.service.process is not None
    os.kill(rig.service.process.pid, signal.SIGSTOP)
    try:
        rig.safe(BUS_LOST_SECONDS + 0.5, "service stopped")
    finally:
        os.kill(rig.service.process.pid, signal.SIGCONT)
    rig.works()


def test_outputs_are_safe_while_the_bus_is_away(rig: Rig) -> None:
    rig.set()
    rig.service.nats.kill()
    try:
        rig.safe(BUS_LOST_SECONDS + 0.7, "bus killed")  # 0.4 s until it is told, 0.2 s until that is looked at
    finally:
        rig.service.nats.start()
    rig.works()
    assert rig.states == "001", "what was lost does not come back by itself"
    assert "bus-lost" in causes(rig), "it is told once the bus is back"


def test_off_mode_outlives_the_service(rig: Rig) -> None:
    rig.set()
    reply = rig.service.call("off-mode", active=True, by="me", why="repair")
    assert (reply["active"], set(reply["signals"])) == (True, {STEADY, PULSED, INVERTED})
    assert rig.states == "001"
    rig.service.kill()
    rig.service.start()

    def refused() -> int:
        try:
            rig.service.call("on", signal=STEADY)
        except Exception as failed:
            return int(getattr(failed, "code", 0))
        return 200

    rig.service.wait_for(lambda: refused() == 409, 10, "off-mode is still active")
    assert rig.states == "001"
    rig.service.call("off-mode", active=False)
    rig.works()
