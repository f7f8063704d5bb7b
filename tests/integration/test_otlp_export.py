"""A collector that hangs costs spans, and no time."""

import time
from collections.abc import Iterator

import pytest

from schemas.errors import InvalidValue
from shared import cause
from shared.otlp import SpanExport
from tests.support.collector import Collector
from tests.support.pace import slowness

pytestmark = [pytest.mark.integration, pytest.mark.timeout(60)]

_SPANS, _MOST_WAITING, _AT_ONCE = 5_000, 2_048, 256
_MOST_US = 200.0  # a span costs 20; an answer that was waited for would be thousands


@pytest.fixture
def collector() -> Iterator[Collector]:
    with Collector() as running:
        yield running


@pytest.mark.alone
def test_a_collector_that_hangs_costs_spans_and_no_time(collector: Collector) -> None:
    collector.hangs.set()
    export = SpanExport(collector.url, "capture", "n1", "1")
    try:
        began = time.perf_counter()
        for _ in range(_SPANS):
            with cause.doing(cause.begin(), "made up"):
                pass
        spent_us = (time.perf_counter() - began) / _SPANS * 1e6
        assert sum(export.dropped.values()) >= _SPANS - _MOST_WAITING - _AT_ONCE
        assert spent_us < _MOST_US * slowness()
    finally:
        export.close()


def test_an_endpoint_that_is_none_is_named() -> None:
    with pytest.raises(InvalidValue, match="OTLP_ENDPOINT"):
        SpanExport("collector:4318", "capture", "n1", "1")
