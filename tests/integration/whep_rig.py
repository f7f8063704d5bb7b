"""A gateway on loopback whose packets come from a real encoder: moving picture, steady tone."""

import asyncio
import contextlib
import fractions
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import av
import numpy as np

from schemas.commands import MeshStatus
from schemas.errors import NotFound
from schemas.packets import PacketHeader, VideoCodec
from services.webrtc_gateway.egress.gateway import WhepGateway
from services.webrtc_gateway.egress.source import Deliver
from services.webrtc_gateway.transport.ice import SharedIceTransport
from services.webrtc_gateway.transport.tcp_transport import TcpTransport
from services.webrtc_gateway.web.http import build_app
from services.webrtc_gateway.web.origins import Origins
from shared.door.http_door import HttpDoor

FPS, WIDTH, HEIGHT = 30, 640, 360
SAMPLE_RATE, OPUS_SAMPLES, TONE_HZ = 48_000, 960, 440


@dataclass
class EncodedStream:
    """Encodes for every subscriber at once; plays the part of hw-encode."""

    name: str = "cam0"
    rendition: str = "main"
    audio: bool = True
    forces_key_frames: bool = True
    key_interval: int = 3000
    bitrate: int = 1_000_000
    width: int = WIDTH
    height: int = HEIGHT
    noise: int = 0
    """So many levels of it in the picture, so that the encoder needs its whole bitrate."""
    delivers: list[Deliver] = field(default_factory=list)
    on_ended: list[Callable[[str], None]] = field(default_factory=list)
    key_requests: int = 0
    run: int = 1
    opened: int = 0
    skip: int = 0
    """This many video packets get lost before the gateway."""
    group: list[tuple[PacketHeader, memoryview]] = field(default_factory=list)
    _force: bool = False
    _index: int = 0

    async def open(self, stream: str, rendition: str | None, deliver: Deliver) -> "EncodedSubscription":
        if stream != self.name or rendition not in (None, self.rendition):
            raise NotFound(f"no stream {stream}/{rendition or 'main'}")
        self.opened += 1
        self.delivers.append(deliver)
        return EncodedSubscription(self, deliver)

    def video_codec(self, stream: str, rendition: str | None) -> VideoCodec | None:
        return "h264"

    async def play(self) -> None:
        video = av.CodecContext.create("libx264", "w")
        video.width, video.height, video.pix_fmt = self.width, self.height, "yuv420p"
        video.time_base, video.framerate = fractions.Fraction(1, FPS), fractions.Fraction(FPS)
        video.bit_rate = self.bitrate
        video.options = {
            "preset": "ultrafast",
            "tune": "zerolatency",
            "g": str(self.key_interval),
            "forced-idr": "1",
            "x264-params": "repeat-headers=1",
        }
        if self.noise:
            video.options |= {"maxrate": str(self.bitrate), "bufsize": str(self.bitrate // 5)}
        opus = av.CodecContext.create("libopus", "w")
        opus.sample_rate, opus.layout, opus.format = SAMPLE_RATE, "stereo", "s16"
        began, began_ns = time.monotonic(), time.time_ns()
        sounds = 0
        for number in range(1 << 30):
            due = began + number / FPS
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            self._video(video, number, began_ns + number * 1_000_000_000 // FPS)
            while self.audio and sounds * OPUS_SAMPLES / SAMPLE_RATE <= (number + 1) / FPS:
                self._sound(opus, sounds, began_ns + sounds * OPUS_SAMPLES * 1_000_000_000 // SAMPLE_RATE)
                sounds += 1

    def _video(self, encoder: av.VideoCodecContext, number: int, pts_ns: int) -> None:
        width, height = self.width, self.height
        planes = np.full((height * 3 // 2, width), 128, np.uint8)
        x = number * 8 % width
        planes[:height] = np.linspace(16, 200, width, dtype=np.uint8)
        if self.noise:
            planes[:height] += np.random.default_rng(number).integers(0, self.noise, (height, width), np.uint8)
        planes[:height, x : x + 64] = 235
        frame = av.VideoFrame.from_ndarray(planes, format="yuv420p")
        frame.pts = number
        if self._force:
            frame.pict_type, self._force = av.video.frame.PictureType.I, False
        for packet in encoder.encode(frame):
            self._index += 1
            header = self._header("video", "h264", self._index, pts_ns, packet.is_keyframe)
            payload = memoryview(bytes(packet))
            self.group = [] if packet.is_keyframe else self.group
            self.group.append((header, payload))
            if self.skip:
                self.skip -= 1
                continue
            for deliver in list(self.delivers):
                deliver(header, payload)

    def _sound(self, encoder: av.AudioCodecContext, number: int, pts_ns: int) -> None:
        t = (np.arange(OPUS_SAMPLES) + number * OPUS_SAMPLES) / SAMPLE_RATE
        tone = (np.sin(2 * np.pi * TONE_HZ * t) * 8000).astype(np.int16)
        frame = av.AudioFrame.from_ndarray(np.repeat(tone, 2).reshape(1, -1), format="s16", layout="stereo")
        frame.sample_rate, frame.pts = SAMPLE_RATE, number * OPUS_SAMPLES
        for packet in encoder.encode(frame):
            header = self._header("opus", "opus", number, pts_ns, True)
            for deliver in list(self.delivers):
                deliver(header, memoryview(bytes(packet)))

    def _header(self, track: str, codec: str, index: int, pts_ns: int, key: bool) -> PacketHeader:
        return PacketHeader(
            stream=self.name,
            rendition=self.rendition,
            track=track,  # type: ignore[arg-type]
            codec=codec,  # type: ignore[arg-type]
            epoch=1,
            sequence=index,
            run=self.run,
            index=index,
            key=key,
            pts_ns=pts_ns,
            dts_ns=pts_ns,
            captured_ns=time.time_ns(),
        )


@dataclass
class EncodedSubscription:
    stream: EncodedStream
    deliver: Deliver

    @property
    def rendition(self) -> str:
        return self.stream.rendition

    @property
    def tracks(self) -> Sequence[str]:
        return ("video", "opus") if self.stream.audio else ("video",)

    @property
    def forces_key_frames(self) -> bool:
        return self.stream.forces_key_frames

    def request_key_frame(self) -> None:
        self.stream.key_requests += 1
        self.stream._force = self.stream.forces_key_frames

    async def cached(self) -> Sequence[tuple[PacketHeader, memoryview]]:
        return () if self.stream.forces_key_frames else list(self.stream.group)

    def on_ended(self, ended: Callable[[str], None]) -> None:
        self.stream.on_ended.append(ended)

    async def close(self) -> None:
        self.stream.delivers.remove(self.deliver)


class QuietStatus:
    """A status feed with one state and then nothing."""

    def current(self) -> MeshStatus:
        return MeshStatus()

    async def subscribe(self) -> AsyncIterator[bytes]:
        yield b'{"type":"state"}'
        await asyncio.Event().wait()


@dataclass
class Rig:
    stream: EncodedStream
    gateway: WhepGateway
    transport: SharedIceTransport
    url: str
    tcp: TcpTransport


@contextlib.asynccontextmanager
async def gateway_rig(
    stream: EncodedStream,
    *,
    max_sessions: int = 64,
    cors_origins: Sequence[str] = (),
    over_tcp: bool = False,
    **options: Any,
) -> AsyncIterator[Rig]:
    """A gateway on 127.0.0.1 with free ports, with the stream playing; all of it gone at the end. `options` are for
    the WhepGateway."""
    async with contextlib.AsyncExitStack() as stack:
        transport = SharedIceTransport.open(0, ["127.0.0.1"], bind="127.0.0.1")
        stack.callback(transport.close)
        tcp = await TcpTransport.open(0, transport) if over_tcp else TcpTransport(transport)
        stack.callback(tcp.close)
        gateway = WhepGateway(stream, transport, max_sessions=max_sessions, **options)
        stack.push_async_callback(gateway.close)
        door = HttpDoor(build_app(gateway, QuietStatus(), Origins(cors_origins)), "127.0.0.1", 0)
        port = await door.start()
        stack.push_async_callback(door.close)
        playing = asyncio.create_task(stream.play())
        try:
            yield Rig(stream, gateway, transport, f"http://127.0.0.1:{port}", tcp)
        finally:
            playing.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await playing
