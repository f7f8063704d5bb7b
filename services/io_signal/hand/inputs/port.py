"""One input: its device is opened, listened to, and opened again when it is lost."""

import asyncio
import contextlib
import logging
import time
from collections import Counter
from collections.abc import Callable
from typing import Final

from schemas.errors import BadRequest, ErrorInfo, InternalError, MeshError
from schemas.signal_resources import EventDetail, InputSpec, InputState
from schemas.units import parse_duration
from services.io_signal.hand.drivers.base import DeviceError, InputDriver, Reading
from services.io_signal.hand.inputs.debounce import Debounce, Level
from services.io_signal.hand.inputs.interpreting import Interpreter
from services.io_signal.hand.inputs.pace import Pace
from services.io_signal.hand.protocol import InputIs, Taken
from shared.backoff import Backoff
from shared.tasks import end_tasks, set_within, start_task

log = logging.getLogger(__name__)

Tell = Callable[[Taken | InputIs], None]

_OPEN_SECONDS: Final = 5.0  # a PLC behind a slow link; what takes longer is tried again
_CLOSE_SECONDS: Final = 2.0
_TELL_SECONDS: Final = 0.2  # between two words of what is left out
_LOOK_SECONDS: Final = 0.5  # how often drivers are asked what they have left out


class InputPort:
    """Runs from `start` to `close`, whatever its device does."""

    def __init__(self, spec: InputSpec, make: Callable[[], InputDriver], tell: Tell) -> None:
        """`make`: a driver that was never opened.

        Raises:
            InvalidValue: the spec can never work; names the field.
        """
        self.spec = spec
        self._make, self._tell_of = make, tell
        self._interpreter = Interpreter(spec)
        self._dropped: Counter[str] = Counter()
        loop = asyncio.get_running_loop()
        seconds = parse_duration(spec.debounce, "debounce") if spec.debounce is not None else 0.0
        self._pace: Pace[Taken] = Pace(self._pass, lambda: self._drop("too-fast"), loop.time, loop.call_later)
        self._debounce = Debounce(seconds, self._changed, loop.call_later, lambda: self._drop("bounce"))
        # Lines tell that something happens. Of what has a level or a register, the first reading tells how it is.
        self._has_state = spec.mode in ("gpio", "modbus")
        self._seen: EventDetail = None
        self._told: EventDetail = None
        self._state: InputState = "starting"
        self._error: ErrorInfo | None = None
        self._address = ""
        self._dropped_told = 0
        self._has_dropped = asyncio.Event()
        self._driver: InputDriver | None = None
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        name = f"input {self.spec.input}"
        self._tasks = [start_task(self._run(), name), start_task(self._tell_drops(), f"{name} drops")]

    async def close(self) -> None:
        """Let go of the device; nothing is told any more."""
        await end_tasks(*self._tasks)
        self._debounce.forget()
        self._pace.forget()

    def tell_again(self) -> None:
        """To who has just come."""
        self._tell_state(self._state, self._error, again=True)
        if self._told is not None:
            read = Taken(input=self.spec.input, value=self._told, at_ns=time.time_ns(), clock="arrival", edge=False)
            self._tell_of(read)

    # -- its device ------------------------------------------------------------------------------------------

    async def _run(self) -> None:
        backoff = Backoff()
        never = asyncio.Event()
        while True:
            try:
                error = await self._listen(backoff)
            except MeshError as raised:
                error = raised
            except Exception:  # a bug in one driver must not take the outputs' hand
                log.exception("input %s", self.spec.input)
                error = InternalError("internal error; see the service's log")
            self._debounce.forget()
            self._tell_state("failed", error.info)
            if isinstance(error, BadRequest):  # the same would happen again
                return
            await set_within(never, backoff.next_seconds())

    async def _listen(self, backoff: Backoff) -> MeshError:
        driver = self._driver = self._make()
        try:
            async with asyncio.timeout(_OPEN_SECONDS):
                await driver.open()
            self._address = getattr(driver, "address", "")  # of those that choose a port
            self._tell_state("active", None)
            backoff.succeeded()
            await driver.run(self._take)
        except TimeoutError:
            return _lost(self.spec, f"does not answer within {_OPEN_SECONDS:g} s")
        finally:
            self._count_of(driver)
            self._driver = None
            with contextlib.suppress(TimeoutError):  # what does not let go is left behind; a new one tells of it
                async with asyncio.timeout(_CLOSE_SECONDS):
                    await driver.close()
        return _lost(self.spec, "has ended")

    # -- what it delivers ------------------------------------------------------------------------------------

    def _take(self, reading: Reading) -> None:
        value = self._interpreter.value(reading)
        if value is None:
            self._drop("no-match")
            return
        first, self._seen = self._seen is None, value
        if isinstance(value, bool):
            if first and self._has_state:
                self._debounce.known(value)
                self._read(value, reading, edge=False)
            else:
                self._debounce.take(Level(value, reading.at_ns, reading.clock))
            return
        if self._has_state and value == self._told:
            return
        self._read(value, reading, edge=not (first and self._has_state))

    def _changed(self, level: Level) -> None:
        wanted = self.spec.edge == "both" or (self.spec.edge == "rising") == level.on
        self._read(level.on, Reading(level.on, level.at_ns, level.clock), edge=wanted)

    def _read(self, value: EventDetail, reading: Reading, *, edge: bool) -> None:
        self._told = value
        read = Taken(input=self.spec.input, value=value, at_ns=reading.at_ns, clock=reading.clock, edge=edge)
        self._pace.take(read)

    def _pass(self, read: Taken) -> None:
        self._tell_of(read)

    # -- what is told of it ----------------------------------------------------------------------------------

    def _tell_state(self, state: InputState, error: ErrorInfo | None, *, again: bool = False) -> None:
        if not again and (state, error) == (self._state, self._error):
            return
        self._state, self._error = state, error
        self._dropped_told = self._dropped.total()
        told = InputIs(
            input=self.spec.input, state=state, error=error, dropped=dict(self._dropped), address=self._address
        )
        self._tell_of(told)

    def _drop(self, reason: str) -> None:
        self._dropped[reason] += 1
        self._has_dropped.set()

    def _count_of(self, driver: InputDriver) -> None:
        left_out: Counter[str] | None = getattr(driver, "left_out", None)  # of those that have something to leave out
        if left_out:
            self._dropped.update(left_out)
            left_out.clear()

    async def _tell_drops(self) -> None:
        never = asyncio.Event()
        while True:
            await set_within(self._has_dropped, _LOOK_SECONDS)
            self._has_dropped.clear()
            if self._driver is not None:
                self._count_of(self._driver)
            if self._dropped.total() != self._dropped_told:
                self._tell_state(self._state, self._error, again=True)
                await set_within(never, _TELL_SECONDS)


def _lost(spec: InputSpec, what: str) -> MeshError:
    return DeviceError(f"{spec.input}: {spec.mode} device {what}; it is tried again")
