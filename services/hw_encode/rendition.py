"""One rendition's life: idle until somebody wants it, then encoding, then idle again."""

import asyncio
import contextlib
import logging
import time
from typing import Any

import msgspec

from schemas.commands import KeyFrameReply, KeyFrameRequest, RenditionStats, RenditionStatsRequest
from schemas.errors import MeshError, OutOfSpace
from schemas.resources import RenditionActual, RenditionSpec, VideoInfo
from schemas.subjects import command
from services.hw_encode.encoders import Choice
from services.hw_encode.pipeline import Parts, Pipeline
from services.hw_encode.rates import Rate
from shared.backoff import Backoff
from shared.bus import Endpoint, Served
from shared.epochs import next_epoch
from shared.reconcile import Reporter
from shared.service import VERSION
from shared.tasks import end_tasks, set_within

log = logging.getLogger(__name__)

# With any value: two specs that are equal then need no other run.
_CHANGEABLE: dict[str, Any] = dict.fromkeys(
    (
        *(
            "bitrate",
            "rate_control",
            "quality",
            "max_bitrate",
            "key_interval",
            "fps",
            "encoder",
            "preset",
            "size",
            "fit",
        ),
        *("b_frames", "queue", "when_full", "always", "history"),
    )
)


class RenditionRunner:
    """Runs one rendition as its spec says; see `shared.reconcile.Runner`."""

    def __init__(self, rendition_id: str, reporter: Reporter, parts: Parts) -> None:
        self._id = rendition_id
        self._reporter = reporter
        self._parts = parts
        self._context = parts.context
        self._loop = asyncio.get_running_loop()
        self._spec: RenditionSpec | None = None
        self._actual: RenditionActual | None = None
        self._served: Served | None = None
        self._demand_changed = asyncio.Event()
        self._wanted = False
        self._encoder_of_run = ""
        self._task: asyncio.Task[Any] | None = None
        self.pipeline: Pipeline | None = None

    @property
    def choice(self) -> tuple[str, bool] | None:
        """The encoder in use and whether it is hardware; None: nothing is encoded."""
        actual = self._actual
        return (actual.encoder, actual.hardware) if self.pipeline and actual and actual.encoder else None

    # -- the reconciler's side -------------------------------------------------------------------------------

    async def start(self, spec: RenditionSpec, revision: int) -> None:
        self._spec = spec
        self._actual = RenditionActual(
            stream=spec.stream,
            rendition=spec.rendition,
            node=self._context.node,
            revision=revision,
            state="idle",
            since_ns=time.time_ns(),
            bitrate=Rate.of(spec).bitrate,
        )
        self._reporter.report(self._id, self._actual)
        self._served = await self._context.bus.serve(
            "hw-encode",
            VERSION,
            f"Commands of rendition {self._id}.",
            [
                Endpoint(command("hw-encode", "keyframe", self._id), KeyFrameRequest, KeyFrameReply, self._key_frame),
                Endpoint(command("hw-encode", "stats", self._id), RenditionStatsRequest, RenditionStats, self._stats),
            ],
            {"rendition": self._id},
        )
        self._task = self._context.spawn(self._follow_demand(), f"rendition {self._id}")

    async def update(self, spec: RenditionSpec, revision: int) -> bool:
        """Viewers and recordings carry on through a changed encoder; another codec or sound means another run."""
        before = self._spec
        if before is None or self._actual is None or _fixed(before) != _fixed(spec):
            return False
        changes: dict[str, Any] = {"revision": revision, "bitrate": Rate.of(spec).bitrate}
        if self.pipeline:
            try:
                await self.pipeline.change(spec, self._context.settings)
            except OutOfSpace as error:  # it goes on as it was, and says why
                self._report(revision=revision, error=error.info)
                return True
            if before != spec and self._actual.state == "failed":  # whether it still does, the next picture shows
                changes |= {"state": "starting", "error": None}
        if before.queue != spec.queue:
            changes["queue"] = spec.queue
        self._spec = spec
        self._report(**changes)
        self._demand_changed.set()  # `always` and `history` count as demand
        return True

    async def stop(self, *, removed: bool = False) -> None:
        if self._task:
            await end_tasks(self._task)
        if self._served:
            await self._served.close()
        await self._close_pipeline()
        if removed and self._spec:
            self._parts.latency.forget(self._spec)

    def set_demand(self, wanted: bool) -> None:
        """Somebody wants this rendition, or nobody does."""
        if wanted != self._wanted:
            self._wanted = wanted
            self._demand_changed.set()

    async def _stats(self, _request: RenditionStatsRequest) -> RenditionStats:
        assert self._spec is not None
        stats = RenditionStats(
            stream=self._spec.stream, rendition=self._spec.rendition, at_ns=time.time_ns(), running=False
        )
        if (pipeline := self.pipeline) is None:
            return stats
        counts, inbox = pipeline.video.counts, pipeline.video.inbox
        dropped = {
            "fps-limit": counts.left_out,
            "queue": sum(inbox.dropped.values()),
            "missed": counts.missed + inbox.missed,
            "lost": counts.lost,
        }
        return msgspec.structs.replace(
            stats,
            running=True,
            run=self._actual.run if self._actual else 0,
            pictures=counts.encoded,
            key_pictures=counts.key_frames,
            bytes=pipeline.publisher.published_bytes,
            dropped={reason: count for reason, count in dropped.items() if count},
        )

    async def _key_frame(self, _request: KeyFrameRequest) -> KeyFrameReply:
        return KeyFrameReply(forced=bool(self.pipeline and self.pipeline.video.request_key_frame()))

    # -- demand ----------------------------------------------------------------------------------------------

    async def _follow_demand(self) -> None:
        backoff = Backoff()
        while True:
            self._demand_changed.clear()
            wait_seconds: float | None = None
            if self._needed and self.pipeline is None:
                try:
                    await self._open_pipeline()
                    backoff.reset()
                except MeshError as error:
                    self._report(state="failed", error=error.info)
                    wait_seconds = backoff.next_seconds()
            elif self.pipeline and not self._needed:
                wait_seconds = self._context.settings.idle_seconds
            if not await set_within(self._demand_changed, wait_seconds) and self.pipeline and not self._needed:
                await self._close_pipeline()
                self._report(state="idle", error=None, tracks=())

    @property
    def _needed(self) -> bool:
        spec = self._spec
        return self._wanted or (spec is not None and (spec.always or spec.history is not None))

    async def _open_pipeline(self) -> None:
        """Start encoding, as the spec says by then.

        Raises:
            OutOfSpace: shared memory is too small for the packet ring.
            Unavailable: the bus does not answer.
        """
        assert self._spec is not None  # start() has set it
        spec = self._spec
        run = await next_epoch(self._context.bus, self._id)
        self.pipeline = pipeline = await Pipeline.open(self._parts, spec, run, self)
        self._encoder_of_run = ""
        self._report(state="starting", error=None, run=run, queue=spec.queue)
        pipeline.start()
        try:
            while pipeline.spec != self._spec:  # it has changed meanwhile, when there was nobody to tell
                await pipeline.change(self._spec, self._context.settings)
        except OutOfSpace as error:
            self._report(error=error.info)

    async def _close_pipeline(self) -> None:
        if self.pipeline:
            await self.pipeline.close()
            self.pipeline = None
            self._parts.reader.trim()  # a mapping keeps a removed ring's memory

    # -- state -----------------------------------------------------------------------------------------------

    def running(self, run: int, choice: Choice, info: VideoInfo) -> None:
        """From the video thread: an encoder has been opened."""
        self._from_thread(run, None, **_running(choice, info))

    def failed(self, run: int, spec: RenditionSpec, error: MeshError) -> None:
        """From the video thread: no encoder works for `spec`."""
        self._from_thread(run, spec, state="failed", error=error.info)

    def restarted(self, choice: Choice, why: str) -> None:
        """From the video thread: the encoder's process has died, and the same encoder runs in another."""
        detail = {"encoder": choice.kind.name, "reason": why}
        with contextlib.suppress(RuntimeError):  # the loop has ended: nobody is left to hear it
            self._loop.call_soon_threadsafe(lambda: self._context.event(self._id, "encoder-restarted", detail=detail))

    def queue_bound(self, queue: int) -> None:
        """Fewer pictures can wait than asked for."""
        log.warning(
            "%s: only %d pictures can wait, as the stream's ring has no more slots to spare: make it larger "
            "(FRAMEMESH_CAPTURE_RING_SLOTS, or `slots` of the application)",
            self._id,
            queue,
        )
        self._report(queue=queue)

    def _from_thread(self, run: int, spec: RenditionSpec | None, **changes: Any) -> None:
        """`spec`: what alone it is about."""

        def report() -> None:
            # A thread that outlived its pipeline has nothing to say about the next one, and what failed before a change
            # is no answer to that.
            if not self.pipeline or (spec is not None and spec != self.pipeline.spec):
                return
            if self._actual and self._actual.run == run:
                self._say_encoder_changed(str(changes.get("encoder", "")), str(changes.get("encoder_reason", "")))
                self._report(**changes)

        with contextlib.suppress(RuntimeError):  # the loop has ended: nobody is left to hear it
            self._loop.call_soon_threadsafe(report)

    def _say_encoder_changed(self, encoder: str, reason: str) -> None:
        before, self._encoder_of_run = self._encoder_of_run, encoder or self._encoder_of_run
        if before and before != self._encoder_of_run:
            detail = {"from": before, "to": encoder, "reason": reason}
            self._context.event(self._id, "encoder-changed", detail=detail)

    def _report(self, **changes: Any) -> None:
        if self._actual is None:
            return
        if changes.get("state", self._actual.state) != self._actual.state:
            changes["since_ns"] = time.time_ns()
        before, self._actual = self._actual, msgspec.structs.replace(self._actual, **changes)
        if self._actual != before:  # an encoder that fails, fails with every picture
            self._reporter.report(self._id, self._actual)


def _fixed(spec: RenditionSpec) -> RenditionSpec:
    """The spec without what can change within a run."""
    return msgspec.structs.replace(spec, **_CHANGEABLE)


def _running(choice: Choice, video: VideoInfo) -> dict[str, Any]:
    """The state of a rendition whose encoder has been opened, as fields of `RenditionActual`."""
    return {
        "state": "running",
        "error": None,
        "encoder": choice.kind.name,
        "encoder_reason": choice.reason,
        "hardware": choice.kind.hardware,
        "video": video,
        "tracks": ("video", "opus", "aac"),
    }
