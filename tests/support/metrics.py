"""What a service's /metrics says, in Prometheus' text format."""

import urllib.request
from collections.abc import Iterator

from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

_REPLY_SECONDS = 5.0


def text(url: str) -> str:
    with urllib.request.urlopen(url, timeout=_REPLY_SECONDS) as reply:
        body: bytes = reply.read()
    return body.decode()


def families(url: str) -> Iterator[Metric]:
    yield from text_string_to_metric_families(text(url))


def total(url: str, name: str, **labels: str) -> float:
    """Sum of a metric's samples that have these labels."""
    return sum(
        sample.value
        for family in families(url)
        for sample in family.samples
        if sample.name == name and labels.items() <= sample.labels.items()
    )
