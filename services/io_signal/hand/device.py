"""One output: its queue, its keep time and its safe state."""

import asyncio
from collections.abc import Callable
from typing import Final

import msgspec

from schemas.errors import BadRequest, Conflict, ErrorInfo, MeshError, Unavailable
from schemas.signal_resources import SafeState, SignalSpec
from schemas.units import parse_duration
from services.io_signal.hand.drivers.base import OutputDriver
from services.io_signal.hand.job import Job, JobQueue, Owed
from services.io_signal.hand.keep_marks import KeepMarks
from services.io_signal.hand.keep_time import KeepTime, keep_ms
from services.io_signal.hand.protocol import Cause, Done, Output, Send, Switch
from services.io_signal.hand.texts import text_for
from services.io_signal.hand.tries import Tries
from shared.tasks import end_tasks, set_within, start_task

_STALE_SECONDS: Final = 4.0  # callers give up after 5 s: a late `on` would be about a part that has gone by
_AGAIN_SECONDS: Final = (0.05, 0.1, 0.2, 0.4, 0.8)  # between tries of what is owed; the last one again and again
_GAP_SECONDS: Final = 0.02  # off between two pulses that follow each other: the cycle of a slow PLC

# What may be changed while the output stays as it is.
_OF_THE_WORKER: Final = frozenset(
    ("type", "streams", "keep", "retrigger", "timeout", "retries", "queue", "bus_lost", "safe", "initial", "node")
)
_OFF_MODE: Final = Conflict("off-mode is active; end it with io-signal.off-mode and active=false")
# Why an output is made safe: no command that goes well meanwhile keeps it from being so.
_SAYS: Final[dict[Cause, str]] = {
    "off-mode": "off-mode is active",
    "bus-lost": "the bus is away",
    "end": "the service ends",
    "stop": "it is no longer asked for, or is set up anew",
}


class OutputDevice:
    """Belongs to the event loop. Commands are done one after the other, in the order in which they came."""

    def __init__(
        self, spec: SignalSpec, driver: OutputDriver, tell: Callable[[Output], None], marks: KeepMarks
    ) -> None:
        """`tell` hears of each change of the output and of its error."""
        self.spec, self._tell = spec, tell
        self._tries, self._queue = Tries(spec, driver), JobQueue(spec.signal)
        self._loop = asyncio.get_running_loop()
        self._owed: Owed | None = None
        self._poke = asyncio.Event()
        self._keep = KeepTime(spec.signal, marks, self._keep_over)
        self._worker: asyncio.Task[None] | None = None
        self._off_since_seconds = 0.0
        self.is_safe = asyncio.Event()
        """Nothing is owed."""
        self.is_safe.set()
        self.state = Output(signal=spec.signal, on=False, known=False)

    # -- what it is told -------------------------------------------------------------------------------------

    def start(self, *, locked: bool) -> None:
        """Begin: the safe state first, then the initial one."""
        self._queue.refusal = _OFF_MODE if locked else None
        self._retime(spec=self.spec)
        self._go_safe(self.spec.safe, "start", kept=self._keep.was_lost)
        initial = self.spec.initial
        if initial not in (None, "hold", self.spec.safe) and not locked:
            self.submit(Switch(number=0, signal=self.spec.signal, on=initial == "on", keep_ms=0, why="initial state"))
        self._worker = start_task(self._work(), f"output {self.spec.signal}")

    def change(self, spec: SignalSpec) -> bool:
        """Take on what does not touch the device; False where the output must be set up anew."""
        names = (name for name in SignalSpec.__struct_fields__ if name not in _OF_THE_WORKER)
        if any(getattr(spec, name) != getattr(self.spec, name) for name in names):
            return False
        self._retime(spec)
        return True

    def submit(self, asked: Switch | Send) -> "asyncio.Future[Done]":
        """Queue a command; the answer comes when the device has it, or does not."""
        if isinstance(asked, Switch) and not asked.on and self.spec.retrigger == "queue":
            self._refuse_waiting(Conflict(f"{self.spec.signal} was cleared before it was this one's turn"))
        job = self._queue.put(asked, self.spec.queue)
        self._poke.set()
        return job.answer

    def lock(self, by: str, why: str) -> bool:
        """Off-mode: to the safe state, and no `on` until it is unlocked. True where that switches it."""
        self._queue.refusal = _OFF_MODE
        self._refuse_waiting(_OFF_MODE)
        return self._go_safe(self.spec.safe, "off-mode", by=by, why=why)

    def unlock(self) -> None:
        if self._queue.refusal is _OFF_MODE:
            self._queue.refusal = None

    def make_safe(self, cause: Cause) -> bool:
        """To the safe state before anything else, and again until the device has it. True where that switches it.

        What waits is left out; at the end, of the hand or of the signal, all that comes is too.
        """
        gone = Unavailable(f"{self.spec.signal} goes to its safe state: {_SAYS[cause]}")
        if cause in ("end", "stop"):
            self._queue.refusal = gone
        self._refuse_waiting(gone)
        return self._go_safe(self.spec.safe, cause)

    async def close(self) -> None:
        """End, and let go of the device as it is."""
        self._keep.forget()
        if self._worker is not None:
            await end_tasks(self._worker)
        self._queue.refuse_all(Unavailable(f"{self.spec.signal} is no longer set up"))
        await self._tries.close()

    # -- its worker ------------------------------------------------------------------------------------------

    def _retime(self, spec: SignalSpec) -> None:
        self.spec = spec
        self._tries.take(spec)
        self.bus_lost_seconds = parse_duration(spec.bus_lost, "bus_lost")

    async def _work(self) -> None:
        while True:
            now = self._loop.time()
            if self._owed is not None and self._owed.next_seconds <= now:
                await self._pay(self._owed)
            elif self._queue:
                await self._do(self._queue.take())
                self._queue.doing = None
            else:
                await set_within(self._poke, self._owed.next_seconds - now if self._owed is not None else None)
                self._poke.clear()

    async def _do(self, job: Job) -> None:
        asked = job.asked
        if isinstance(asked, Send):
            await self._send(job, asked)
            return
        if asked.on and self.state.until_ns and self.state.on:
            if self.spec.retrigger == "ignore":
                job.done(edge_ns=self.state.edge_ns, until_ns=self.state.until_ns)
                return
            if self.spec.retrigger == "queue" and not await self._pulse_over(job):
                return
        elif asked.on and self._loop.time() - job.since_seconds > _STALE_SECONDS:
            late = f"{self.spec.signal}: it waited for more than {_STALE_SECONDS:g} s, and was left out"
            job.refuse(Unavailable(late).info)
            return
        if asked.on:
            self._keep.about_to_begin(self.spec, asked)
        error = await self._try(asked.on, asked)
        if error is None:
            self._has(asked.on, "command", asked, asked)
            job.done(edge_ns=self.state.edge_ns, until_ns=self.state.until_ns)
            return
        job.refuse(error)
        if self._owed is None and not (asked.on and self.state.on):
            # An `on` may have been done all the same: an answer that was lost is no output that is off. And an `off`
            # that somebody wanted is not forgotten.
            self._owe(Owed(on=False, cause="failed", next_seconds=self._loop.time() + _AGAIN_SECONDS[0]))

    async def _pulse_over(self, job: Job) -> bool:
        """Of retrigger `queue`: wait for the end of the pulse before; False where an `off` came instead."""
        self._queue.put_back(job)  # where an `off` and the queue's limit see it
        while self.state.until_ns or self._loop.time() - self._off_since_seconds < _GAP_SECONDS:
            if self._owed is not None and self._owed.next_seconds <= self._loop.time():
                await self._pay(self._owed)
                continue
            wait_seconds = _GAP_SECONDS if not self.state.until_ns else None
            if self._owed is not None:
                wait_seconds = self._owed.next_seconds - self._loop.time()
            await set_within(self._poke, wait_seconds)
            self._poke.clear()
            if not self._queue.is_next(job):
                return False
        if not self._queue.is_next(job):
            return False
        self._queue.take()
        return True

    async def _pay(self, owed: Owed) -> None:
        """Try once what is owed."""
        owed.tries += 1
        error = await self._try(owed.on, None, tries=1)
        if self._owed is not owed:  # something else came meanwhile
            return
        if error is None:
            self._has(owed.on, owed.cause, None, owed)
            return
        if error.code == BadRequest.code:  # it is not allowed, now or later
            self._owed = None
            self.is_safe.set()
            return
        again = _AGAIN_SECONDS[min(owed.tries, len(_AGAIN_SECONDS)) - 1]
        owed.next_seconds = self._loop.time() + again

    async def _send(self, job: Job, asked: Send) -> None:
        sent = await self._tries.send(asked)
        if isinstance(sent, ErrorInfo):
            job.refuse(sent)
        else:
            job.done(edge_ns=sent[0], reply=sent[1])

    async def _try(self, on: bool, asked: Switch | None, tries: int | None = None) -> ErrorInfo | None:
        """Have the device on or off, several times if need be; its error, which is shown until a command goes well."""
        found = await self._tries.set(
            on,
            text_for(self.spec, on, asked),
            tries,
            # A safe state does not wait for the tries of another.
            lambda: asked is not None and asked.on and self._owed is not None,
        )
        if isinstance(found, int):
            self.state = msgspec.structs.replace(self.state, edge_ns=found, error=None)
            return None
        if self.state.error != found:
            self.state = msgspec.structs.replace(self.state, error=found)
            self._say()
        return found

    # -- its state -------------------------------------------------------------------------------------------

    def _has(self, on: bool, cause: Cause, asked: Switch | None, told: Switch | Owed) -> None:
        """The device has it: the keep time begins, nothing is owed."""
        milliseconds = keep_ms(self.spec, asked) if asked is not None and on else 0
        until_ns = self._keep.begin(milliseconds, self.state.edge_ns, self._tries.timeout_seconds)
        if not on:
            self._off_since_seconds = self._loop.time()
        if self._owed is None or cause != "command" or self._owed.cause not in _SAYS or self._owed.on == on:
            self._owed = None  # else it was to be made safe while the device took this
            self.is_safe.set()
        before = self.state
        self.state = msgspec.structs.replace(
            before,
            on=on,
            known=True,
            cause=cause,
            until_ns=until_ns,
            keep_ms=milliseconds,
            kind=(asked.kind or self.spec.type or "") if asked is not None and on else "",
            by=told.by,
            why=told.why,
            trace_id=told.trace_id,
            asked_ns=asked.asked_ns if asked is not None else 0,
            changes=before.changes + (not before.known or before.on != on),
            error=None,
        )
        self._say(changed=True)

    def _keep_over(self) -> None:
        before = self.state
        self._owe(Owed(on=False, cause="keep", by=before.by, why=before.why, trace_id=before.trace_id))

    def _go_safe(self, safe: SafeState, cause: Cause, *, kept: bool = False, by: str = "", why: str = "") -> bool:
        # What is being set at this moment might last for a keep time, which nobody would end.
        kept = kept or bool(self.state.until_ns) or (self._queue.doing is not None and self._queue.doing.is_on)
        if safe == "hold" and not kept:
            return False
        self._keep.forget()
        self._owe(Owed(on=safe == "on", cause=cause, by=by, why=why))
        return not self.state.known or self.state.on != (safe == "on")

    def _owe(self, owed: Owed) -> None:
        self._owed = owed
        self.is_safe.clear()
        self._poke.set()

    def _refuse_waiting(self, error: MeshError) -> None:
        self._queue.refuse_ons(error)
        self._poke.set()

    def _say(self, *, changed: bool = False) -> None:
        self._tell(
            msgspec.structs.replace(self.state, changed=changed, waiting=len(self._queue), retries=self._tries.again)
        )
