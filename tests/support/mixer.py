"""A mixer's process as its service starts it, beside a real nats-server and capture; and what comes out of it."""

import asyncio
import contextlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self, TypeVar

import msgspec
import numpy as np
import numpy.typing as npt

from schemas.frames import AudioHeader, FrameRef
from schemas.mix_resources import MixSpec
from schemas.packets import unpack_audio
from schemas.resources import StreamActual
from schemas.subjects import ACTUAL_BUCKET, audio, frames, state_key
from services.cloud_mix_proxy.mixer.protocol import (
    MAX_LINE_BYTES,
    MODULE,
    Applied,
    FromMixer,
    Layout,
    Refused,
    Report,
    Setup,
    Still,
    line,
    read_by_service,
)
from shared.bus import Bus, Message
from shared.ring import LeaseError, RingReader
from tests.support.nats import NatsServer
from tests.support.pace import Patience, patience
from tests.support.peers import free_port

NODE = "test"
_READY_SECONDS = 20.0
_ANSWER_SECONDS = 15.0
_CALL_SECONDS = 10.0
FromMixerT = TypeVar("FromMixerT", bound=FromMixer)
Samples = npt.NDArray[np.int16]
_decode_ref = msgspec.json.Decoder(FrameRef).decode


class MixerRig:
    """The bus, the rings' folder and capture."""

    def __init__(self, nats: NatsServer, shm_dir: Path, data_dir: Path) -> None:
        self.nats, self.shm_dir, self.media_dir = nats, shm_dir, data_dir / "media"
        self.media_dir.mkdir()
        self._environment = {
            **{key: value for key, value in os.environ.items() if not key.startswith("FRAMEMESH_")},
            "FRAMEMESH_NATS_URL": nats.url,
            "FRAMEMESH_NODE": NODE,
            "FRAMEMESH_SHM_DIR": str(shm_dir),
            "FRAMEMESH_DATA_DIR": str(data_dir),
            "FRAMEMESH_LOG": "warning",
            "FRAMEMESH_CAPTURE_FILE_ROOTS": str(self.media_dir),
        }
        self.capture: subprocess.Popen[bytes] | None = None

    @classmethod
    @contextlib.contextmanager
    def running(cls) -> Iterator[Self]:
        with (
            NatsServer() as nats,
            tempfile.TemporaryDirectory(prefix="framemesh-test-", dir="/dev/shm") as shm,
            tempfile.TemporaryDirectory(prefix="framemesh-test-") as data,
        ):
            rig = cls(nats, Path(shm) / "rings", Path(data))
            rig.start_capture()
            try:
                yield rig
            finally:
                rig.stop_capture()

    def start_capture(self) -> None:
        reads, writes = os.pipe()
        with open(reads) as ready:
            self.capture = subprocess.Popen(
                [sys.executable, "-m", "services.capture"],
                env={
                    **self._environment,
                    "FRAMEMESH_READY_FD": str(writes),
                    "FRAMEMESH_METRICS_PORT": str(free_port()),
                },
                pass_fds=[writes],
            )
            os.close(writes)
            assert ready.readline(), "capture did not start"

    def stop_capture(self, *, kill: bool = False) -> None:
        assert self.capture is not None
        if kill:
            self.capture.kill()
        else:
            self.capture.terminate()
        self.capture.wait(_READY_SECONDS)

    @contextlib.asynccontextmanager
    async def bus(self) -> AsyncIterator[Bus]:
        connected = await Bus.connect(self.nats.url, name="test", timeout_seconds=_READY_SECONDS)
        try:
            yield connected
        finally:
            await connected.drain()

    async def start_streams(self, bus: Bus, sources: Mapping[str, str]) -> None:
        """Streams that stay."""
        for stream, source in sources.items():
            request = json.dumps({"stream": stream, "source": source, "node": NODE}).encode()
            await bus.request_raw("mesh.v1.cmd.capture.start", request, _CALL_SECONDS)


async def stream_state(bus: Bus, stream: str) -> StreamActual | None:
    """What capture says of a stream."""
    entry = await (await bus.bucket(ACTUAL_BUCKET)).get(state_key("capture", stream))
    return msgspec.json.decode(entry.value, type=StreamActual) if entry else None


class Mixer:
    """The process, from the side of the service that has started it."""

    def __init__(self, process: asyncio.subprocess.Process, mix: str) -> None:
        self._process, self.mix = process, mix
        self._revision = 0

    @classmethod
    @contextlib.asynccontextmanager
    async def running(cls, rig: MixerRig, mix: str, **setup: Any) -> AsyncIterator[Self]:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            MODULE,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            limit=MAX_LINE_BYTES,
        )
        mixer = cls(process, mix)
        try:
            mixer.tell(
                Setup(mix=mix, node=NODE, nats_url=rig.nats.url, shm_dir=str(rig.shm_dir), log="warning", **setup)
            )
            yield mixer
        finally:
            if process.returncode is None:
                process.kill()
            await process.wait()

    @property
    def pid(self) -> int:
        return self._process.pid

    def tell(self, message: Setup | Still | Layout) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(line(message))

    def kill(self) -> None:
        self._process.kill()

    def end(self) -> None:
        """As a service does that has no more use for it."""
        assert self._process.stdin is not None
        self._process.stdin.close()

    async def exit_code(self) -> int:
        async with patience(_ANSWER_SECONDS):
            return await self._process.wait()

    async def hear(self, kind: type[FromMixerT]) -> FromMixerT:
        """The next message of this kind; those before it are passed over."""
        assert self._process.stdout is not None
        async with patience(_ANSWER_SECONDS):
            while text := await self._process.stdout.readline():
                message = read_by_service(text)
                if isinstance(message, kind):
                    return message
                assert not isinstance(message, Refused), message
        raise AssertionError(f"it ended with {await self._process.wait()}")

    async def hear_refusal(self) -> Refused:
        assert self._process.stdout is not None
        async with patience(_ANSWER_SECONDS):
            while not isinstance(message := read_by_service(await self._process.stdout.readline()), Refused):
                assert not isinstance(message, Applied), message
        return message

    def ask(self, spec: MixSpec, stills: Mapping[str, str] = {}) -> int:
        """Send a layout; inputs named `mesh://…` are streams. Returns its revision."""
        self._revision += 1
        streams = {
            one.input: one.source.removeprefix("mesh://") for one in spec.inputs if one.source.startswith("mesh://")
        }
        self.tell(Layout(revision=self._revision, spec=spec, streams=streams, stills=dict(stills)))
        return self._revision

    async def show(self, spec: MixSpec, stills: Mapping[str, str] = {}) -> Applied:
        revision = self.ask(spec, stills)
        applied = await self.hear(Applied)
        assert applied.revision == revision
        return applied

    async def wait_for(self, what: Callable[[Report], bool], seconds: float = 15.0) -> Report:
        """The first report of which this is true."""
        waiting = Patience(seconds)
        while True:
            report = await self.hear(Report)
            if what(report):
                return report
            assert not waiting.is_over(), report


@dataclass
class Watched:
    """What came out: references, what was looked at in each picture, and sound."""

    refs: list[FrameRef] = field(default_factory=list)
    looks: list[Any] = field(default_factory=list)
    blocks: list[tuple[AudioHeader, Samples]] = field(default_factory=list)
    missed: int = 0
    arrived: asyncio.Event = field(default_factory=asyncio.Event)

    async def wait_for(self, count: int, seconds: float = 15.0) -> None:
        """So many pictures from now on."""
        wanted = len(self.refs) + count
        async with patience(seconds):
            while len(self.refs) < wanted:
                self.arrived.clear()
                await self.arrived.wait()

    async def until(self, seen: Callable[[Any], bool], seconds: float = 15.0) -> Any:
        """The first look, of a picture that comes from now on, of which this is true."""
        async with patience(seconds):
            while True:
                begin = len(self.looks)
                await self.wait_for(1, seconds)
                for look in self.looks[begin:]:
                    if look is not None and seen(look):
                        return look

    def sound(self) -> tuple[int, Samples]:
        """All of it, shape (samples, channels), and `pts_ns` of the first sample; gaps are not filled."""
        return self.blocks[0][0].pts_ns, np.concatenate([samples for _, samples in self.blocks])


@contextlib.asynccontextmanager
async def watched(
    rig: MixerRig, bus: Bus, stream: str, look: Callable[[npt.NDArray[Any], FrameRef], Any] | None = None
) -> AsyncIterator[Watched]:
    """Follow a stream; `look` is shown each picture in place, in the ring's own form."""
    found = Watched()
    with RingReader(rig.shm_dir) as reader:

        def picture(message: Message) -> None:
            ref = _decode_ref(message.data)
            found.refs.append(ref)
            seen = None
            if look is not None:
                try:
                    with reader.lease(ref) as lease:
                        seen = look(lease.array, ref)
                except LeaseError:
                    found.missed += 1
            found.looks.append(seen)
            found.arrived.set()

        def sound(message: Message) -> None:
            header, samples = unpack_audio(message.data)
            found.blocks.append((header, np.frombuffer(samples, np.int16).reshape(-1, header.channels)))

        subscriptions = [await bus.subscribe(frames(NODE, stream), picture)]
        subscriptions.append(await bus.subscribe(audio(NODE, stream), sound))
        try:
            yield found
        finally:
            for subscription in subscriptions:
                await subscription.close()
