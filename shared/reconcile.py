"""The owner's side of desired state: make what is asked for run, and say what is.

Each resource has one `Runner`; the reconciler starts it, hands it changed specs, stops it, in order and one step
at a time per resource, and forgets nothing: what fails is reported and tried again, when the spec changes or,
where time may mend it, after a while.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

import msgspec

from schemas.errors import ErrorInfo, InternalError, MeshError, OutOfSpace, TooMany, Unavailable
from schemas.resources import Actual, Spec
from schemas.subjects import ACTUAL_BUCKET, state_key
from shared.backoff import Backoff
from shared.service import Context
from shared.tasks import end_tasks, set_within

if TYPE_CHECKING:
    from shared.desired import Desired

log = logging.getLogger(__name__)
SpecT = TypeVar("SpecT", bound=Spec)
SpecIn = TypeVar("SpecIn", bound=Spec, contravariant=True)
RunnerT = TypeVar("RunnerT", bound="Runner[Any]")

_REPORT_RETRY_SECONDS = 0.5
_STEP_TIMEOUT_SECONDS = 15.0
MENDED_BY_TIME = frozenset({Unavailable.code, OutOfSpace.code, TooMany.code})  # the bus was away, memory was short
"""Codes of errors after which a step is tried again by itself."""


class Runner(Protocol[SpecIn]):
    """One running resource. Methods are awaited one at a time and must not block the event loop."""

    async def start(self, spec: SpecIn, revision: int) -> None: ...

    async def update(self, spec: SpecIn, revision: int) -> bool:
        """Take a changed spec on; False asks to be stopped and started again."""
        ...

    async def stop(self, *, removed: bool = False) -> None:
        """End it. `removed`: nobody wants it any more, so nothing is kept to go on from later."""
        ...


class Reporter:
    """Writes a resource's actual state: the latest wins, transitions become events, the bus may be away."""

    def __init__(self, context: Context[Any], states: str = "") -> None:
        """`states`: how the keys of this kind of resource begin, where a service has several kinds."""
        self._context, self._states_of = context, states or context.service
        self._latest: dict[str, bytes | None] = {}
        self._states: dict[str, tuple[str, ErrorInfo | None]] = {}
        self._filled = asyncio.Event()
        self._written = asyncio.Event()
        self._written.set()
        context.spawn(self._write(), "report")

    def report(self, resource: str, actual: Actual) -> None:
        """Publish `actual`; an event `state` when the state or its error changed."""
        self._latest[resource] = msgspec.json.encode(actual)
        self._written.clear()
        self._filled.set()
        before = self._states.get(resource)
        if before != (actual.state, actual.error):
            self._states[resource] = (actual.state, actual.error)
            self._context.event(resource, "state", state=actual.state, error=actual.error)
            # Once: what fails, fails with every try.
            new = actual.error is not None and (before is None or before[1] != actual.error)
            level = logging.WARNING if new else logging.INFO
            log.log(level, "%s: %s%s", resource, actual.state, f" ({actual.error.message})" if actual.error else "")

    def remove(self, resource: str) -> None:
        """The resource is gone."""
        self._latest[resource] = None
        self._written.clear()
        self._filled.set()
        if self._states.pop(resource, None):
            self._context.event(resource, "removed")

    async def flush(self, timeout_seconds: float = 1.0) -> None:
        """Wait until everything reported is written, or the time is over; not at all while the bus is away."""
        if not self._context.bus.connected:
            return
        await set_within(self._written, timeout_seconds)

    async def _write(self) -> None:
        bucket = await self._context.bus.bucket(ACTUAL_BUCKET)
        while True:
            await self._filled.wait()
            self._filled.clear()
            self._written.clear()
            for resource, data in list(self._latest.items()):
                key = state_key(self._states_of, resource)
                try:
                    await (bucket.delete(key) if data is None else bucket.put(key, data))
                except MeshError as error:
                    log.debug("state of %s not written yet: %s", resource, error)
                    self._filled.set()
                    await asyncio.sleep(_REPORT_RETRY_SECONDS)
                    continue
                if self._latest.get(resource, b"") is data:
                    del self._latest[resource]
            if not self._latest:
                self._written.set()


class Reconciler(Generic[SpecT, RunnerT]):
    """Keeps one runner per wanted resource."""

    def __init__(
        self,
        context: Context[Any],
        reporter: Reporter,
        make: Callable[[str], RunnerT],
        failed: Callable[[str, SpecT, int, ErrorInfo], Actual],
    ) -> None:
        """Args:
        make: a new runner for a resource id.
        failed: the actual state to report when a runner could not be started.
        """
        self._context = context
        self._reporter = reporter
        self._make = make
        self._failed = failed
        self._wanted: dict[str, tuple[SpecT, int]] = {}
        self._workers: dict[str, asyncio.Task[None]] = {}
        self._pokes: dict[str, asyncio.Event] = {}
        self.runners: dict[str, RunnerT] = {}
        """Those that run or are being started."""

    def keep(self, desired: "Desired[SpecT, Any]", wanted: Callable[[], dict[str, tuple[SpecT, int]]]) -> None:
        """Run what `wanted` says, now and after every change of what is asked for; what an earlier run of this service
        left behind, and nobody wants any more, is said to be gone."""
        for resource in desired.leftovers(self._context.node, wanted()):
            self._reporter.remove(resource)

        def changed() -> None:
            self.want(wanted())

        changed()
        self._context.stack.callback(desired.on_changed(changed))

    def want(self, wanted: dict[str, tuple[SpecT, int]]) -> None:
        """This is all that shall run here now: (spec, revision) by id."""
        before, self._wanted = self._wanted, wanted
        for resource in before.keys() | wanted.keys():
            if before.get(resource) != wanted.get(resource):
                self._poke(resource)

    async def close(self) -> None:
        """Stop everything, in parallel."""
        await end_tasks(*self._workers.values())
        await asyncio.gather(*(self._guard(runner.stop()) for runner in self.runners.values()))
        self.runners.clear()

    def _poke(self, resource: str) -> None:
        self._pokes.setdefault(resource, asyncio.Event()).set()
        if resource not in self._workers:
            self._workers[resource] = self._context.spawn(self._work(resource), f"reconcile {resource}")

    async def _work(self, resource: str) -> None:
        """Bring one resource to what is wanted, again and again, until it is not wanted."""
        poke = self._pokes[resource]
        backoff = Backoff()
        retry_seconds: float | None = None
        running: tuple[SpecT, int] | None = None
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(retry_seconds):
                    await poke.wait()
            retry_seconds = None
            poke.clear()
            wanted = self._wanted.get(resource)
            runner = self.runners.get(resource)
            if wanted is None:
                if runner:
                    await self._guard(runner.stop(removed=True))
                    del self.runners[resource]
                self._reporter.remove(resource)
                if not poke.is_set():
                    del self._workers[resource], self._pokes[resource]
                    return
                running = None
                continue
            if runner and running != wanted:
                error, kept = await self._guard(runner.update(*wanted))
                if error is None and kept:
                    running = wanted
                    continue
                await self._guard(runner.stop())
                del self.runners[resource]
                runner = None
            if runner is None:
                runner = self.runners[resource] = self._make(resource)
                error, _ = await self._guard(runner.start(*wanted))
                if error is None:
                    running = wanted
                else:
                    await self._guard(runner.stop())
                    del self.runners[resource]
                    self._reporter.report(resource, self._failed(resource, *wanted, error))
                    if error.code in MENDED_BY_TIME:
                        retry_seconds = backoff.next_seconds()

    async def _guard(self, step: Coroutine[Any, Any, Any]) -> tuple[ErrorInfo | None, Any]:
        """Run one step with a deadline; its error as data, so that one resource never disturbs another."""
        try:
            async with asyncio.timeout(_STEP_TIMEOUT_SECONDS):
                return None, await step
        except MeshError as error:
            return error.info, None
        except TimeoutError:
            return ErrorInfo(code=503, message=f"took longer than {_STEP_TIMEOUT_SECONDS:g} s"), None
        except Exception:  # a bug in one runner: reported as that resource's error, the others go on
            log.exception("reconcile step failed")
            return InternalError("internal error; see the service's log").info, None
