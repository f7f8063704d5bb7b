"""Prometheus metrics and health over HTTP, on a thread of their own: `/metrics`, `/healthz`, `/readyz`.

Names are `framemesh_<service>_<what>_<unit>`, in base units; labels are ids of configured things, so they are
bounded. Hot paths count in plain integers and are read out when Prometheus asks.
"""

import sys
import threading
import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import accumulate
from typing import Literal

from prometheus_client import REGISTRY, disable_created_metrics, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector

from schemas.errors import Unavailable

# A series for each histogram that nobody asks for.
disable_created_metrics()  # type: ignore[no-untyped-call]

# The event loop ticks once a second; one that has not for this long is stuck and should be restarted.
_LOOP_STUCK_AFTER_SECONDS = 10.0

# Ages of pictures on their way, from half a millisecond to what nobody calls live. The same for each stage, to compare
# them.
STAGE_BOUNDS_SECONDS = (0.0005, 0.001, 0.002, 0.004, 0.008, 0.016, 0.033, 0.066, 0.13, 0.25, 0.5, 1.0, 2.0, 5.0)

Sample = tuple[dict[str, str], float]
Family = CounterMetricFamily | GaugeMetricFamily


def one(read: Callable[[], float]) -> Callable[[], list[Sample]]:
    """A figure without labels."""
    return lambda: [({}, read())]


def by_reason(counts: Counter[str]) -> Callable[[], list[Sample]]:
    """A count for each reason; the counter may grow meanwhile."""
    return lambda: [({"reason": reason}, count) for reason, count in tuple(counts.items())]


class Distribution:
    """How often a value was how large, counted in plain integers."""

    def __init__(self, bounds: Sequence[float]) -> None:
        """`bounds`: upper ends of the buckets, ascending; one more takes what is larger."""
        self._bounds = tuple(bounds)
        self._counts = [0] * (len(self._bounds) + 1)
        self._sum = 0.0

    def observe(self, value: float) -> None:
        self._counts[bisect_left(self._bounds, value)] += 1
        # An age is below zero where the clock was set back, or another host's is ahead. A sum that falls would be taken
        # for that of a service that has begun anew.
        if value > 0:
            self._sum += value

    @property
    def count(self) -> int:
        return sum(self._counts)

    def family(self, name: str, text: str) -> HistogramMetricFamily:
        """What Prometheus is told."""
        bounds = (*map(str, self._bounds), "+Inf")
        return HistogramMetricFamily(
            name, text, buckets=list(zip(bounds, accumulate(self._counts), strict=True)), sum_value=self._sum
        )

    def add_to(self, family: HistogramMetricFamily, labels: Sequence[str]) -> None:
        """Add it to a family of several, with the values of its labels."""
        bounds = (*map(str, self._bounds), "+Inf")
        family.add_metric(labels, list(zip(bounds, accumulate(self._counts), strict=True)), self._sum)


LabelledDistribution = tuple[dict[str, str], Distribution]


class Figures(Collector):
    """Turns plain integers of hot paths into metrics at the moment they are scraped."""

    def __init__(self) -> None:
        self._families: list[tuple[Literal["counter", "gauge"], str, str, Callable[[], Iterable[Sample]]]] = []
        self._distributions: list[tuple[str, str, Distribution]] = []
        self._labelled: list[tuple[str, str, Callable[[], Iterable[LabelledDistribution]]]] = []
        REGISTRY.register(self)

    def counter(self, name: str, text: str, read: Callable[[], Iterable[Sample]]) -> None:
        self._families.append(("counter", name, text, read))

    def gauge(self, name: str, text: str, read: Callable[[], Iterable[Sample]]) -> None:
        self._families.append(("gauge", name, text, read))

    def histogram(self, name: str, text: str, distribution: Distribution) -> None:
        self._distributions.append((name, text, distribution))

    def histograms(self, name: str, text: str, read: Callable[[], Iterable[LabelledDistribution]]) -> None:
        """One for each of what `read` finds, with its labels; all have the same names of labels."""
        self._labelled.append((name, text, read))

    def collect(self) -> Iterable[Family | HistogramMetricFamily]:
        for name, text, distribution in self._distributions:
            yield distribution.family(name, text)
        for name, text, find in self._labelled:
            found = list(find())
            labels = list(found[0][0]) if found else []
            several = HistogramMetricFamily(name, text, labels=labels)
            for values, distribution in found:
                distribution.add_to(several, [values[label] for label in labels])
            yield several
        for kind, name, text, read in self._families:
            samples = list(read())
            labels = list(samples[0][0]) if samples else []
            family: Family = (CounterMetricFamily if kind == "counter" else GaugeMetricFamily)(
                name, text, labels=labels
            )
            for sample_labels, value in samples:
                family.add_metric([sample_labels[label] for label in labels], value)
            yield family


class Health:
    """What `/healthz` and `/readyz` answer."""

    def __init__(self) -> None:
        self.ready = False
        self.problem = ""
        self.notes: list[Callable[[], str]] = []
        """What is wrong and no reason to start the service afresh, each in one line; empty ones are left out."""
        self._last_tick_seconds = time.monotonic()

    def tick(self) -> None:
        """Called by the event loop once a second."""
        self._last_tick_seconds = time.monotonic()

    @property
    def noted(self) -> list[str]:
        return [text for note in self.notes if (text := note())]

    @property
    def healthy(self) -> bool:
        return not self.problem and time.monotonic() - self._last_tick_seconds < _LOOP_STUCK_AFTER_SECONDS


class MetricsServer:
    """Serves metrics and health until closed."""

    def __init__(self, bind: str, port: int, setting: str, health: Health) -> None:
        """Listen on `bind:port` (0: any free port).

        Raises:
            Unavailable: the port is taken; names `setting`.
        """
        handler = type("Handler", (_Handler,), {"health": health})
        try:
            self._server = _Server((bind, port), handler)
        except OSError as error:
            raise Unavailable(
                f"metrics address {bind}:{port}: {error.strerror}; choose another port with {setting}"
            ) from None
        self._thread = threading.Thread(target=self._server.serve_forever, name="metrics", daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        host, port = self._server.server_address[:2]
        return f"http://{host!s}:{port}/metrics"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    # A service that is killed and restarted gets its port back at once.
    allow_reuse_address = True

    def handle_error(self, request: object, client_address: object) -> None:
        """Who asked may be gone, when its own deadline is over: that is not ours to tell."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]


class _Handler(BaseHTTPRequestHandler):
    health: Health
    timeout = 5  # a scraper that stalls does not hold a thread for ever

    def do_GET(self) -> None:
        if self.path == "/metrics":
            self._answer(200, generate_latest(REGISTRY), "text/plain; version=0.0.4; charset=utf-8")
        elif self.path == "/healthz":
            good = self.health.healthy
            said = self.health.problem or ("ok" if good else "event loop stuck")
            self._answer(200 if good else 503, "; ".join([said, *self.health.noted]).encode())
        elif self.path == "/readyz":
            self._answer(200 if self.health.ready else 503, b"ready" if self.health.ready else b"not ready")
        else:
            self._answer(404, b"there are /metrics, /healthz and /readyz")

    def _answer(self, status: int, body: bytes, kind: str = "text/plain; charset=utf-8") -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Scrapes are not news."""
