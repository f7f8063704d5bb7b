"""The RTSP server alone, over real sockets: its feeds are filled here instead of from the bus."""

import asyncio
import contextlib
import functools
import itertools
import socket
import threading
import time
from collections.abc import Callable, Coroutine, Iterator, Sequence
from fractions import Fraction
from typing import Any, Self

import av
import numpy as np
from msgspec.structs import replace

from schemas.errors import NotFound
from schemas.packets import PacketHeader, Track
from services.publisher.rtsp.counters import RtspCounters
from services.publisher.rtsp.feed import RenditionFeed
from services.publisher.rtsp.feeds import OpenFeed
from services.publisher.rtsp.server import RtspOptions, RtspServer
from shared.media.configuration import configuration
from shared.media.scheduling import usual_scheduling
from tests.support.packets import NANOSECONDS, Made

_FPS = 25
_ENCODERS = {"hevc": "libx265", "vp8": "libvpx", "vp9": "libvpx-vp9", "av1": "libsvtav1", "mjpeg": "mjpeg"}
_OPTIONS = {
    "hevc": {"preset": "ultrafast", "tune": "zerolatency", "x265-params": "log-level=none:keyint=25:repeat-headers=1"},
    "vp8": {"deadline": "realtime", "cpu-used": "8"},
    "vp9": {"deadline": "realtime", "cpu-used": "8", "lag-in-frames": "0"},
    "av1": {"preset": "12", "svtav1-params": "pred-struct=1"},
    "mjpeg": {"huffman": "default", "qscale": "8"},
}


@functools.cache
def coded(codec: str, seconds: float = 2.0) -> tuple[Made, ...]:
    """Packets of a moving picture, 320x192, in any of the mesh's codecs but H.264."""
    context = av.CodecContext.create(_ENCODERS[codec], "w")
    context.width, context.height = 320, 192
    context.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
    context.time_base, context.framerate = Fraction(1, _FPS), Fraction(_FPS)
    context.gop_size, context.max_b_frames = _FPS, 0
    context.options = _OPTIONS[codec]
    with usual_scheduling():
        context.open()
    packets = []
    for number in range(round(seconds * _FPS)):
        picture = np.full((288, 320), 128, np.uint8)
        picture[:192] = (np.arange(320) + number * 4) % 256
        frame = av.VideoFrame.from_ndarray(picture, context.pix_fmt)
        frame.pts, frame.time_base = number, Fraction(1, _FPS)
        packets += context.encode(frame)
    packets += context.encode(None)
    made = []
    for index, packet in enumerate(packets):
        pts_ns = 1_700_000_000 * NANOSECONDS + packet.pts * NANOSECONDS // _FPS
        header = PacketHeader(
            stream="cam0",
            rendition=codec,
            track="video",
            codec=codec,
            epoch=1,
            sequence=index + 1,
            run=1,
            index=index,
            key=packet.is_keyframe,
            pts_ns=pts_ns,
            dts_ns=pts_ns,
            captured_ns=pts_ns,
            width=320,
            height=192,
            extradata=configuration(bytes(packet), codec) if packet.is_keyframe else b"",
        )
        made.append(Made(header, bytes(packet)))
    return tuple(made)


class Source:
    """One rendition that plays a clip again and again at its own speed (or `speed` times as fast)."""

    def __init__(self, clip: Sequence[Made], speed: float = 1.0) -> None:
        self.clip, self.speed = clip, speed
        self.keys_asked = 0
        self.feed: RenditionFeed | None = None
        self.task: asyncio.Task[None] | None = None

    def ask_key(self) -> None:
        self.keys_asked += 1

    async def play(self) -> None:
        """Give the packets when they are due; their times are those of now."""
        assert self.feed is not None
        first_ns = self.clip[0].header.dts_ns
        length_ns = self.clip[-1].header.dts_ns - first_ns + NANOSECONDS // _FPS
        counts = {header.track: sum(one.header.track == header.track for one in self.clip) for header, _ in self.clip}
        began_s, start_ns = time.monotonic(), time.time_ns()
        for again in itertools.count():
            for header, payload in self.clip:
                at_ns = header.dts_ns - first_ns + again * length_ns
                shift_ns = start_ns - first_ns + again * length_ns
                wait_s = began_s + at_ns / 1e9 / self.speed - time.monotonic()
                if wait_s > 0:
                    await asyncio.sleep(wait_s)
                moved = replace(
                    header,
                    index=header.index + again * counts[header.track],
                    pts_ns=header.pts_ns + shift_ns,
                    dts_ns=header.dts_ns + shift_ns,
                    captured_ns=header.pts_ns + shift_ns,
                )
                self.feed.deliver(moved, memoryview(payload))


class Sources:
    """Stands where `Feeds` does: streams by name."""

    def __init__(self, sources: dict[str, Source], counters: RtspCounters) -> None:
        self.sources, self.counters = sources, counters
        self.users = 0

    async def acquire(self, stream: str, rendition: str) -> OpenFeed:
        source = self.sources.get(f"{stream}/{rendition}")
        if source is None:
            raise NotFound(f"stream {stream!r} does not exist")
        if source.feed is None or source.feed.ended_because:
            source.feed = RenditionFeed(
                f"{stream}/{rendition}", self.counters, forces_key_frames=False, ask_key=source.ask_key
            )
            source.feed.go_live()
            source.task = asyncio.get_running_loop().create_task(source.play())
        self.users += 1
        return OpenFeed(source.feed, contextlib.AsyncExitStack())

    def release(self, entry: OpenFeed) -> None:
        self.users -= 1

    def expected(self, stream: str, rendition: str) -> set[Track]:
        return {header.track for header, _ in self.sources[f"{stream}/{rendition}"].clip}

    async def close(self) -> None:
        for source in self.sources.values():
            if source.task is not None:
                source.task.cancel()
            if source.feed is not None:
                source.feed.end("the server shuts down")


class RtspRig:
    """A server in an event loop of its own thread; a context manager."""

    def __init__(self, sources: dict[str, Source], **options: Any) -> None:
        self.counters = RtspCounters()
        self.sources = Sources(sources, self.counters)
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._options = RtspOptions(port=0, **options)
        self.server: RtspServer

    def call(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(15)

    def ask(self, question: Callable[[], Any]) -> Any:
        """What `question` answers in the server's loop."""

        async def answer() -> Any:
            return question()

        return self.call(answer())

    @property
    def port(self) -> int:
        return self.server.port

    def url(self, name: str = "cam0", userinfo: str = "") -> str:
        return f"rtsp://{userinfo}127.0.0.1:{self.port}/{name}"

    def __enter__(self) -> Self:
        self._thread.start()

        async def start() -> RtspServer:
            server = RtspServer(self._options, self.sources, self.counters)
            await server.start()
            return server

        self.server = self.call(start())
        return self

    def __exit__(self, *_: object) -> None:
        self.call(self.server.close())
        left = self.ask(lambda: [task.get_name() for task in asyncio.all_tasks() if task is not asyncio.current_task()])
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(5)
        self.loop.close()
        assert not [name for name in left if name.startswith("rtsp")], left
        assert self.sources.users == 0, "every client has let go of its rendition"


class Client:
    """A client that says exactly what it is told to."""

    def __init__(self, port: int, receive_bytes: int = 0) -> None:
        self.socket = socket.socket()
        if receive_bytes:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        self.socket.settimeout(8)
        self.socket.connect(("127.0.0.1", port))
        self.file = self.socket.makefile("rb")
        self.cseq = 0
        self.url = f"rtsp://127.0.0.1:{port}/cam0"
        self.session = ""
        self.interleaved: list[tuple[int, bytes]] = []

    def ask(self, method: str, uri: str = "", **headers: str) -> tuple[int, dict[str, str], str]:
        """One request; (status, headers, body) of its answer."""
        self.cseq += 1
        lines = [f"{method} {uri or self.url} RTSP/1.0", f"CSeq: {self.cseq}"]
        if self.session:
            lines.append(f"Session: {self.session}")
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        self.socket.sendall("\r\n".join(lines).encode() + b"\r\n\r\n")
        status, answer, body = self.answer()
        assert answer.get("cseq") == str(self.cseq)
        self.session = answer.get("session", self.session).partition(";")[0]
        return status, answer, body

    def answer(self) -> tuple[int, dict[str, str], str]:
        while (first := self.file.read(1)) == b"$":
            channel, high, low = self.file.read(3)
            self.interleaved.append((channel, self.file.read(high << 8 | low)))
        line = first + self.file.readline()
        if not first:
            raise ConnectionError("closed")
        headers: dict[str, str] = {}
        for text in iter(lambda: self.file.readline().decode().strip(), ""):
            name, _, value = text.partition(":")
            headers.setdefault(name.lower(), value.strip())
        return int(line.split()[1]), headers, self.file.read(int(headers.get("content-length", 0))).decode()

    def play(self, transport: str = "RTP/AVP/TCP;unicast;interleaved=0-1", track: int = 0) -> dict[str, str]:
        """Set one track up and play; the headers of the answer to PLAY."""
        assert self.ask("SETUP", f"{self.url}/trackID={track}", Transport=transport)[0] == 200
        status, headers, _ = self.ask("PLAY")
        assert status == 200
        return headers

    def packet(self) -> tuple[int, bytes]:
        """The next interleaved packet: (channel, bytes)."""
        if self.interleaved:
            return self.interleaved.pop(0)
        head = self.file.read(4)
        if len(head) < 4:
            raise ConnectionError("closed")
        assert head[:1] == b"$"
        return head[1], self.file.read(int.from_bytes(head[2:], "big"))

    def close(self) -> None:
        self.file.close()
        self.socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@contextlib.contextmanager
def clients(port: int, count: int) -> Iterator[list[Client]]:
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(Client(port)) for _ in range(count)]
