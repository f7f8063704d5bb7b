"""The gateway's own door and engine with a made-up mesh behind them, for tests of the console page.

As a process of its own, to be killed: `python -m tests.support.console_server HTTP_PORT UDP_PORT`.
The page runs under the strictest content policy it must bear: nothing inline, nothing from elsewhere.
"""

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack

import msgspec

from schemas.capture_commands import StreamStats
from schemas.commands import MeshStatus, RenditionStats, StreamEntry
from schemas.errors import ErrorInfo, NotFound
from schemas.events import Event
from schemas.packets import VideoCodec
from schemas.resources import AudioInfo, StreamActual, StreamSpec, StreamState, VideoInfo
from services.webrtc_gateway.auth.cookies import Cookies
from services.webrtc_gateway.auth.guard import Guard
from services.webrtc_gateway.auth.tokens import Tokens
from services.webrtc_gateway.commands.routes import CommandRoutes
from services.webrtc_gateway.egress.gateway import DEFAULT_MAX_SESSIONS, WhepGateway
from services.webrtc_gateway.egress.source import Deliver
from services.webrtc_gateway.transport.ice import SharedIceTransport
from services.webrtc_gateway.web.http import build_app
from shared.door.http_door import HttpDoor
from tests.integration.whep_rig import FPS, HEIGHT, WIDTH, EncodedStream, EncodedSubscription

QUEUE_MESSAGES = 1000  # more than any test sends


class MadeUpMesh:
    """State and events as a test wants them; plays the part of the bus."""

    def __init__(self, status: MeshStatus) -> None:
        self._status = status
        self._queues: set[asyncio.Queue[bytes]] = set()
        self.replies: dict[str, msgspec.Struct | Callable[[bytes], msgspec.Struct]] = {}
        """What commands are answered with, or what makes it of a request, by the end of their subject: `cam0.stats`."""
        self.history: list[Event] = []
        """What happened before a page is opened, the oldest first."""
        self.encoded: dict[str, tuple[int, int]] = {}
        """By rendition: pictures and bytes a second."""

    async def request_raw(self, subject: str, data: bytes, timeout_seconds: float = 0.0) -> bytes:
        for end, reply in self.replies.items():
            if subject.endswith(end):
                return msgspec.json.encode(reply if isinstance(reply, msgspec.Struct) else reply(data))
        for name, (pictures, size_bytes) in self.encoded.items():
            if subject.endswith(f".{name}.stats"):
                return msgspec.json.encode(_counted(name, pictures, size_bytes))
        for entry in self._status.streams:
            if subject.endswith(f".{entry.spec.stream}.stats"):
                return msgspec.json.encode(StreamStats(stream=entry.spec.stream, node="edge1", state="live", status=2))
        raise NotFound(f"{subject}: not in this made-up mesh")

    def current(self) -> MeshStatus:
        return self._status

    async def subscribe(self) -> AsyncIterator[bytes]:
        queue: asyncio.Queue[bytes] = asyncio.Queue(QUEUE_MESSAGES)
        self._queues.add(queue)
        try:
            yield _message("status", self._status)
            if self.history:
                yield msgspec.json.encode({"type": "history", "events": self.history})
            while True:
                yield await queue.get()
        finally:
            self._queues.discard(queue)

    def show(self, status: MeshStatus) -> None:
        self._status = status
        self._send(_message("status", status))

    def emit(self, event: Event) -> None:
        self._send(_message("event", event))

    def _send(self, message: bytes) -> None:
        for queue in self._queues:
            queue.put_nowait(message)


class EncodedStreams:
    """Pictures of some of the mesh's streams."""

    def __init__(self, *names: str) -> None:
        self.by_name = {name: EncodedStream(name) for name in names}

    def video_codec(self, stream: str, rendition: str | None) -> VideoCodec | None:
        return self.by_name[stream].video_codec(stream, rendition) if stream in self.by_name else None

    async def open(self, stream: str, rendition: str | None, deliver: Deliver) -> EncodedSubscription:
        if stream not in self.by_name:
            raise NotFound(f"stream {stream}: no pictures here")
        return await self.by_name[stream].open(stream, rendition, deliver)


class ConsoleServer:
    """`stop()` and `start()` again keep the port, as a restarted gateway does."""

    def __init__(self, mesh: MadeUpMesh, streams: EncodedStreams, http_port: int = 0, udp_port: int = 0) -> None:
        self.mesh, self.streams = mesh, streams
        self.http_port, self.udp_port = http_port, udp_port
        self.gateway: WhepGateway | None = None
        self._stack = AsyncExitStack()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.http_port}/"

    async def __aenter__(self) -> "ConsoleServer":
        await self.start()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.stop()

    async def start(self) -> None:
        transport = SharedIceTransport.open(self.udp_port, ["127.0.0.1"], bind="127.0.0.1")
        self._stack.callback(transport.close)
        self.gateway = WhepGateway(self.streams, transport)
        self._stack.push_async_callback(self.gateway.close)
        guard = Guard(Tokens(), Cookies(b"no tokens, so no cookies"), session_burst=DEFAULT_MAX_SESSIONS)
        app = build_app(self.gateway, self.mesh, parts=[CommandRoutes(self.mesh)], guard=guard)
        door = HttpDoor(app, "127.0.0.1", self.http_port)
        self.http_port = await door.start()
        self._stack.push_async_callback(door.close)
        for stream in self.streams.by_name.values():
            playing = asyncio.create_task(stream.play())
            self._stack.callback(playing.cancel)

    async def stop(self) -> None:
        await self._stack.aclose()


def stream(name: str, state: StreamState = "live", error: ErrorInfo | None = None, source: str = "") -> StreamEntry:
    """A stream as capture shows it."""
    source = source or f"rtsp://camera.local/{name}"
    actual = StreamActual(
        stream=name,
        node="edge1",
        revision=1,
        state=state,
        source=source,
        since_ns=time.time_ns(),
        error=error,
        video=VideoInfo(codec="h264", width=WIDTH, height=HEIGHT, fps=FPS),
        audio=AudioInfo(codec="aac", sample_rate=48_000, channels=2),
    )
    return StreamEntry(revision=1, spec=StreamSpec(stream=name, source=source), actual=actual)


def _counted(name: str, pictures: int, size_bytes: int) -> RenditionStats:
    stream, _, rendition = name.partition("--")
    now_ns = time.time_ns()
    seconds = now_ns / 1e9 % 1e6
    counts = {"pictures": round(pictures * seconds), "bytes": round(size_bytes * seconds)}
    return RenditionStats(stream=stream, rendition=rendition, at_ns=now_ns, running=True, run=1, **counts)


def _message(kind: str, value: MeshStatus | Event) -> bytes:
    return msgspec.json.encode({"type": kind, kind: value})


async def _main(http_port: int, udp_port: int) -> None:
    mesh = MadeUpMesh(MeshStatus(streams=(stream("cam0"),)))
    async with ConsoleServer(mesh, EncodedStreams("cam0"), http_port, udp_port) as server:
        print(server.http_port, flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_main(int(sys.argv[1]), int(sys.argv[2])))
