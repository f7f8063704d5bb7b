"""The owner's side of desired state: make what is asked for run, and say what is.

Each resource has one `Runner`; the reconciler starts it, hands it changed specs, stops it, in order and one step
at a time per resource, and forgets nothing: what fails is reported and tried again, when the spec changes or,
where time may mend it, after a while.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Collection, Coroutine
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

import msgspec

from schemas.errors import ErrorInfo, InternalError, MeshError, OutOfSpace, TooMany, Unavailable
from schemas.resources import Actual, Spec
from schemas.subjects import ACTUAL_BUCKET, state_key
from schemas.trace import read_traceparent
from shared.backoff import Backoff
from shared.cause import Cause, begin, doing, set_current, tell
from shared.desired import is_on_its_way
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
_STORY_ENDS_SECONDS = 1.0  # after it has settled: what its last step told in passing comes within that
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


def _group(resource: str) -> str:
    """What goes from one instance to another together: a stream with all that is made of it."""
    return resource.partition("--")[0]


class Reporter:
    """Writes a resource's actual state: the latest wins, transitions become events, the bus may be away."""

    def __init__(self, context: Context[Any], states: str = "") -> None:
        """`states`: how the keys of this kind of resource begin, where a service has several kinds."""
        self._context, self.states_of = context, states or context.service
        self._latest: dict[str, bytes | None] = {}
        self._states: dict[str, tuple[str, ErrorInfo | None]] = {}
        self._kinds: dict[str, str] = {}
        self._causes: dict[str, tuple[Cause, int]] = {}
        """Why resources are being changed, and the revision that asks for it; of settled ones none."""
        self._filled = asyncio.Event()
        self._written = asyncio.Event()
        self._written.set()
        context.spawn(self._write(), "report")

    def report(self, resource: str, actual: Actual) -> None:
        """Publish `actual`; an event `state` when the state or its error changed."""
        self._latest[resource] = msgspec.json.encode(actual)
        self._written.clear()
        self._filled.set()
        self._count(resource, actual)
        before = self._states.get(resource)
        cause, revision = self._causes.get(resource, (None, 0))
        if before != (actual.state, actual.error):
            self._states[resource] = (actual.state, actual.error)
            with doing(cause) if cause else contextlib.nullcontext():
                self._context.event(resource, "state", state=actual.state, error=actual.error)
                # Once: what fails, fails with every try.
                new = actual.error is not None and (before is None or before[1] != actual.error)
                level = logging.WARNING if new else logging.INFO
                shown = f" ({actual.error.message})" if actual.error else ""
                log.log(level, "%s: %s%s", resource, actual.state, shown)
        if cause and actual.revision >= revision and not is_on_its_way(actual):
            self._settled(resource, cause, actual.state, actual.error)

    def forget(self, resource: str) -> None:
        """From now on somebody else reports it."""
        self._latest.pop(resource, None)
        self._states.pop(resource, None)
        self._causes.pop(resource, None)
        self._context.states.pop((self._kinds.pop(resource, ""), resource), None)

    def remove(self, resource: str) -> None:
        """The resource is gone."""
        self._latest[resource] = None
        self._written.clear()
        self._filled.set()
        self._context.states.pop((self._kinds.pop(resource, ""), resource), None)
        cause, _ = self._causes.get(resource, (None, 0))
        if self._states.pop(resource, None):
            with doing(cause) if cause else contextlib.nullcontext():
                self._context.event(resource, "removed")
        if cause:
            self._settled(resource, cause, "removed", None)

    def because(self, resource: str, cause: Cause | None, revision: int = 0) -> None:
        """What is reported from now on was caused by this, until the state settles at or after `revision`."""
        self._causes.pop(resource, None)
        if cause is not None:
            self._causes[resource] = (cause, revision)

    def _settled(self, resource: str, cause: Cause, state: str, error: ErrorInfo | None) -> None:
        del self._causes[resource]
        # What happens later was not asked for, also where a task still carries this.
        cause.until_s = min(cause.until_s, time.monotonic() + _STORY_ENDS_SECONDS)
        service = self._context.service
        told = error.message if error else ""
        tell(cause, f"{service} {state}", "consumer", told, resource=resource, node=self._context.node)

    def _count(self, resource: str, actual: Actual) -> None:
        """For Prometheus, what kind of thing it is and the stream that it is of; a mix ends as a stream of its name."""
        kind = self._kinds[resource] = type(actual).__name__.removesuffix("Actual").lower()
        stream = getattr(actual, "stream", "") or getattr(actual, "mix", "")
        self._context.states[kind, resource] = stream, actual.state

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
                key = state_key(self.states_of, resource)
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
        self._desired: Desired[SpecT, Any] | None = None
        self._asked: dict[str, tuple[SpecT, int]] = {}
        """What the node shall run; of that, what this instance runs:"""
        self._wanted: dict[str, tuple[SpecT, int]] = {}
        self._on_mine: Callable[[Collection[str]], None] | None = None
        share = context.share
        self._portion = share.portion(reporter.states_of, lambda: self.want(self._asked)) if share else None
        self._workers: dict[str, asyncio.Task[None]] = {}
        self._pokes: dict[str, asyncio.Event] = {}
        self.runners: dict[str, RunnerT] = {}
        """Those that run or are being started."""

    def keep(
        self,
        desired: "Desired[SpecT, Any]",
        wanted: Callable[[], dict[str, tuple[SpecT, int]]],
        mine: Callable[[Collection[str]], None] | None = None,
    ) -> None:
        """Run what `wanted` says of the node, now and after every change of what is asked for, or this instance's share
        of it, which `mine` is told of; what an earlier run of this service left behind, and nobody wants any more, is
        said to be gone."""
        self._on_mine = mine
        self._desired = desired
        for resource in desired.leftovers(self._context.node, wanted()):
            if self._portion is None or not self._portion.elsewhere(_group(resource)):
                self._reporter.remove(resource)

        def changed() -> None:
            self.want(wanted())

        changed()
        self._context.stack.callback(desired.on_changed(changed))

    def want(self, wanted: dict[str, tuple[SpecT, int]]) -> None:
        """This is all that shall run on this node now: (spec, revision) by id."""
        self._asked = wanted
        if self._portion is not None:
            groups = self._portion.choose({_group(resource) for resource in wanted})
            wanted = {resource: asked for resource, asked in wanted.items() if _group(resource) in groups}
        before, self._wanted = self._wanted, wanted
        if self._on_mine is not None:
            self._on_mine(wanted)
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
        known: tuple[SpecT, int] | None = None
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(retry_seconds):
                    await poke.wait()
            retry_seconds = None
            poke.clear()
            wanted = self._wanted.get(resource)
            runner = self.runners.get(resource)
            if wanted != known:
                known = wanted
                await self._ask_why(resource, wanted[1] if wanted else None)
            if wanted is None:
                moved = resource in self._asked
                if runner:
                    await self._guard(runner.stop(removed=not moved))
                    del self.runners[resource]
                if moved:
                    await self._reporter.flush()  # nothing of ours may come after what the next one reports
                    self._reporter.forget(resource)
                else:
                    self._reporter.remove(resource)
                if not poke.is_set():
                    del self._workers[resource], self._pokes[resource]
                    self._let_go(resource)
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

    async def _ask_why(self, resource: str, revision: int | None) -> None:
        """Go on with the story of who asked for it; None: for its removal."""
        kept = await self._desired.cause(resource, revision) if self._desired else ""
        parent = read_traceparent(kept)
        cause = begin(parent) if parent else None
        self._reporter.because(resource, cause, revision or 0)
        set_current(cause)

    def _let_go(self, resource: str) -> None:
        """Another instance may have the group of what has ended here, once the last of it has."""
        group = _group(resource)
        if self._portion is not None and not any(_group(other) == group for other in self._workers):
            self._portion.release(group)

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
