"""One mix's life: its layouts and what they need, its streams, and its end."""

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Final

from schemas.errors import BadRequest, Conflict, ErrorInfo, MeshError, NotFound, TooMany, Unavailable
from schemas.mix_resources import MixActual, MixSpec
from services.cloud_mix_proxy.mixes.endings import Endings
from services.cloud_mix_proxy.mixes.layout import ReadyLayout
from services.cloud_mix_proxy.mixes.mix_process import MixProcess
from services.cloud_mix_proxy.mixes.mix_state import MixStateTeller
from services.cloud_mix_proxy.mixes.parts import MixParts
from services.cloud_mix_proxy.mixes.secrets import unsealed
from services.cloud_mix_proxy.mixes.stills import StillFile, fetch_stills, known_stills
from shared.tasks import end_tasks, set_within, start_task

log = logging.getLogger(__name__)

_PREPARE_SECONDS: Final = 7.0
"""For pictures, secrets and streams of a change. With showing it that is less than the reconciler's 15 s, after which
it would start the mix anew."""
_LOOK_SECONDS: Final = 0.5  # how late an end may be noticed; of what is told in minutes


class MixRunner:
    """See `shared.reconcile.Runner`."""

    def __init__(self, mix: str, parts: MixParts) -> None:
        self._mix, self._parts = mix, parts
        self.state = MixStateTeller(mix, parts)
        self._process = MixProcess(mix, parts, self.state, self._keep)
        self._endings = Endings()
        self._watching: asyncio.Task[None] | None = None

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
        before = before if before is not None and before.node == self._node else None
        self.state.begin(revision, before)
        if len(self._parts.running) >= (most := self._parts.context.settings.max_mixes):
            raise TooMany(f"{most} mixes run on this node; end one, or set FRAMEMESH_CLOUD_MIX_PROXY_MAX_MIXES")
        self._parts.running.add(self._mix)
        try:
            layout, proven = await self._first(spec, revision, before)
        except (BadRequest, Conflict, NotFound):  # the same would happen again: nobody waits for its streams
            await self._parts.made.release(self._mix)
            raise
        await self._parts.kept.keep(self._mix, self._known(layout, *([proven] if proven else [])))
        self._endings.begin(layout.spec, self.state.actual.started_ns)
        self._process.begin(layout, proven)
        self._watching = start_task(self._watch_for_its_end(), f"end of mix {self._mix}")

    async def update(self, spec: MixSpec, revision: int) -> bool:
        """Swap to another layout between two pictures; what fails leaves the old one, and says why.

        False, to be started anew: it has ended, or has failed.
        """
        before = self._process.wanted
        if before is None or not self._process.lives():
            return False
        try:
            async with asyncio.timeout(_PREPARE_SECONDS):
                layout = await self._ready(spec, revision, self._known(before))
                # Those of the old layout stay until it is no longer seen.
                both = before.stream_specs(self._node) | layout.stream_specs(self._node)
                await self._parts.made.want(self._mix, both)
            refused = await self._process.show(layout)
        except MeshError as error:
            refused = error.info
        except TimeoutError:
            refused = Unavailable(f"pictures and streams are not there within {_PREPARE_SECONDS:g} s").info
        if not self._process.lives():
            return False
        if refused is not None:
            await self._keep(self._process.wanted or before, revision, refused)
            return True
        self._endings.change(spec)
        await self._parts.made.want(self._mix, layout.stream_specs(self._node))
        await self._parts.kept.keep(self._mix, self._known(layout))
        return True

    async def stop(self, *, removed: bool = False) -> None:
        """End the process; of a mix that is removed the streams go too."""
        self._parts.running.discard(self._mix)
        await end_tasks(*([self._watching] if self._watching else []))
        await self._process.end()
        if removed:
            await self._parts.made.release(self._mix)
        elif self._watching is not None:  # of one that could not be started, what it had made is still to go
            self._parts.made.forget(self._mix)

    @property
    def _node(self) -> str:
        return self._parts.context.node

    async def _first(
        self, spec: MixSpec, revision: int, before: MixActual | None
    ) -> tuple[ReadyLayout, ReadyLayout | None]:
        """What to show, and what was seen before the service began where that is something else."""
        known = await self._parts.kept.read(self._mix)
        proven = await self._seen_before(revision, before, known)
        try:
            layout = await self._ready(spec, revision, known)
            await self._parts.made.want(self._mix, layout.stream_specs(self._node))
        except MeshError as error:
            if proven is None:
                raise
            await self._keep(proven, revision, error.info)
            return proven, proven
        return layout, proven

    async def _seen_before(
        self, revision: int, before: MixActual | None, known: dict[str, StillFile]
    ) -> ReadyLayout | None:
        """The layout that was seen when the service ended, of a mix whose newest was refused or not shown yet."""
        if before is None or before.state == "ended" or before.applied_revision in (0, revision):
            return None
        try:
            found = await self._parts.mixes.read(self._mix, before.applied_revision)
            return await self._ready(found[0], found[1], known) if found else None
        except MeshError as error:
            log.info("%s: what was seen cannot be seen again: %s", self._mix, error.message)
            return None

    async def _ready(self, spec: MixSpec, revision: int, known: dict[str, StillFile]) -> ReadyLayout:
        full = await unsealed(self._parts.context.bus, spec)
        stills = await fetch_stills(full, self._parts.context.settings, known)
        return ReadyLayout(full, revision, stills)

    def _known(self, *layouts: ReadyLayout) -> dict[str, StillFile]:
        settings = self._parts.context.settings
        return {name: still for one in layouts for name, still in known_stills(one.spec, settings, one.stills).items()}

    async def _keep(self, before: ReadyLayout, revision: int, error: ErrorInfo) -> None:
        self._parts.counts.failed_updates += 1
        self.state.refused = error
        self.state.tell(revision=revision, error=error)
        self.state.event("update-failed", error=error, revision=revision)
        try:
            await self._parts.made.want(self._mix, before.stream_specs(self._node))
        except MeshError as failure:  # the new address took the old one's place, and now that one is refused
            log.warning("%s: an input is not as it was: %s", self._mix, failure)

    # -- its end ---------------------------------------------------------------------------------------------

    async def _watch_for_its_end(self) -> None:
        never = asyncio.Event()
        while True:
            await set_within(never, _LOOK_SECONDS)
            actual = self.state.actual
            self._endings.started_ns = actual.started_ns
            streams = [one for one in actual.inputs if one.stream]
            # Before its process has shown something nobody knows; one of still pictures alone loses none.
            live = not streams or any(one.state == "live" for one in streams)
            reason = self._endings.reason(live=live, now_ns=time.time_ns(), now=time.monotonic())
            if reason is not None:
                await self._end(reason)
                return

    async def _end(self, reason: ErrorInfo) -> None:
        self._parts.counts.ended += 1
        self._parts.running.discard(self._mix)
        await self._process.end()
        self.state.tell(state="ended", error=reason, fps=0.0)
        self.state.event("mix-ended", error=reason)
        try:
            await self._parts.made.want(self._mix, {})
        except MeshError as error:  # they go as soon as capture answers
            log.info("%s: %s", self._mix, error)


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
