"""One mix's life: its layout, its streams, and the process that makes its pictures, started again when it dies."""

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Any, Final

from schemas.errors import BadRequest, Conflict, ErrorInfo, MeshError, TooMany, Unavailable
from schemas.mix_resources import MixActual, MixSpec
from services.cloud_mix_proxy.mixer.protocol import (
    EXIT_SUPERSEDED,
    Applied,
    FromMixer,
    Refused,
    Report,
)
from services.cloud_mix_proxy.mixes.endings import Endings
from services.cloud_mix_proxy.mixes.layout import ReadyLayout
from services.cloud_mix_proxy.mixes.mix_state import MixStateTeller
from services.cloud_mix_proxy.mixes.mixer_child import MixerChild, why_it_ended
from services.cloud_mix_proxy.mixes.parts import MixParts
from services.cloud_mix_proxy.mixes.secrets import unsealed
from services.cloud_mix_proxy.mixes.stills import StillFile, fetch_stills
from shared.backoff import Backoff
from shared.tasks import end_tasks, set_within, start_task

log = logging.getLogger(__name__)

_SHOW_SECONDS: Final = 6.0  # to decode 16 still pictures of 20 MB; a step of the reconciler has 15 s in all
_LOOK_SECONDS: Final = 0.5  # how late an end may be noticed; of what is told in minutes


class MixRunner:
    """See `shared.reconcile.Runner`."""

    def __init__(self, mix: str, parts: MixParts) -> None:
        self._mix, self._parts = mix, parts
        self.state = MixStateTeller(mix, parts)
        self._seen: ReadyLayout | None = None
        """What the process shows, or shall show when it is started again."""
        self._asked: ReadyLayout | None = None
        self._answered: asyncio.Future[Applied | Refused] | None = None
        self._showing = asyncio.Lock()
        self._child: MixerChild | None = None
        self._endings = Endings()
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def pid(self) -> int | None:
        """Of the process, while it runs."""
        return self._child.pid if self._child else None

    # -- the reconciler's side -------------------------------------------------------------------------------

    async def start(self, spec: MixSpec, revision: int) -> None:
        """Bring everything here that the layout needs, then start the process.

        Raises:
            TooMany: no more of them on this node.
            MeshError: a source that cannot be had, or a stream of another owner.
        """
        before = self._parts.mixes.actual(self._mix)
        if before is not None and before.state == "ended" and before.revision == revision:
            await self._parts.made.want(self._mix, {})
            self.state.actual = before
            self.state.tell()
            return
        self.state.begin(revision, before if before is not None and before.node == self._parts.context.node else None)
        if len(self._parts.running) >= (most := self._parts.context.settings.max_mixes):
            raise TooMany(f"{most} mixes run on this node; end one, or set FRAMEMESH_CLOUD_MIX_PROXY_MAX_MIXES")
        self._parts.running.add(self._mix)
        layout = await self._ready(spec, revision, {})
        await self._parts.made.want(self._mix, layout.stream_specs(self._parts.context.node))
        self._seen = layout
        self._endings.begin(spec, self.state.actual.started_ns)
        name = f"mix {self._mix}"
        self._tasks = [start_task(self._supervise(), name), start_task(self._watch_for_its_end(), f"end of {name}")]

    async def update(self, spec: MixSpec, revision: int) -> bool:
        """Swap to another layout between two pictures; what fails leaves the old one, and says why.

        False, to be started anew: it has ended, or never got so far as to show something.
        """
        before = self._seen
        if before is None or self.state.actual.state in ("ended", "failed"):
            return False
        if self.state.actual.applied_revision == 0:  # nothing is seen yet that could be kept
            return False
        try:
            layout = await self._ready(spec, revision, before.stills)
            node = self._parts.context.node
            # Those of the old layout stay until it is no longer seen.
            await self._parts.made.want(self._mix, before.stream_specs(node) | layout.stream_specs(node))
            refused = await self._show(layout)
        except MeshError as error:
            refused = error.info
        if refused is not None:
            await self._keep(before, revision, refused)
            return True
        self._endings.change(spec)
        await self._parts.made.want(self._mix, layout.stream_specs(self._parts.context.node))
        return True

    async def stop(self, *, removed: bool = False) -> None:
        """End the process; of a mix that is removed the streams go too."""
        self._parts.running.discard(self._mix)
        await end_tasks(*self._tasks)
        if self._child is not None:
            await self._child.stop()
            self._child = None
        if removed:
            await self._parts.made.release(self._mix)
        else:
            self._parts.made.forget(self._mix)

    async def _ready(self, spec: MixSpec, revision: int, known: dict[str, StillFile]) -> ReadyLayout:
        full = await unsealed(self._parts.context.bus, spec)
        stills = await fetch_stills(full, self._parts.context.settings, known)
        return ReadyLayout(full, revision, stills)

    async def _keep(self, before: ReadyLayout, revision: int, error: ErrorInfo) -> None:
        self._parts.counts.failed_updates += 1
        self.state.refused = error
        self.state.tell(revision=revision, error=error)
        self.state.event("update-failed", error=error, revision=revision)
        try:
            await self._parts.made.want(self._mix, before.stream_specs(self._parts.context.node))
        except MeshError as failure:  # the new address took the old one's place, and now that one is refused
            log.warning("%s: an input is not as it was: %s", self._mix, failure)

    # -- the process -----------------------------------------------------------------------------------------

    async def _show(self, layout: ReadyLayout) -> ErrorInfo | None:
        """Have the process show a layout; why it does not.

        Raises:
            Unavailable: it takes nothing, or does not answer.
        """
        async with self._showing:
            return await self._show_alone(layout)

    async def _show_alone(self, layout: ReadyLayout) -> ErrorInfo | None:
        before, child = self._seen, self._child
        assert before is not None  # it has been started
        self.state.refused = None
        if child is None or self.state.actual.state != "running":  # it is being started again, with this one
            self._seen = layout
            self.state.tell(revision=layout.revision, error=None)
            return None
        answered = self._expect(layout)
        try:
            await child.send(*layout.files(before.digests), layout.message())
            async with asyncio.timeout(_SHOW_SECONDS):
                answer = await answered
        except TimeoutError:
            raise Unavailable(f"{self._mix}: its process does not take the layout within {_SHOW_SECONDS:g} s") from None
        finally:
            self._answered = None
        if isinstance(answer, Refused):
            return answer.error
        self._seen = layout
        self.state.shown(layout, answer.boxes)
        return None

    def _expect(self, layout: ReadyLayout) -> "asyncio.Future[Applied | Refused]":
        self._asked = layout
        self._answered = asyncio.get_running_loop().create_future()
        return self._answered

    def _hear(self, message: FromMixer) -> None:
        if isinstance(message, Report):
            if self.state.actual.state == "running":
                self.state.take(message)
        elif isinstance(message, Applied | Refused):
            waiting = self._answered
            if waiting is not None and not waiting.done() and self._asked and self._asked.revision == message.revision:
                waiting.set_result(message)

    async def _supervise(self) -> None:
        """Keep a process running that shows the layout, until cancelled or there is no use in it."""
        backoff = Backoff()
        while True:
            child = MixerChild(self._parts.setup(self._mix), self._hear)
            error = await self._run(child, backoff)
            self._child = None
            if isinstance(error, BadRequest | Conflict):  # the same would happen again
                self.state.tell(state="failed", error=error.info)
                return
            self._parts.counts.restarts += 1
            delay_seconds = backoff.next_seconds()
            log.warning("%s: %s", self._mix, error.message)
            self.state.tell(state="starting", error=error.info, restarts=self.state.actual.restarts + 1)
            if backoff.failures > 1:  # who worked for a while is started again at once
                await asyncio.sleep(delay_seconds)

    async def _run(self, child: MixerChild, backoff: Backoff) -> MeshError:
        """One process from its start to its end; why it ended."""
        layout = self._seen
        assert layout is not None  # start() has set it
        ending: asyncio.Task[int] | None = None
        try:
            await child.start()
            self._child = child
            ending = asyncio.create_task(child.ended())
            answered = self._expect(layout)
            await child.send(*layout.files(), layout.message())
            async with asyncio.timeout(_SHOW_SECONDS):
                waited: list[asyncio.Future[Any]] = [answered, ending]
                await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
            self._answered = None
            if answered.done():
                answer = answered.result()
                if isinstance(answer, Refused):
                    return BadRequest(answer.error.message)
                self.state.shown(layout, answer.boxes)
                backoff.succeeded()
                await self._catch_up(layout)
            return _error_of(await ending, child)
        except TimeoutError:
            return Unavailable(f"the mix's process shows nothing within {_SHOW_SECONDS:g} s")
        except Unavailable as error:
            return error
        finally:
            await child.stop()
            if ending is not None:
                await end_tasks(ending)

    async def _catch_up(self, shown: ReadyLayout) -> None:
        """Show what was asked for while the process was being started."""
        newest, self._seen = self._seen, shown
        if newest is not None and newest is not shown and (refused := await self._show(newest)) is not None:
            await self._keep(shown, newest.revision, refused)

    # -- its end ---------------------------------------------------------------------------------------------

    async def _watch_for_its_end(self) -> None:
        never = asyncio.Event()
        while True:
            await set_within(never, _LOOK_SECONDS)
            actual = self.state.actual
            self._endings.started_ns = actual.started_ns
            live = any(one.state == "live" for one in actual.inputs if one.stream)
            still_only = bool(actual.inputs) and not any(one.stream for one in actual.inputs)
            reason = self._endings.reason(live=live or still_only, now_ns=time.time_ns(), now=time.monotonic())
            if reason is not None:
                await self._end(reason)
                return

    async def _end(self, reason: ErrorInfo) -> None:
        self._parts.counts.ended += 1
        self._parts.running.discard(self._mix)
        await end_tasks(self._tasks[0])
        if self._child is not None:
            await self._child.stop()
            self._child = None
        self.state.tell(state="ended", error=reason, fps=0.0)
        self.state.event("mix-ended", error=reason)
        try:
            await self._parts.made.want(self._mix, {})
        except MeshError as error:  # they go as soon as capture answers
            log.info("%s: %s", self._mix, error)


def _error_of(code: int, child: MixerChild) -> MeshError:
    text = why_it_ended(code, child.last_line)
    return Conflict(f"{text}: another writer has the stream") if code == EXIT_SUPERSEDED else Unavailable(text)


def failed(parts: MixParts) -> Callable[[str, MixSpec, int, ErrorInfo], MixActual]:
    """What is told of a mix that could not be started."""

    def actual(mix: str, _spec: MixSpec, revision: int, error: ErrorInfo) -> MixActual:
        before = parts.mixes.actual(mix)
        return MixActual(
            mix=mix,
            node=parts.context.node,
            revision=revision,
            state="failed",
            since_ns=time.time_ns(),
            error=error,
            started_ns=before.started_ns if before is not None else 0,  # its time goes on
        )

    return actual
