"""A rendition whose packets an application makes out of another one's; see `shared.clients.transforming`.

Nothing is encoded here: hw-encode keeps the rendition's place in the mesh, passes requests for key pictures on to where
its packets begin, and takes it away when the application is gone. That is seen at the application's packet ring: its
writer's lock, which the kernel drops when the application dies.
"""

import asyncio
import logging
import time
from typing import Any, Final

import msgspec

from schemas.commands import KeyFrameReply, KeyFrameRequest
from schemas.encoding import CODEC_RENDITIONS
from schemas.errors import Conflict, InvalidValue, MeshError, NotFound
from schemas.ids import compound_id, split_compound_id
from schemas.resources import RenditionActual, RenditionSpec
from schemas.subjects import DEFAULT_RENDITION, SOURCE_RENDITION, command
from services.hw_encode.settings import HwEncodeSettings
from shared.bus import Endpoint, Served
from shared.desired import Desired
from shared.packet_ring import sweep, writers_of
from shared.reconcile import Reporter
from shared.service import VERSION, Context
from shared.tasks import end_tasks

log = logging.getLogger(__name__)

Renditions = Desired[RenditionSpec, RenditionActual]

_LOOK_SECONDS: Final = 0.5  # the kernel drops a lock without a word; a look costs some 50 microseconds
_GONE_AFTER_SECONDS: Final = 1.0  # an application that is started again at once finds its place
_PASS_ON_SECONDS: Final = 2.0  # who asked waits no longer
_MADE_ON_DEMAND: Final = (DEFAULT_RENDITION, *CODEC_RENDITIONS)


async def check_made_from(spec: RenditionSpec, renditions: Renditions) -> None:
    """Refuse a rendition that can come from nowhere, and one that would have two producers.

    Raises:
        InvalidValue: a name that encoders have, or renditions that are made from one another.
        NotFound: there is no rendition to make it from.
        Conflict: the name belongs to an encoder, or to an application.
    """
    before = await renditions.find(compound_id(spec.stream, spec.rendition))
    if before is not None and (before[0].made_from is None) != (spec.made_from is None):
        whose = "an encoder" if before[0].made_from is None else "an application"
        raise Conflict(f"{spec.stream}/{spec.rendition} is made by {whose}; choose another name, or stop it first")
    if spec.made_from is None:
        return
    if spec.rendition in _MADE_ON_DEMAND:
        raise InvalidValue("rendition", spec.rendition, "encoders make this one on demand; choose another name")
    if spec.made_from not in (SOURCE_RENDITION, *_MADE_ON_DEMAND):
        if await renditions.find(compound_id(spec.stream, spec.made_from)) is None:
            raise NotFound(f"{spec.stream} has no rendition {spec.made_from!r}; make it first")
        origin_of(spec, renditions)


def origin_of(spec: RenditionSpec, renditions: Renditions) -> str:
    """The rendition of the source or an encoder that an application's packets come from, through others if need be.

    Raises:
        InvalidValue: it is made from itself.
    """
    seen, name = {spec.rendition}, spec.made_from or spec.rendition
    while name not in seen:
        seen.add(name)
        found = renditions.spec(compound_id(spec.stream, name)) if name != SOURCE_RENDITION else None
        if found is None or found[0].made_from is None:
            return name
        name = found[0].made_from
    raise InvalidValue("made_from", spec.made_from, f"{name} is made from itself then; begin with source or main")


class ApplicationRendition:
    """Runs one as far as hw-encode does; see `shared.reconcile.Runner`."""

    pipeline: Final = None

    def __init__(
        self, rendition_id: str, context: Context[HwEncodeSettings], reporter: Reporter, renditions: Renditions
    ) -> None:
        self._id = rendition_id
        self._context, self._reporter, self._renditions = context, reporter, renditions
        self._spec: RenditionSpec | None = None
        self._actual: RenditionActual | None = None
        self._served: Served | None = None
        self._task: asyncio.Task[Any] | None = None
        self._wanted = False

    async def start(self, spec: RenditionSpec, revision: int) -> None:
        """Answer for it, and watch its writer."""
        self._spec = spec
        self._actual = RenditionActual(
            stream=spec.stream,
            rendition=spec.rendition,
            node=self._context.node,
            revision=revision,
            state=self._state,
            since_ns=time.time_ns(),
            encoder="application",
            encoder_reason=f"an application makes it from {spec.made_from}",
        )
        self._reporter.report(self._id, self._actual)
        self._served = await self._context.bus.serve(
            "hw-encode",
            VERSION,
            f"Commands of rendition {self._id}.",
            [Endpoint(command("hw-encode", "keyframe", self._id), KeyFrameRequest, KeyFrameReply, self._key_frame)],
            {"rendition": self._id},
        )
        self._task = self._context.spawn(self._watch(), f"rendition {self._id}")

    async def update(self, spec: RenditionSpec, revision: int) -> bool:
        """Another application, or the same one again."""
        if spec.made_from is None or self._spec is None or spec.made_from != self._spec.made_from:
            return False
        self._spec = spec
        self._report(revision=revision)
        return True

    async def stop(self, *, removed: bool = False) -> None:
        if self._task:
            await end_tasks(self._task)
        if self._served:
            await self._served.close()

    def set_demand(self, wanted: bool) -> None:
        """Shown in the state; the application sees the demand itself."""
        self._wanted = wanted
        if self._actual is not None and self._actual.state != self._state:
            self._report(state=self._state, since_ns=time.time_ns())

    @property
    def _state(self) -> Any:
        return "running" if self._wanted else "idle"

    def _report(self, **changes: Any) -> None:
        if self._actual is not None:
            self._actual = msgspec.structs.replace(self._actual, **changes)
            self._reporter.report(self._id, self._actual)

    async def _key_frame(self, request: KeyFrameRequest) -> KeyFrameReply:
        """Raises: Conflict: the source's key pictures come when they come."""
        spec = self._spec
        if spec is None:
            raise Conflict(f"{self._id} has not begun yet")
        origin = origin_of(spec, self._renditions)
        subject = (
            command("capture", "keyframe", spec.stream)
            if origin == SOURCE_RENDITION
            else command("hw-encode", "keyframe", compound_id(spec.stream, origin))
        )
        return await self._context.bus.request(subject, request, KeyFrameReply, _PASS_ON_SECONDS)

    async def _watch(self) -> None:
        stream, rendition = split_compound_id(self._id)
        written_at = time.monotonic()
        while True:
            if await asyncio.to_thread(writers_of, self._context.settings.shm_dir, stream, rendition):
                written_at = time.monotonic()
            elif time.monotonic() - written_at >= _GONE_AFTER_SECONDS:
                await self._remove()
            await asyncio.sleep(_LOOK_SECONDS)

    async def _remove(self) -> None:
        """The application is gone; another one that has come meanwhile has another revision."""
        assert self._actual is not None  # start() has set it
        await asyncio.to_thread(sweep, self._context.settings.shm_dir)  # the ring of one that was killed
        try:
            if await self._renditions.remove(self._id, self._actual.revision):
                log.info("%s is removed: its application is gone", self._id)
        except MeshError as error:  # the bus is away, or it was changed: looked at again
            log.debug("%s is not removed yet: %s", self._id, error)
