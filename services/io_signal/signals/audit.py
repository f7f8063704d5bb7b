"""Every change of an output as an event, with who and why: also those of while the bus, or the service, was away."""

import asyncio
import logging
import time
from collections import deque
from pathlib import Path
from typing import Any, Final

import msgspec

from schemas.errors import ErrorInfo
from schemas.events import Event
from services.io_signal.hand.protocol import Output, read_by_service
from shared.service import Context

log = logging.getLogger(__name__)

_MOST_KEPT: Final = 1_024  # of while the bus is away: each output changes once or twice then
_MOST_BYTES: Final = 1 << 20  # of last words: one line for each of 1,024 outputs
# Why an output changed where no command says so.
_REASONS: Final = {
    "keep": "keep time over",
    "failed": "a command failed",
    "start": "start",
    "off-mode": "off-mode",
    "bus-lost": "the bus is away",
    "end": "the service ended",
    "stop": "no longer asked for",
}


class Audit:
    """Belongs to the event loop."""

    def __init__(self, context: Context[Any], last_words: Path) -> None:
        """`last_words`: where a hand whose service has died leaves what it did."""
        self._context, self._last_words = context, last_words
        self._kept: deque[Event] = deque()
        self.dropped = 0
        """Events of while the bus was away that were too many."""
        context.stack.callback(context.bus.on_reconnect(self._post_kept))

    def changed(self, output: Output) -> None:
        """The device has had something."""
        detail: dict[str, Any] = {
            "on": output.on,
            "type": output.kind or None,
            "by": output.by,
            "why": output.why or _REASONS.get(output.cause, ""),
            "cause": output.cause,
            "keep_ms": output.keep_ms,
            "edge_ns": output.edge_ns,
        }
        if output.asked_ns:
            detail["latency_ns"] = max(output.edge_ns - output.asked_ns, 0)
        self.post(output.signal, "changed", detail, at_ns=output.edge_ns, trace_id=output.trace_id)

    def post(
        self,
        resource: str,
        name: str,
        detail: dict[str, Any],
        *,
        error: ErrorInfo | None = None,
        at_ns: int = 0,
        trace_id: str = "",
    ) -> None:
        event = Event(
            service=self._context.service,
            id=resource,
            event=name,
            node=self._context.node,
            at_ns=at_ns or time.time_ns(),
            error=error,
            detail=detail,
            trace_id=trace_id,
        )
        if self._context.bus.connected:
            self._context.bus.post_event(event)
            return
        if len(self._kept) >= _MOST_KEPT:
            self._kept.popleft()
            self.dropped += 1
        self._kept.append(event)

    async def post_last_words(self) -> None:
        """Tell what a hand did whose service had died; once."""
        for output in await asyncio.to_thread(self._take_last_words):
            self.changed(output)

    def _take_last_words(self) -> list[Output]:
        try:
            with self._last_words.open("rb") as file:
                lines = file.read(_MOST_BYTES).splitlines()
            self._last_words.unlink()
        except FileNotFoundError:
            return []
        except OSError as error:
            log.warning("%s: %s", self._last_words, error.strerror)
            return []
        found = []
        for one in lines:
            try:
                output = read_by_service(one)
            except msgspec.DecodeError:  # it was killed within a line
                continue
            if isinstance(output, Output):
                found.append(output)
        return found

    def _post_kept(self) -> None:
        while self._kept:
            self._context.bus.post_event(self._kept.popleft())
