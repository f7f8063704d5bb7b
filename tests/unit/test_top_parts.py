"""What `framemesh top` makes of figures and rows: quantiles, columns that fit, and words of strangers."""

import pytest

from services.cli.top_screen.cells import EVENTS, STREAMS, age, fitting, rate, size
from services.cli.top_screen.figures import _read, parse, quantile_ms
from services.cli.top_screen.scene import EventRow, Scene, ServiceRow, StreamRow
from services.cli.top_screen.text import describe

pytestmark = pytest.mark.unit

METRICS = """# HELP framemesh_loop_lag_seconds How late.
framemesh_loop_lag_seconds_bucket{le="0.001"} 90.0
framemesh_loop_lag_seconds_bucket{le="0.01"} 100.0
framemesh_loop_lag_seconds_bucket{le="+Inf"} 100.0
framemesh_hw_encode_latency_seconds_bucket{stream="cam0",rendition="main",le="0.01"} 4.0
framemesh_hw_encode_latency_seconds_bucket{stream="cam0",rendition="low",le="0.01"} 6.0
framemesh_hw_encode_latency_seconds_bucket{le="soon",stream="cam1"} 1.0
framemesh_other_seconds_bucket{le="0.01"} 5.0
"""


def test_histograms_are_found_and_renditions_of_a_stream_are_one() -> None:
    found = parse(METRICS, "i1")
    assert found["lag", "i1"] == {0.001: 90.0, 0.01: 100.0, float("inf"): 100.0}
    assert found["encoded", "cam0"] == {0.01: 10.0}
    assert set(found) <= {("lag", "i1"), ("encoded", "cam0"), ("encoded", "cam1")}


@pytest.mark.parametrize(
    ("counts", "share", "expected"),
    [
        ({0.001: 90.0, 0.01: 100.0, float("inf"): 100.0}, 0.45, 0.5),
        ({0.001: 90.0, 0.01: 100.0, float("inf"): 100.0}, 0.95, 5.5),
        ({0.001: 0.0, float("inf"): 4.0}, 0.5, 1.0),  # above the last bound: that bound
        ({0.001: 0.0, float("inf"): 0.0}, 0.5, None),
        ({}, 0.5, None),
        (None, 0.5, None),
    ],
)
def test_a_quantile_is_as_prometheus_has_it(
    counts: dict[float, float] | None, share: float, expected: float | None
) -> None:
    assert quantile_ms(counts, share) == (pytest.approx(expected) if expected is not None else None)


@pytest.mark.parametrize(
    "url", ["file:///etc/passwd", "https://h/metrics", "http://", "http://[::1", "gopher://h:1/", ""]
)
def test_an_address_that_is_no_metrics_is_not_read(url: str) -> None:
    assert _read(url) is None


def test_numbers_are_short() -> None:
    assert [rate(0), rate(751_000), rate(4_000_000)] == ["-", "751k", "4.0M"]
    assert [size(93_000_000), size(2_500_000_000)] == ["93M", "2.5G"]
    assert [age(59), age(120), age(7_300), age(200_000)] == ["59s", "2m", "2h", "2d"]


def test_the_less_urgent_columns_give_way_and_name_and_state_never() -> None:
    rows = [StreamRow(stream="c" * 18, state="reconnecting", source="x" * 80, node="edge", codec="h264")]
    titles = {width: [one.title for one in fitting(STREAMS, rows, width)] for width in (20, 80, 300)}
    assert titles[20] == ["STREAM", "STATE"]
    assert "DROP" in titles[80]
    assert "SOURCE" not in titles[80]
    assert len(titles[300]) == len(STREAMS)


def test_words_of_strangers_are_no_commands_to_the_terminal() -> None:
    event = EventRow(at_ns=1, service="app", resource="x", event="ng", error="\x1b[2J\x07gone")
    assert EVENTS[-1].cell(event) == "?[2J?gone"
    stream = StreamRow(stream="cam0", state="failed", error="line\nbreak \x1b]0;title\x07", source="s")
    service = ServiceRow(
        service="capture", node="n", number=2, version="1", cpu_percent=1, rss_bytes=1, restarts=0, up_s=1
    )
    text = describe(Scene(at_ns=1, server="nats://h:1", streams=(stream,), services=(service,), events=(event,)), 200)
    assert "\x1b" not in text
    assert "\x07" not in text
    assert "capture#2" in text


def test_a_mesh_without_its_bus_and_one_without_streams_say_so() -> None:
    away = describe(Scene(at_ns=1, server="nats://h:1", connected=False, away_s=12.3), 100)
    assert "THE BUS IS AWAY for 12 s" in away
    assert "no streams yet" in describe(Scene(at_ns=1, server="nats://h:1"), 100)
