"""The label `latency`: pages tell when they showed the picture of which moment, by the server's clock."""

import math
import time
from typing import Literal

import msgspec
from msgspec import Struct

from services.webrtc_gateway.datachannels.bridge import LATENCY_LABEL
from services.webrtc_gateway.datachannels.counters import DataCounters
from services.webrtc_gateway.datachannels.rate import Rate
from services.webrtc_gateway.datachannels.session import DataSession
from services.webrtc_gateway.egress.timings import Timings

_ECHOES_PER_SECOND = 5.0  # the console sends two; a histogram needs no more
_ECHO_BURST = 10.0
_MAX_ECHO_BYTES = 512
_CODE_MODULO_MS = 2**40  # the burnt time code holds the low 40 bits
_MAX_LATENCY_MS = 60_000.0  # beyond this a clock is wrong, not the picture late
_CLOCK_ERROR_MS = 50.0  # a page knows our clock to half its round trip
_PRESENTED_WITHIN_MS = 10_000.0  # of now; a page that says otherwise does not use our clock


class Echo(Struct, frozen=True):
    """A page has shown a picture; or, with `join_ms`, its first one."""

    presented_ms: float | None = None
    """When, by our clock, in ms since 1970."""
    captured_ms: float | None = None
    """Of which moment the picture is."""
    code: int | None = None
    """Instead of `captured_ms`: the burnt time code as it is read, its low 40 bits."""
    source: Literal["timecode", "capture"] = "timecode"
    stream: str = ""
    """For sessions of several streams; empty: the session's."""
    join_ms: float | None = None
    """From the POST to the first picture."""


_decoder = msgspec.json.Decoder(Echo)


class LatencyEchoes:
    """The user of the label `latency`."""

    def __init__(self, timings: Timings, counters: DataCounters) -> None:
        self._timings, self._counters = timings, counters
        self._rates: dict[DataSession, Rate] = {}

    def takes(self, session: DataSession, label: str) -> bool:
        return label == LATENCY_LABEL

    def opened(self, session: DataSession, label: str) -> None:
        self._rates[session] = Rate(_ECHOES_PER_SECOND, _ECHO_BURST)

    def closed(self, session: DataSession, label: str) -> None:
        self._rates.pop(session, None)

    def message(self, session: DataSession, label: str, data: bytes | str) -> None:
        """Note an echo; what cannot be true is counted and forgotten."""
        if not self._rates[session].take():
            self._counters.dropped["echo_rate"] += 1
            return
        if len(data) > _MAX_ECHO_BYTES:
            self._counters.dropped["echo_malformed"] += 1
            return
        try:
            echo = _decoder.decode(data)
        except (msgspec.DecodeError, UnicodeError):
            self._counters.dropped["echo_malformed"] += 1
            return
        if echo.stream not in ("", session.stream):
            self._counters.dropped["echo_implausible"] += 1
            return
        if echo.join_ms is not None and session.latency.picture_ms is None:
            if not 0 < echo.join_ms <= _MAX_LATENCY_MS:
                self._counters.dropped["echo_implausible"] += 1
                return
            session.latency.picture_ms = echo.join_ms
            self._timings.picture_presented(echo.join_ms / 1e3)
        if echo.presented_ms is not None:
            latency_ms = _latency_ms(echo, time.time_ns() / 1e6)
            if latency_ms is None:
                self._counters.dropped["echo_implausible"] += 1
                return
            session.latency.note(latency_ms, echo.source)
            self._timings.glass_to_glass(session.stream, latency_ms / 1e3)


def _latency_ms(echo: Echo, now_ms: float) -> float | None:
    """None when it cannot be."""
    presented_ms = echo.presented_ms
    if presented_ms is None or not abs(presented_ms - now_ms) <= _PRESENTED_WITHIN_MS:
        return None
    if echo.captured_ms is not None:
        latency_ms = presented_ms - echo.captured_ms
    elif echo.code is not None and 0 <= echo.code < _CODE_MODULO_MS:
        latency_ms = (presented_ms - echo.code) % _CODE_MODULO_MS
        if latency_ms > _CODE_MODULO_MS / 2:
            latency_ms -= _CODE_MODULO_MS
    else:
        return None
    if not math.isfinite(latency_ms) or not -_CLOCK_ERROR_MS <= latency_ms <= _MAX_LATENCY_MS:
        return None
    return max(0.0, latency_ms)
