"""One rendition's life: idle until somebody wants it, then encoding, then idle again."""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec

from schemas.commands import KeyFrameReply, KeyFrameRequest
from schemas.errors import MeshError, OutOfSpace
from schemas.frames import FrameAck, FrameRef
from schemas.packets import unpack_audio
from schemas.resources import RenditionActual, RenditionSpec, VideoInfo
from schemas.subjects import RAW, ack, audio, command, frames
from services.hw_encode.audio import AudioEncoder
from services.hw_encode.codecs import Codecs
from services.hw_encode.encoders import Choice
from services.hw_encode.latency import LatencyFigure
from services.hw_encode.pictures import PicturesOfStreams
from services.hw_encode.rates import Rate
from services.hw_encode.settings import HwEncodeSettings
from services.hw_encode.video import VideoEncoder
from shared.backoff import Backoff
from shared.bus import Endpoint, Message, Served, Subscription
from shared.demand import Wants
from shared.epochs import next_epoch
from shared.packets import PacketPublisher
from shared.reconcile import Reporter
from shared.ring import RingReader
from shared.service import VERSION, Context
from shared.tasks import set_within

log = logging.getLogger(__name__)

_THREAD_STOP_SECONDS = 3.0
# With any value: two specs that are equal then need no other run.
_CHANGEABLE: dict[str, Any] = dict.fromkeys(
    (
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
        "b_frames",
        "queue",
        "when_full",
        "always",
        "history",
    )
)
_decode_ref = msgspec.json.Decoder(FrameRef).decode


@dataclass
class Pipeline:
    """What exists only while a rendition is being encoded."""

    video: VideoEncoder
    audio: AudioEncoder
    publisher: PacketPublisher
    subscriptions: list[Subscription]
    stop_wanting: Callable[[], None]


class RenditionRunner:
    """Runs one rendition as its spec says; see `shared.reconcile.Runner`."""

    def __init__(
        self,
        rendition_id: str,
        context: Context[HwEncodeSettings],
        reporter: Reporter,
        reader: RingReader,
        wants: Wants,
        latency: LatencyFigure,
        pictures: PicturesOfStreams,
        codecs: Codecs,
    ) -> None:
        self._id = rendition_id
        self._context = context
        self._reporter = reporter
        self._reader = reader
        self._wants = wants
        self._latency = latency
        self._pictures = pictures
        self._codecs = codecs
        self._loop = asyncio.get_running_loop()
        self._spec: RenditionSpec | None = None
        self._actual: RenditionActual | None = None
        self._served: Served | None = None
        self._demand_changed = asyncio.Event()
        self._wanted = False
        self._encoder_of_run = ""
        self._task: asyncio.Task[Any] | None = None
        self.pipeline: Pipeline | None = None

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
            [Endpoint(command("hw-encode", "keyframe", self._id), KeyFrameRequest, KeyFrameReply, self._key_frame)],
            {"rendition": self._id},
        )
        self._task = self._context.spawn(self._follow_demand(), f"rendition {self._id}")

    async def update(self, spec: RenditionSpec, revision: int) -> bool:
        """Viewers and recordings carry on through a changed encoder; another codec or sound means another run."""
        before = self._spec
        if before is None or self._actual is None or _fixed(before) != _fixed(spec):
            return False
        if self.pipeline and before.history != spec.history:
            try:
                await asyncio.to_thread(self.pipeline.publisher.resize, self._context.settings.ring_size(spec.history))
            except OutOfSpace as error:  # it goes on as it was, and says why
                self._report(revision=revision, error=error.info)
                return True
        self._spec = spec
        changes: dict[str, Any] = {"revision": revision, "bitrate": Rate.of(spec).bitrate}
        if before.queue != spec.queue:
            changes["queue"] = spec.queue
        if before != spec and self.pipeline:
            self.pipeline.video.change(spec)
            if self._actual.state == "failed":  # whether it still does, the next picture shows
                changes |= {"state": "starting", "error": None}
        self._report(**changes)
        self._demand_changed.set()  # `always` and `history` count as demand
        return True

    async def stop(self, *, removed: bool = False) -> None:
        if self._task:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        if self._served:
            await self._served.close()
        await self._close_pipeline()
        if removed and self._spec:
            self._latency.forget(self._spec)

    def set_demand(self, wanted: bool) -> None:
        """Somebody wants this rendition, or nobody does."""
        if wanted != self._wanted:
            self._wanted = wanted
            self._demand_changed.set()

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
        """Start both media threads and ask the stream's capture for frames.

        Raises:
            OutOfSpace: shared memory is too small for the packet ring.
            Unavailable: the bus does not answer.
        """
        assert self._spec is not None  # start() has set it
        spec, bus, settings, node = self._spec, self._context.bus, self._context.settings, self._context.node
        run = await next_epoch(bus, self._id)
        size = settings.ring_size(spec.history)
        publisher = PacketPublisher(
            bus,
            settings.shm_dir,
            stream=spec.stream,
            rendition=spec.rendition,
            run=run,
            ring_seconds=size.seconds,
            ring_bytes=size.max_bytes,
        )
        ack_subject = ack(node, spec.stream)

        def acknowledge(credit: FrameAck) -> None:
            bus.post_from_thread(ack_subject, msgspec.json.encode(credit))

        video = VideoEncoder(
            spec,
            self._reader,
            publisher,
            on_running=lambda choice, info: self._from_thread(run, **_running(choice, info)),
            on_failed=lambda error: self._from_thread(run, state="failed", error=error.info),
            on_encoded=lambda seconds: self._latency.observe(spec, seconds),
            acknowledge=acknowledge,
            on_bound=lambda queue: self._queue_bound(spec, queue),
            pictures=self._pictures.open(spec.stream),
            codecs=self._codecs,
            on_restarted=lambda choice, why: self._say_restarted(choice.kind.name, why),
        )
        sound = AudioEncoder(spec, publisher)

        def receive_frame(message: Message) -> None:
            video.inbox.put(_decode_ref(message.data))

        def receive_audio(message: Message) -> None:
            sound.feed(*unpack_audio(message.data))

        subscriptions: list[Subscription] = []
        try:
            subscriptions.append(await bus.subscribe(frames(node, spec.stream), receive_frame))
            subscriptions.append(await bus.subscribe(audio(node, spec.stream), receive_audio))
        except BaseException:
            self._pictures.close(spec.stream)
            publisher.close()
            for subscription in subscriptions:
                await subscription.close()
            raise
        stop_wanting = self._wants.want(node, spec.stream, RAW, f"hw-encode-{spec.rendition}")
        self.pipeline = Pipeline(video, sound, publisher, subscriptions, stop_wanting)
        self._encoder_of_run = ""
        self._report(state="starting", error=None, run=run, queue=spec.queue)
        video.start()
        sound.start()

    async def _close_pipeline(self) -> None:
        pipeline, self.pipeline = self.pipeline, None
        if pipeline is None:
            return
        pipeline.stop_wanting()
        for subscription in pipeline.subscriptions:
            await subscription.close()
        await asyncio.gather(
            asyncio.to_thread(pipeline.video.stop, _THREAD_STOP_SECONDS),
            asyncio.to_thread(pipeline.audio.stop, _THREAD_STOP_SECONDS),
        )
        pipeline.publisher.close()
        self._pictures.close(pipeline.video.stream)
        self._reader.trim()  # a mapping keeps a removed ring's memory

    def _queue_bound(self, spec: RenditionSpec, queue: int) -> None:
        log.warning(
            "only %d pictures can wait, as the stream's ring has no more slots to spare: make it larger "
            "(FRAMEMESH_CAPTURE_RING_SLOTS, or `slots` of the application)",
            queue,
            extra={"stream": spec.stream},
        )
        self._report(queue=queue)

    # -- state -----------------------------------------------------------------------------------------------

    def _from_thread(self, run: int, **changes: Any) -> None:
        def report() -> None:
            # A thread that outlived its pipeline has nothing to say about the next one.
            if self.pipeline and self._actual and self._actual.run == run:
                self._say_encoder_changed(str(changes.get("encoder", "")), str(changes.get("encoder_reason", "")))
                self._report(**changes)

        with contextlib.suppress(RuntimeError):  # the loop has ended: nobody is left to hear it
            self._loop.call_soon_threadsafe(report)

    def _say_restarted(self, encoder: str, why: str) -> None:
        """From the video thread."""
        with contextlib.suppress(RuntimeError):  # the loop has ended: nobody is left to hear it
            self._loop.call_soon_threadsafe(
                lambda: self._context.event(self._id, "encoder-restarted", detail={"encoder": encoder, "reason": why})
            )

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
