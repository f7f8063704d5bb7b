"""Spans to a collector over OTLP/HTTP. Imported only where one is set; a collector that hangs costs spans, never time.

https://opentelemetry.io/docs/specs/otlp/
"""

import logging
import threading
import time
from collections import Counter, deque
from typing import Final

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExportResult
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, SpanKind, TraceFlags
from opentelemetry.trace.status import Status, StatusCode

from schemas.errors import InvalidValue
from shared.metrics import Figures, Health, by_reason, one
from shared.spans import Span, send_to
from shared.urls import redact

_PATH: Final = "/v1/traces"
_MAX_WAITING: Final = 2_048  # spans while the collector is away; a busy mesh gives some commands a second
_AT_ONCE: Final = 256
_GATHER_SECONDS: Final = 0.5  # those that come together go together
_SEND_SECONDS: Final = 5.0
_CLOSE_SECONDS: Final = 1.0
_KINDS: Final = {
    "internal": SpanKind.INTERNAL,
    "server": SpanKind.SERVER,
    "client": SpanKind.CLIENT,
    "consumer": SpanKind.CONSUMER,
}


class SpanExport:
    """Takes every span of this process from its making until `close`; sends on a thread of its own."""

    def __init__(
        self,
        endpoint: str,
        service: str,
        node: str,
        version: str,
        health: Health | None = None,
        figures: Figures | None = None,
    ) -> None:
        """`endpoint`: the collector's, `http://collector:4318`; headers and certificates as OTEL_EXPORTER_OTLP_… say.

        Raises:
            InvalidValue: it is no http or https URL.
        """
        if not endpoint.startswith(("http://", "https://")):
            shown = redact(endpoint)[0]
            raise InvalidValue("FRAMEMESH_OTLP_ENDPOINT", shown, "give the collector's URL, as http://127.0.0.1:4318")
        whole = endpoint if endpoint.endswith(_PATH) else endpoint.rstrip("/") + _PATH
        # What a collector that is away says at every try is in the health, once.
        logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)
        self._exporter = OTLPSpanExporter(endpoint=whole, timeout=_SEND_SECONDS)
        self._resource = Resource(
            {"service.name": f"framemesh-{service}", "service.version": version, "host.name": node}
        )
        self._scope = InstrumentationScope("framemesh", version)
        self._waiting: deque[Span] = deque()
        self._changed = threading.Condition()
        self._closing = False
        self._away_since_s: float | None = None
        self.sent = 0
        self.dropped: Counter[str] = Counter()
        if health is not None:
            health.notes.append(lambda: self.problem)
        if figures is not None:
            figures.counter("framemesh_otlp_sent_spans", "Spans that the collector took.", one(lambda: self.sent))
            figures.counter("framemesh_otlp_dropped_spans", "Spans left out, by reason.", by_reason(self.dropped))
        self._thread = threading.Thread(target=self._run, name="otlp", daemon=True)
        self._thread.start()
        send_to(self.take)

    @property
    def problem(self) -> str:
        """What is wrong, in one line; empty: nothing."""
        if self._away_since_s is None:
            return ""
        seconds = time.monotonic() - self._away_since_s
        return f"otlp: the collector has taken nothing for {seconds:.0f} s, {sum(self.dropped.values())} spans dropped"

    def take(self, span: Span) -> None:
        """Send it some time; where too many wait it is dropped and counted."""
        with self._changed:
            if self._closing or len(self._waiting) >= _MAX_WAITING:
                self.dropped["closing" if self._closing else "queue"] += 1
                return
            self._waiting.append(span)
            if len(self._waiting) == 1:
                self._changed.notify_all()

    def close(self) -> None:
        """Send what waits, within a deadline. Blocks for 1 s at most."""
        send_to(None)
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._thread.join(_CLOSE_SECONDS)
        self._exporter.shutdown()  # type: ignore[no-untyped-call]  # the library has no types there

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._closing)
                if not self._waiting:
                    return
                if not self._closing:
                    self._changed.wait_for(lambda: self._closing, _GATHER_SECONDS)
                batch = [self._waiting.popleft() for _ in range(min(_AT_ONCE, len(self._waiting)))]
            if self._exporter.export([self._readable(span) for span in batch]) is SpanExportResult.SUCCESS:
                self._away_since_s = None
                self.sent += len(batch)
            else:
                self._away_since_s = self._away_since_s or time.monotonic()
                self.dropped["collector"] += len(batch)

    def _readable(self, span: Span) -> ReadableSpan:
        trace_id = int(span.trace_id, 16)
        status = Status(StatusCode.ERROR, span.error) if span.error else Status(StatusCode.UNSET)
        return ReadableSpan(
            name=span.name,
            context=_context(trace_id, span.span_id, remote=False),
            parent=_context(trace_id, span.parent_id, remote=True) if span.parent_id else None,
            resource=self._resource,
            attributes=dict(span.attributes),
            kind=_KINDS[span.kind],
            instrumentation_scope=self._scope,
            status=status,
            start_time=span.started_ns,
            end_time=max(span.ended_ns, span.started_ns),
        )


def _context(trace_id: int, span_id: str, *, remote: bool) -> SpanContext:
    return SpanContext(trace_id, int(span_id, 16), is_remote=remote, trace_flags=TraceFlags(TraceFlags.SAMPLED))
