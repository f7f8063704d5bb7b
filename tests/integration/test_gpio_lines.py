"""GPIO lines through libgpiod and the whole service; of the chip the kernel is a fake: no machine here has one."""

import itertools
import json
import os
import signal
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.gpio import ACTIVE_LOW, BOTH_EDGES, INPUT, OUTPUT, PULL_UP, REALTIME, FakeChip, needs_gcc
from tests.support.io_signal import SignalService
from tests.support.mesh import CallFailed
from tests.support.nats import NatsServer

pytestmark = [pytest.mark.integration, needs_gcc]

_MOST_EVENTS = 1_000
_tries = itertools.count(1)  # what is kept of an earlier try is not this one's


@pytest.fixture(scope="module")
def chip(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FakeChip]:
    fake = FakeChip(tmp_path_factory.mktemp("gpio"))
    yield fake
    fake.close()


@pytest.fixture(scope="module")
def service(chip: FakeChip) -> Iterator[SignalService]:
    with NatsServer() as nats, SignalService(nats, **chip.environment) as running:
        yield running


def _edges(service: SignalService, name: str) -> list[dict[str, Any]]:
    _, kept = service.ask(lambda bus: bus.kept_events(0, _MOST_EVENTS))
    events = [json.loads(message.data) for message in kept]
    return [one["detail"] for one in events if (one["id"], one["event"]) == (name, "edge")]


def test_outputs_on_gpio_lines(service: SignalService, chip: FakeChip) -> None:
    line = chip.line(3)
    reply = service.call("start", signal="do1", mode="gpio", address="gpio://gpiochip0/3", polarity="active-low")
    assert reply["code"] == 200, reply
    assert (line.flags, line.pin, line.consumer) == (OUTPUT | ACTIVE_LOW, 1, b"framemesh")

    edge_ns = service.call("on", signal="do1")["edge_ns"]
    assert line.pin == 0
    assert line.changed_ns <= edge_ns < line.changed_ns + 1_000_000_000
    service.call("off", signal="do1")
    assert line.pin == 1
    before = line.changes
    service.call("pulse", signal="do1", keep="50ms")
    service.wait_for(lambda: line.changes == before + 2, what="the pulse's end")
    assert line.pin == 1

    # Its state is held: it is what it was before anybody took the line.
    held = chip.line(5)
    held.pin = 1
    service.call("start", signal="do2", mode="gpio", address="gpio://gpiochip0/5", safe="hold")
    service.call("on", signal="do2")
    assert (held.flags, held.pin, held.changes) == (OUTPUT, 1, 0)

    for address, told in (
        ("gpio://gpiochip0/33", "no such line"),
        ("gpio://gpiochip7/1", "there is no /dev/gpiochip7"),
    ):
        with pytest.raises(CallFailed) as refused:
            service.call("start", signal="do9", mode="gpio", address=address, wait_s=2)
        assert told in refused.value.message
    service.call("stop", signal="do9")


def test_a_chip_that_goes_and_a_hand_that_is_killed(service: SignalService, chip: FakeChip) -> None:
    line = chip.line(4)
    service.call("start", signal="do4", mode="gpio", address="gpio://gpiochip0/4")
    service.call("on", signal="do4")
    chip.plug(there=False)
    with pytest.raises(CallFailed, match="no /dev/gpiochip0") as refused:
        service.call("off", signal="do4")
    assert refused.value.code == 503
    chip.plug(there=True)
    service.wait_for(lambda: line.pin == 0, what="the off that was wanted")

    service.call("on", signal="do4")
    (hand,) = service.hands()
    os.kill(hand, signal.SIGKILL)
    service.wait_for(lambda: line.pin == 0, 5, "the safe state that the next hand begins with")
    service.wait_for(lambda: service.actual("do4")["state"] == "off", what="the next hand")
    service.call("on", signal="do4")
    assert line.pin == 1
    service.call("stop", signal="do4")
    assert line.pin == 0


def test_edges_of_gpio_lines(service: SignalService, chip: FakeChip) -> None:
    line, name = chip.line(2), f"di{next(_tries)}"
    reply = service.call("start-input", input=name, mode="gpio", address="gpio://gpiochip0/2", pull="up")
    assert reply["actual"]["state"] == "active", reply
    assert line.flags == INPUT | BOTH_EDGES | PULL_UP | REALTIME

    at_ns = []
    for number in range(20):
        at_ns.append(chip.edge(2, number % 2 == 0))
        time.sleep(0.002)
    at_ns.append(chip.edge(2, True, lost=3))
    edges = service.wait_for(lambda: len(found := _edges(service, name)) == len(at_ns) and found, what="all edges")
    assert [one["at_ns"] for one in edges] == at_ns  # the kernel's instants, whatever it took to tell of them
    assert [one["value"] for one in edges] == [number % 2 == 0 for number in range(20)] + [True]
    assert {one["clock"] for one in edges} == {"kernel"}

    def dropped() -> Any:
        entries = service.call("list")["inputs"]
        return next(one["actual"]["dropped"] for one in entries if one["spec"]["input"] == name)

    service.wait_for(lambda: dropped() == {"lost": 3}, what="the edges that the kernel had no room for")
    with pytest.raises(CallFailed, match="in use"):
        service.call("start", signal="do9", mode="gpio", address="gpio://gpiochip0/2", wait_s=2)
    service.call("stop", signal="do9")
    service.call("stop-input", input=name)
