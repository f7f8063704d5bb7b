"""What exists only while a rendition is being encoded: its media threads, its packets, its share of the pictures."""

import asyncio
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from typing import Protocol, Self

import msgspec

from schemas.errors import MeshError, Unavailable
from schemas.frames import FrameAck, FrameRef
from schemas.packets import unpack_audio
from schemas.resources import RenditionSpec, VideoInfo
from schemas.subjects import RAW, ack, audio, frames
from services.hw_encode.audio import AudioEncoder
from services.hw_encode.codecs import Codecs
from services.hw_encode.encoders import Choice
from services.hw_encode.latency import LatencyFigure
from services.hw_encode.pictures import PicturesOfStreams
from services.hw_encode.settings import HwEncodeSettings
from services.hw_encode.video import VideoEncoder
from shared.bus import Message
from shared.demand import Wants
from shared.packets import PacketPublisher
from shared.ring import RingReader
from shared.service import Context
from shared.tasks import start_task

_THREAD_STOP_SECONDS = 3.0
_decode_ref = msgspec.json.Decoder(FrameRef).decode


@dataclass(frozen=True)
class Parts:
    """What all renditions of a service share."""

    context: Context[HwEncodeSettings]
    reader: RingReader
    wants: Wants
    latency: LatencyFigure
    pictures: PicturesOfStreams
    codecs: Codecs


class Listener(Protocol):
    """Who hears of what happens; `queue_bound` in the event loop, the others in the video thread."""

    def running(self, run: int, choice: Choice, info: VideoInfo) -> None: ...
    def failed(self, run: int, spec: RenditionSpec, error: MeshError) -> None: ...
    def restarted(self, choice: Choice, why: str) -> None: ...
    def queue_bound(self, queue: int) -> None: ...


class Pipeline:
    """Both media threads of one rendition and all they need. Belongs to the event loop."""

    def __init__(self, spec: RenditionSpec, video: VideoEncoder, sound: AudioEncoder, packets: PacketPublisher) -> None:
        self.spec = spec
        """What it does now."""
        self.video, self.audio, self.publisher = video, sound, packets
        self._stack = AsyncExitStack()
        self._started = False
        self._changing = asyncio.Lock()
        self._closing: asyncio.Task[None] | None = None

    @classmethod
    async def open(cls, parts: Parts, spec: RenditionSpec, run: int, listener: Listener) -> Self:
        """Ready to `start`, and the stream's capture asked for frames.

        Raises:
            OutOfSpace: shared memory is too small for the packet ring.
            Unavailable: the bus does not answer.
        """
        bus, node = parts.context.bus, parts.context.node
        async with AsyncExitStack() as stack:
            publisher = await _make_publisher(parts.context, spec, run)
            stack.callback(publisher.close)
            ack_subject = ack(node, spec.stream)

            def acknowledge(credit: FrameAck) -> None:
                bus.post_from_thread(ack_subject, msgspec.json.encode(credit))

            pictures = parts.pictures.open(spec.stream)
            stack.callback(parts.pictures.close, spec.stream)
            video = VideoEncoder(
                spec,
                parts.reader,
                publisher,
                on_running=partial(listener.running, run),
                on_failed=partial(listener.failed, run),
                on_encoded=partial(parts.latency.observe, spec),
                acknowledge=acknowledge,
                on_bound=listener.queue_bound,
                pictures=pictures,
                codecs=parts.codecs,
                on_restarted=listener.restarted,
            )
            sound = AudioEncoder(spec, publisher)
            pipeline = cls(spec, video, sound, publisher)
            # First closed, last opened: nothing comes in any more, then the threads end, then their packets' ring.
            stack.push_async_callback(pipeline._end_threads)

            def receive_frame(message: Message) -> None:
                video.inbox.put(_decode_ref(message.data))

            def receive_audio(message: Message) -> None:
                sound.feed(*unpack_audio(message.data))

            for subject, receive in (
                (frames(node, spec.stream), receive_frame),
                (audio(node, spec.stream), receive_audio),
            ):
                subscription = await bus.subscribe(subject, receive)
                stack.push_async_callback(subscription.close)
            stack.callback(parts.wants.want(node, spec.stream, RAW, f"hw-encode-{spec.rendition}"))
            pipeline._stack = stack.pop_all()
        return pipeline

    def start(self) -> None:
        """Begin with the next picture."""
        self._started = True
        self.video.start()
        self.audio.start()

    async def change(self, spec: RenditionSpec, settings: HwEncodeSettings) -> None:
        """Go on as `spec` says, within the same run.

        Raises:
            OutOfSpace: for its history; it goes on as it was.
        """
        async with self._changing:
            if spec.history != self.spec.history:
                await asyncio.to_thread(self.publisher.resize, settings.ring_size(spec.history))
            if spec != self.spec:
                self.spec = spec
                self.video.change(spec)

    async def close(self) -> None:
        """End it all; goes on to its end even where the caller is cancelled, and may be called again to wait for it."""
        if self._closing is None:
            self._closing = start_task(self._stack.aclose(), f"close {self.spec.stream}--{self.spec.rendition}")
        await asyncio.shield(self._closing)

    async def _end_threads(self) -> None:
        if self._started:
            await asyncio.gather(
                asyncio.to_thread(self.video.stop, _THREAD_STOP_SECONDS),
                asyncio.to_thread(self.audio.stop, _THREAD_STOP_SECONDS),
            )


async def _make_publisher(context: Context[HwEncodeSettings], spec: RenditionSpec, run: int) -> PacketPublisher:
    """In a thread: to reserve the memory of a long history takes as long as several pictures of other streams."""
    size = context.settings.ring_size(spec.history)
    making = asyncio.create_task(
        asyncio.to_thread(
            PacketPublisher,
            context.bus,
            context.settings.shm_dir,
            stream=spec.stream,
            rendition=spec.rendition,
            run=run,
            ring_seconds=size.seconds,
            ring_bytes=size.max_bytes,
        )
    )
    try:
        return await asyncio.shield(making)
    except asyncio.CancelledError:
        making.add_done_callback(_close_made)
        raise
    except MeshError:
        raise
    except OSError as error:  # no more descriptors, no right to the folder: time or a person may mend it
        raise Unavailable(f"no packet ring for {spec.stream}/{spec.rendition}: {error}") from error


def _close_made(making: asyncio.Task[PacketPublisher]) -> None:
    if not making.cancelled() and making.exception() is None:
        making.result().close()
