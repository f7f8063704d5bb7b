"""A hand that is there when it is needed: started, asked, watched, replaced."""

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine
from typing import Any, Final, Protocol

from schemas.errors import MeshError, Unavailable, error_from_code
from services.io_signal.hand.protocol import (
    PING_SECONDS,
    SILENCE_SECONDS,
    Done,
    FromHand,
    InputIs,
    Output,
    Ping,
    Pong,
    Ready,
    Setup,
    Taken,
    ToHand,
)
from services.io_signal.link.hand_child import HandChild
from shared.service import Context
from shared.tasks import end_tasks, set_within, start_task

log = logging.getLogger(__name__)

_READY_SECONDS: Final = 8.0  # it needs 0.2 s; the one before it may have to be killed first, on a busy machine
ASK_SECONDS: Final = 10.0  # retries of a slow device included; a queue of them is refused before
# Between starts: a hand that ended once is back at once, one that cannot live is left more and more time.
_AGAIN_SECONDS: Final = (0.0, 0.1, 0.5, 1.0, 2.0)
_STABLE_SECONDS: Final = 10.0
_OWN_LATE_SECONDS: Final = 0.5  # a service that slept itself cannot say that the hand did


class Kept(Protocol):
    """Whoever has something in the hand, and wants it there again in the next one."""

    def hand_lost(self, error: MeshError) -> None: ...

    async def hand_back(self) -> None: ...


class HandLink:
    """Belongs to the event loop."""

    def __init__(self, context: Context[Any], setup: Setup, ready: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """`ready` is awaited beside all else whenever a hand has begun: the one before it has ended by then."""
        self._on_ready = ready
        self._context, self._setup = context, setup
        self._child: HandChild | None = None
        self._ready = asyncio.Event()
        self._needed = asyncio.Event()
        self._waiting: dict[int, asyncio.Future[Done]] = {}
        self._number = 0
        self._heard_seconds = 0.0
        self._backs: set[asyncio.Task[None]] = set()
        self._closed = False
        self.kept: dict[str, Kept] = {}
        """By `signal do1`, `input di1`."""
        self.outputs: dict[str, Callable[[Output], None]] = {}
        self.readings: dict[str, Callable[[Taken], None]] = {}
        self.input_states: dict[str, Callable[[InputIs], None]] = {}
        """Who hears of what, by the name of the signal or input."""
        self.restarts = 0
        """Of the hand."""
        self.stuck = 0
        """Times it was killed because it stood still."""

    @property
    def pid(self) -> int | None:
        return self._child.pid if self._child else None

    async def ask(self, make: Callable[[int], ToHand], timeout_seconds: float = ASK_SECONDS) -> Done:
        """Send what `make` makes of a number, and wait for what came of it; starts the hand where it does not run.

        Raises:
            Unavailable: no hand, or no answer in time.
            MeshError: what came of it.
        """
        self._needed.set()
        if not await set_within(self._ready, _READY_SECONDS):
            raise Unavailable("the process that drives the devices does not start; see the service's log")
        self._number += 1
        number = self._number
        child = self._child
        assert child is not None  # it is ready
        answered: asyncio.Future[Done] = asyncio.get_running_loop().create_future()
        self._waiting[number] = answered
        try:
            child.send(make(number))
            async with asyncio.timeout(timeout_seconds):
                done = await answered
        except TimeoutError:
            raise Unavailable(f"no word of the device within {timeout_seconds:g} s") from None
        finally:
            del self._waiting[number]
        if done.error is not None:
            raise error_from_code(done.error.code, done.error.message)
        return done

    async def run(self) -> None:
        """Keep a hand from the first time that one is needed, until cancelled."""
        await self._needed.wait()
        failures = 0
        while True:
            began = time.monotonic()
            why = await self._run_once()
            if self._closed:
                return
            self._lost(Unavailable(why))
            self.restarts += 1
            failures = 1 if time.monotonic() - began > _STABLE_SECONDS else failures + 1
            log.error("%s; another one is started", why)
            self._context.event(self._context.service, "hand-lost", detail={"why": why})
            await asyncio.sleep(_AGAIN_SECONDS[min(failures, len(_AGAIN_SECONDS)) - 1])

    async def close(self) -> None:
        """End the hand: it brings its outputs to their safe states first."""
        self._closed = True
        self._ready.clear()
        if self._child is not None:
            await self._child.stop()
        await end_tasks(*self._backs)

    async def _run_once(self) -> str:
        """One hand from its start to its end; why it ended."""
        child = HandChild(self._setup, self._hear)
        try:
            await child.start()
            self._child = child
            ending = asyncio.create_task(child.ended(), name="hand ended")
            watching = asyncio.create_task(self._watch(child), name="hand watched")
            try:
                await asyncio.wait({ending, watching}, return_when=asyncio.FIRST_COMPLETED)
                stuck = watching.done() and not watching.cancelled() and watching.exception() is None
                if stuck and not ending.done():
                    self.stuck += 1
                    child.kill()
                code = await ending
                return "the hand stood still and was killed" if stuck and code else f"the hand ended with code {code}"
            finally:
                await end_tasks(ending, watching)
        except Unavailable as error:
            return error.message
        finally:
            self._ready.clear()
            if not self._closed:
                child.kill()

    async def _watch(self, child: HandChild) -> None:
        """Say again and again that the service is there, and whether the bus is; returns when nothing comes back."""
        never = asyncio.Event()
        number = 0
        self._heard_seconds = time.monotonic() + _READY_SECONDS  # until it is ready
        while True:
            number += 1
            began = time.monotonic()
            try:
                if self._ready.is_set():
                    child.send(Ping(number=number, bus=self._context.bus.connected))
            except Unavailable:
                return
            await set_within(never, PING_SECONDS)
            now = time.monotonic()
            if now - began > PING_SECONDS + _OWN_LATE_SECONDS:
                self._heard_seconds = max(self._heard_seconds, now - PING_SECONDS)
            elif now - self._heard_seconds > SILENCE_SECONDS:
                return

    def _hear(self, message: FromHand) -> None:
        self._heard_seconds = time.monotonic() if self._ready.is_set() else self._heard_seconds
        match message:
            case Done():
                waiting = self._waiting.get(message.number)
                if waiting is not None and not waiting.done():
                    waiting.set_result(message)
            case Output() if message.signal in self.outputs:
                self.outputs[message.signal](message)
            case Taken() if message.input in self.readings:
                self.readings[message.input](message)
            case InputIs() if message.input in self.input_states:
                self.input_states[message.input](message)
            case Ready():
                self._heard_seconds = time.monotonic()
                self._ready.set()
                self._begin(self._on_ready(), "hand begun")
                for name, kept in self.kept.items():
                    self._begin(self._give_back(name, kept), f"{name} in the hand")
            case Pong():
                pass

    def _begin(self, work: Coroutine[Any, Any, None], name: str) -> None:
        task = start_task(work, name)
        self._backs.add(task)
        task.add_done_callback(self._backs.discard)

    async def _give_back(self, name: str, kept: Kept) -> None:
        try:
            await kept.hand_back()
        except MeshError as error:
            log.warning("%s: %s", name, error.message)
            kept.hand_lost(error)

    def _lost(self, error: MeshError) -> None:
        for waiting in tuple(self._waiting.values()):
            if not waiting.done():
                waiting.set_exception(error)
        for kept in tuple(self.kept.values()):
            kept.hand_lost(error)
