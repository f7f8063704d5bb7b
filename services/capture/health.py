"""What is seen of a source from outside: pictures that stay away or stand still, a driver that hangs."""

import time

from schemas.errors import Unavailable
from schemas.resources import StreamActual, StreamSpec
from schemas.units import parse_duration
from services.capture.settings import CaptureSettings
from services.capture.sink import StreamSink
from services.capture.source_thread import SourceThread
from services.capture.stream_state import StreamState

# A source that was asked to let go of a device that sends nothing; its own read has timed out by then.
_LET_GO_SECONDS = 2.0
# The source's own timeouts come first, with a better text.
_REOPEN_MARGIN_SECONDS = 0.5
# The slowest honest way to open: an RTSP camera by TCP, then by UDP, each until its timeouts.
_OPENINGS = 4
_MIN_STATE_SECONDS = 1.0  # live is shown for so long before the next stall: events come once a second at most
_KEPT_PICTURES = 2  # by libav: one in the demuxer, until the next one begins, and one in the parser behind it


class StreamHealth:
    """Judges one stream, in the event loop; what it finds becomes the stream's state."""

    def __init__(self, state: StreamState, settings: CaptureSettings) -> None:
        self._state, self._settings = state, settings
        self._resumed, self._resumed_at = 0, float("-inf")
        self.stalls = 0
        self.freezes = 0

    def arrival(self, spec: StreamSpec, sink: StreamSink) -> None:
        """A picture has come that was waited for."""
        actual = self._state.actual
        if actual is None or actual.state == "live":
            return
        if actual.state == "stalled":
            # Some may be what libav's readers still had, and give out when they give up.
            stall_seconds = _stall_seconds(spec, sink)
            before, self._resumed_at = self._resumed_at, time.monotonic()
            self._resumed = self._resumed + 1 if self._resumed_at - before <= stall_seconds else 1
            if self._resumed <= _KEPT_PICTURES:
                sink.arrivals.expect()
                return
            self._resumed = 0
            sink.arrivals.cadence.forgive((time.time_ns() - actual.since_ns) / 1e9 + stall_seconds)
        self._state.report(state="live", error=None, waiting_for="")

    def look(self, now: float, spec: StreamSpec, sink: StreamSink, thread: SourceThread) -> bool:
        """Notice what no event tells, and have a source opened again that hangs; False: its thread does not let go.

        `now` is in monotonic seconds.
        """
        actual = self._state.actual
        if actual is None:
            return True
        silent_seconds = now - max(sink.arrivals.at, sink.arrivals.opened_at or 0.0)
        stall_seconds = _stall_seconds(spec, sink)
        watched = spec.stall_after is not None or _steady(spec, thread)
        settled = self._state.seconds(now) >= _MIN_STATE_SECONDS
        if settled and actual.state in ("live", "frozen") and watched and silent_seconds >= stall_seconds:
            self.stalls += 1
            text = f"source {actual.source}: no picture for {silent_seconds:.1f} s; is the sender at work?"
            self._state.report(state="stalled", error=Unavailable(text).info)
            sink.arrivals.expect()
        elif settled and actual.state == "live" and _is_frozen(spec, sink):
            self.freezes += 1
            self._state.report(state="frozen")
        return self._look_at_thread(now, spec, sink, thread, actual, silent_seconds)

    def _look_at_thread(
        self,
        now: float,
        spec: StreamSpec,
        sink: StreamSink,
        thread: SourceThread,
        actual: StreamActual,
        silent_seconds: float,
    ) -> bool:
        if (since := thread.attempt_since) is None:  # between two attempts nothing hangs
            return True
        if thread.reopen_asked_at is not None:
            return now - thread.reopen_asked_at <= _LET_GO_SECONDS
        settings = self._settings
        if sink.arrivals.opened_at is None:
            limit = _OPENINGS * (settings.open_timeout_seconds + settings.read_timeout_seconds)
            # A folder's next file is opened within one attempt.
            if now - max(since, sink.arrivals.at) > limit and not (thread.source and thread.source.listens):
                thread.reopen(Unavailable(f"source {actual.source}: does not open within {limit:g} s"))
        elif _steady(spec, thread) and silent_seconds > (
            limit := max(settings.read_timeout_seconds, _stall_seconds(spec, sink)) + _REOPEN_MARGIN_SECONDS
        ):
            thread.reopen(Unavailable(f"source {actual.source}: no picture for {limit:g} s"))
        return True


def _is_frozen(spec: StreamSpec, sink: StreamSink) -> bool:
    after, stillness = spec.frozen_after, sink.stillness
    if not after or stillness is None or stillness.seconds < parse_duration(after, "frozen_after"):
        return False
    stillness.tell_change()
    return True


def _steady(spec: StreamSpec, thread: SourceThread) -> bool:
    return spec.trigger is None and (thread.source is None or thread.source.steady)


def _stall_seconds(spec: StreamSpec, sink: StreamSink) -> float:
    if spec.stall_after:
        return parse_duration(spec.stall_after, "stall_after")
    return sink.arrivals.cadence.stall_seconds
