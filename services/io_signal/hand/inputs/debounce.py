"""Levels that last: a contact that bounces closes once."""

from collections.abc import Callable
from typing import NamedTuple, Protocol

from services.io_signal.hand.drivers.base import InstantClock


class Level(NamedTuple):
    on: bool
    at_ns: int
    clock: InstantClock


class Timer(Protocol):
    def cancel(self) -> None: ...


class Debounce:
    """Passes a change on once it has lasted, with the instant at which it came.

    Judged by the readings' own instants where another one tells how long it lasted: those that come late, all at once,
    are judged as if they had come in time.
    """

    def __init__(
        self,
        seconds: float,
        passed: Callable[[Level], None],
        call_later: Callable[[float, Callable[[], None]], Timer],
        bounced: Callable[[], None],
    ) -> None:
        """`bounced`: called for each change that did not last. With 0 seconds every change passes at once."""
        self._seconds, self._passed, self._call_later, self._bounced = seconds, passed, call_later, bounced
        self._settled: bool | None = None
        self._pending: Level | None = None
        self._timer: Timer | None = None

    def known(self, on: bool) -> None:
        """This is how it is; nothing is passed on for it."""
        self.forget()
        self._settled = on

    def take(self, level: Level) -> None:
        pending = self._pending
        if pending is not None:
            if pending.on == level.on:
                return
            lasted = level.at_ns - pending.at_ns >= round(self._seconds * 1e9)
            self.forget()
            if lasted:
                self._settle(pending)
            else:
                self._bounced()
        if level.on == self._settled:
            return
        if self._seconds <= 0:
            self._settle(level)
            return
        self._pending = level
        self._timer = self._call_later(self._seconds, self._lasted)

    def forget(self) -> None:
        """What has not lasted yet is not waited for."""
        self._pending = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _lasted(self) -> None:
        pending = self._pending
        self.forget()
        if pending is not None:
            self._settle(pending)

    def _settle(self, level: Level) -> None:
        self._settled = level.on
        self._passed(level)
