"""What pages echo of the pictures they show: taken when it can be true, counted when not."""

import time

import msgspec
import pytest
from prometheus_client import CollectorRegistry

from services.webrtc_gateway.datachannels.counters import DataCounters
from services.webrtc_gateway.datachannels.gate import Rights
from services.webrtc_gateway.datachannels.latency import LatencyEchoes
from services.webrtc_gateway.datachannels.rate import Rate
from services.webrtc_gateway.datachannels.section import DataSection
from services.webrtc_gateway.datachannels.session import DataSession
from services.webrtc_gateway.egress.timings import Timings

pytestmark = pytest.mark.unit
CODE_MODULO = 2**40


class Desk:
    """One session whose page echoes."""

    def __init__(self) -> None:
        self.timings, self.counters, self.registry = Timings(), DataCounters(), CollectorRegistry()
        self.timings.register(self.registry)
        self.echoes = LatencyEchoes(self.timings, self.counters)
        self.session = DataSession(
            "s", "cam0", DataSection("0"), lambda record: None, Rights(), [self.echoes], self.counters, Rate(1, 1)
        )
        self.echoes.opened(self.session, "latency")

    def tell(self, **echo: object) -> None:
        self.echoes.message(self.session, "latency", msgspec.json.encode(echo))

    def sample(self, name: str, **labels: str) -> float | None:
        return self.registry.get_sample_value(name, labels)


@pytest.fixture
async def desk() -> Desk:
    return Desk()


async def test_an_echo_becomes_a_latency(desk: Desk) -> None:
    now_ms = time.time() * 1e3
    desk.tell(captured_ms=now_ms - 30, presented_ms=now_ms)
    desk.tell(code=int(now_ms - 40) % CODE_MODULO, presented_ms=int(now_ms), stream="cam0")
    desk.tell(captured_ms=now_ms + 3, presented_ms=now_ms)  # the page's idea of our clock is a little off
    latency = desk.session.latency
    assert latency.median_ms == pytest.approx(30, abs=0.1)
    assert latency.last_ms == 0
    assert desk.sample("framemesh_webrtc_glass_to_glass_seconds_count", stream="cam0") == 3
    assert desk.sample("framemesh_webrtc_glass_to_glass_seconds_sum", stream="cam0") == pytest.approx(0.07, abs=0.003)
    assert desk.counters.dropped == {}
    desk.tell(captured_ms=now_ms - 10, presented_ms=now_ms, source="capture")
    assert (latency.source, latency.median_ms) == ("capture", pytest.approx(10, abs=0.1))


async def test_the_first_picture_counts_once(desk: Desk) -> None:
    desk.tell(join_ms=81.5)
    desk.tell(join_ms=9.0)
    assert desk.session.latency.picture_ms == 81.5
    assert desk.sample("framemesh_webrtc_join_seconds_count", step="presented") == 1


@pytest.mark.parametrize(
    ("message", "why"),
    [
        (b"", "echo_malformed"),
        (b"[1]", "echo_malformed"),
        (b"\xff\xfe", "echo_malformed"),
        ("\ud800", "echo_malformed"),
        (b'{"presented_ms":"now"}', "echo_malformed"),
        (b'{"source":"guess"}', "echo_malformed"),
        (b'{"presented_ms":1' + b"0" * 600 + b"}", "echo_malformed"),
        (b'{"presented_ms":1e308,"captured_ms":1}', "echo_implausible"),
        (b'{"join_ms":-1}', "echo_implausible"),
        (b'{"join_ms":1e9}', "echo_implausible"),
        (b'{"stream":"cam1","join_ms":5}', "echo_implausible"),
    ],
)
async def test_what_is_not_an_echo(desk: Desk, message: bytes | str, why: str) -> None:
    desk.echoes.message(desk.session, "latency", message)
    assert desk.counters.dropped == {why: 1}
    assert desk.session.latency.median_ms is None


async def test_times_that_cannot_be(desk: Desk) -> None:
    now_ms = time.time() * 1e3
    for echo in (
        {"presented_ms": now_ms, "captured_ms": now_ms - 120_000},
        {"presented_ms": now_ms, "captured_ms": now_ms + 200},
        {"presented_ms": now_ms - 60_000, "captured_ms": now_ms - 60_010},
        {"presented_ms": now_ms, "code": CODE_MODULO},
        {"presented_ms": now_ms, "code": -1},
        {"presented_ms": now_ms},
    ):
        desk.tell(**echo)
    assert desk.counters.dropped == {"echo_implausible": 6}
    assert desk.sample("framemesh_webrtc_glass_to_glass_seconds_count", stream="cam0") is None


async def test_streams_that_come_and_go_leave_a_bounded_number_of_series(desk: Desk) -> None:
    for number in range(300):
        desk.timings.glass_to_glass(f"cam{number}", 0.02)
        desk.timings.glass_to_glass("always", 0.02)
    name = "framemesh_webrtc_glass_to_glass_seconds_count"
    assert desk.sample(name, stream="always") == 300
    assert desk.sample(name, stream="cam299") == 1
    assert desk.sample(name, stream="cam0") is None


async def test_a_flood_of_echoes(desk: Desk) -> None:
    for _ in range(100):
        desk.tell(join_ms=50)
    assert desk.counters.dropped["echo_rate"] >= 85
