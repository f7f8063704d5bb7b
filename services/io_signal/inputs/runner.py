"""One input's life: the hand listens, and what it tells becomes events, values of pictures, and a state."""

import asyncio
import contextlib
import time
from collections import Counter, deque
from collections.abc import Callable
from functools import partial
from typing import Any, Final

import msgspec

from schemas.errors import ErrorInfo, MeshError, Unavailable
from schemas.events import Event
from schemas.signal_resources import InputActual, InputSpec, JoinedFrame
from schemas.units import NS_PER_SECOND
from services.io_signal.hand.protocol import InputIs, LeaveInput, Listen, Taken
from services.io_signal.inputs.followed import FollowedStream
from services.io_signal.inputs.parts import SERVICE, InputParts
from shared.tasks import end_tasks, set_within, start_task

_REPORT_SECONDS: Final = 0.5  # values may change 500 times in a second; the state of an input is for people
_LEAVE_SECONDS: Final = 3.0  # to let go of a device
_DELAYS: Final = 1_024


class InputRunner:
    """See `shared.reconcile.Runner`."""

    def __init__(self, name: str, parts: InputParts) -> None:
        self._name, self._parts = name, parts
        self._spec: InputSpec | None = None
        self._followed: FollowedStream | None = None
        self._changed = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self.actual = InputActual(input=name, node=parts.context.node, revision=0, state="starting")
        self.joined: Counter[str] = Counter()
        """Events of an input with a stream: `joined` to a picture, or with `none` for it."""
        self.delays: deque[float] = deque(maxlen=_DELAYS)
        """Seconds from instants to their events, of the last ones."""

    # -- the reconciler's side -------------------------------------------------------------------------------

    async def start(self, spec: InputSpec, revision: int) -> None:
        """Follow its stream, then have the hand listen.

        Raises:
            Conflict: another input tells the same value of the same pictures.
            MeshError: the hand refuses it, or is not there.
        """
        parts, self._spec = self._parts, spec
        self.actual = msgspec.structs.replace(self.actual, revision=revision, since_ns=time.time_ns())
        if spec.stream is not None:
            self._followed = parts.following.follow(spec.stream)
            if spec.attach is not None:
                followed = self._followed
                parts.values.claim(spec.stream, spec.attach, self._name, lambda: followed.node)
        self._report()
        self._task = start_task(self._report_changes(), f"state of input {self._name}")
        parts.hand.readings[self._name] = self.hear
        parts.hand.input_states[self._name] = self.hear_state
        await self.hand_back()
        parts.hand.kept[f"input {self._name}"] = self

    async def update(self, spec: InputSpec, revision: int) -> bool:
        """Only the revision may change; all else begins anew."""
        if spec != self._spec:
            return False
        self.actual = msgspec.structs.replace(self.actual, revision=revision)
        self._report()
        return True

    async def stop(self, *, removed: bool = False) -> None:
        """Listen no more; nothing is told of it after that."""
        spec, self._spec = self._spec, None
        if spec is None:
            return
        hand = self._parts.hand
        listened = hand.kept.pop(f"input {self._name}", None) is not None
        for heard in (hand.readings, hand.input_states):
            heard.pop(self._name, None)
        if self._task is not None:
            await end_tasks(self._task)
        if spec.stream is not None and spec.attach is not None:
            self._parts.values.release(spec.stream, spec.attach, self._name)
        if self._followed is not None:
            await self._parts.following.release(self._followed)
            self._followed = None
        # A hand that has ended has no inputs; of one that is being ended nobody waits for a word.
        if listened and hand.pid is not None:
            with contextlib.suppress(Unavailable):
                await hand.ask(lambda number: LeaveInput(number=number, input=self._name), _LEAVE_SECONDS)

    async def hand_back(self) -> None:
        """Have the hand listen, which may be another one than before.

        Raises:
            MeshError: it refuses the spec, or is not there.
        """
        if (spec := self._spec) is not None:
            await self._parts.hand.ask(lambda number: Listen(number=number, spec=spec))

    def hand_lost(self, error: MeshError) -> None:
        """Nobody listens, until there is another hand."""
        if self._spec is not None:
            self.hear_state(InputIs(input=self._name, state="failed", error=error.info, dropped=self.actual.dropped))

    # -- what the hand tells ---------------------------------------------------------------------------------

    def hear_state(self, told: InputIs) -> None:
        if self._spec is None:
            return
        before = self.actual
        since_ns = before.since_ns if before.state == told.state else time.time_ns()
        self.actual = msgspec.structs.replace(
            before, state=told.state, error=told.error, since_ns=since_ns, dropped=told.dropped, address=told.address
        )
        if (before.state, before.error) == (told.state, told.error):
            self._changed.set()
        else:
            self._report()

    def hear(self, taken: Taken) -> None:
        """The input has delivered something."""
        spec = self._spec
        if spec is None:
            return
        number = self.actual.events + int(taken.edge)
        self.actual = msgspec.structs.replace(
            self.actual,
            value=taken.value,
            events=number,
            changed_ns=taken.at_ns if taken.edge else self.actual.changed_ns,
        )
        self._changed.set()
        if spec.stream is not None and spec.attach is not None:
            self._parts.values.tell(spec.stream, spec.attach, taken.value, taken.at_ns)
        if not taken.edge:
            return
        self.delays.append((time.time_ns() - taken.at_ns) / NS_PER_SECOND)
        detail = {"value": taken.value, "at_ns": taken.at_ns, "clock": taken.clock, "number": number}
        self._event("edge", detail)
        if self._followed is not None:
            about = {"number": number, "at_ns": taken.at_ns, "value": taken.value}
            self._followed.join(taken.at_ns, partial(self._tell_frame, about))

    def _tell_frame(self, about: dict[str, Any], joined: JoinedFrame | None, why_not: str) -> None:
        self.joined["joined" if joined is not None else "none"] += 1
        if joined is not None:
            self._event("frame", about | msgspec.to_builtins(joined))
        elif self._spec is not None:
            self._event("frame", about | {"stream": self._spec.stream, "why": why_not})

    def _event(self, name: str, detail: dict[str, Any]) -> None:
        # A number is a measurement, and there may be 500 a second: kept, they would push out what was done and why.
        kept = self._spec is None or self._spec.value != "number"
        item = Event(
            service=SERVICE,
            id=self._name,
            event=name,
            node=self._parts.context.node,
            at_ns=time.time_ns(),
            detail=detail,
        )
        self._parts.context.bus.post_event(item, kept=kept)

    # -- what is told of it ----------------------------------------------------------------------------------

    def _report(self) -> None:
        self._parts.reporter.report(self._name, self.actual)

    async def _report_changes(self) -> None:
        never = asyncio.Event()
        while True:
            await self._changed.wait()
            self._changed.clear()
            self._report()
            await set_within(never, _REPORT_SECONDS)


def failed(parts: InputParts) -> Callable[[str, InputSpec, int, ErrorInfo], InputActual]:
    """What is told of an input that could not be started."""

    def actual(name: str, _spec: InputSpec, revision: int, error: ErrorInfo) -> InputActual:
        return InputActual(
            input=name,
            node=parts.context.node,
            revision=revision,
            state="failed",
            since_ns=time.time_ns(),
            error=error,
        )

    return actual
