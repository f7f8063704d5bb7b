"""Frame-extractors as processes on one bus, each a node of its own, that can be killed and started again."""

import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import msgspec

from schemas.errors import MeshError
from schemas.extraction import (
    ENDED_STATES,
    CancelJob,
    ExtractedFrame,
    GetUsage,
    Job,
    JobList,
    JobRecord,
    JobReply,
    ListJobs,
    PollJob,
    SubmitJob,
    Submitted,
    UsageReply,
)
from schemas.subjects import JOBS_BUCKET, command, job_key
from shared.bus import Bus
from tests.support.nats import NatsServer
from tests.support.pace import Patience
from tests.support.peers import free_port
from tests.support.processes import children

_READY_SECONDS = 20.0
_POLL_SECONDS = 0.05
_STOP_SECONDS = 15.0
_REPLY_SECONDS = 2.0  # of a worker that stands still there is none
_SERVICE = "frame-extractor"


class Extractors:
    """Use as an async context: a nats-server, a folder for videos and pictures, and workers as asked for."""

    def __init__(self, **settings: Any) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="framemesh-jobs-"))
        self.videos = self.folder / "data" / "media"
        self.pictures = self.folder / "data" / "pictures"
        self.log = self.folder / "log"
        self.nats = NatsServer()
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.metrics_ports: dict[str, int] = {}
        self._settings = {f"FRAMEMESH_FRAME_EXTRACTOR_{name.upper()}": str(value) for name, value in settings.items()}
        self.videos.mkdir(parents=True)
        self.pictures.mkdir()

    def start(self, node: str, **settings: Any) -> None:
        """A worker of its own on a node of its own; `settings` besides those of all."""
        port = self.metrics_ports.setdefault(node, free_port())
        own = {f"FRAMEMESH_FRAME_EXTRACTOR_{name.upper()}": str(value) for name, value in settings.items()}
        environment = {
            **{key: value for key, value in os.environ.items() if not key.startswith("FRAMEMESH_")},
            "FRAMEMESH_NATS_URL": self.nats.url,
            "FRAMEMESH_NODE": node,
            "FRAMEMESH_DATA_DIR": str(self.folder / "data"),
            "FRAMEMESH_SHM_DIR": str(self.folder / "shm"),
            "FRAMEMESH_FRAME_EXTRACTOR_METRICS_PORT": str(port),
            "FRAMEMESH_FRAME_EXTRACTOR_HTTP_PORT": "0",
            **self._settings,
            **own,
        }
        with self.log.open("ab") as log:
            self.processes[node] = subprocess.Popen(
                [sys.executable, "-m", "services.frame_extractor"], env=environment, stderr=log
            )

    def kill(self, node: str, number: signal.Signals = signal.SIGKILL) -> int:
        process = self.processes.pop(node)
        process.send_signal(number)
        return process.wait(_STOP_SECONDS)

    async def up(self, node: str) -> None:
        """This worker is ready."""
        patience = Patience(_READY_SECONDS)
        url = f"http://127.0.0.1:{self.metrics_ports[node]}/readyz"
        while not patience.is_over():
            with contextlib.suppress(OSError):
                await asyncio.to_thread(lambda: urllib.request.urlopen(url, timeout=1).close())
                return
            await asyncio.sleep(_POLL_SECONDS)
        raise AssertionError(f"{node} is not ready\n{self.log.read_text()[-3000:]}")

    def job_processes(self, node: str) -> list[int]:
        """Of a worker, in which jobs are done."""
        return [copy for keeper in self.keepers(node) for copy in children(keeper)]

    def keepers(self, node: str) -> list[int]:
        """Of a worker, the processes that jobs are given copies of."""
        below = children(self.processes[node].pid)
        return [pid for pid in below if b"jobs.keeper" in Path(f"/proc/{pid}/cmdline").read_bytes()]

    # -- its commands ------------------------------------------------------------------------------------------

    async def ready(self) -> None:
        """Some instance answers."""
        patience = Patience(_READY_SECONDS)
        while True:
            try:
                await self.list()
                return
            except MeshError:
                if patience.is_over():
                    raise AssertionError(f"nobody answers\n{self.log.read_text()[-3000:]}") from None
                await asyncio.sleep(_POLL_SECONDS)

    def request(self, video: Path, name: str, **fields: Any) -> SubmitJob:
        to = f"file://{self.pictures}/{name}/{{index:04d}}.{{autoext}}"
        return SubmitJob(video=f"file://{video}", to=to, **fields)

    async def submit(self, video: Path, name: str, **fields: Any) -> Submitted:
        return await self.ask("submit", self.request(video, name, **fields), Submitted)

    async def poll(self, job: str, **fields: Any) -> JobReply:
        return await self.ask("poll", PollJob(job=job, **fields), JobReply)

    async def cancel(self, job: str) -> JobReply:
        return await self.ask("cancel", CancelJob(job=job), JobReply)

    async def list(self, **fields: Any) -> JobList:
        return await self.ask("list", ListJobs(**fields), JobList)

    async def usage(self, **fields: Any) -> UsageReply:
        return await self.ask("usage", GetUsage(**fields), UsageReply)

    async def ask(self, verb: str, request: Any, reply: Any) -> Any:
        return await self.bus.request(command(_SERVICE, verb), request, reply, _REPLY_SECONDS)

    async def ended(self, job: str, seconds: float = 20.0) -> JobReply:
        """The job when it has ended, with the first part of its pictures."""
        await self.when(job, lambda job: job.state in ENDED_STATES, seconds)
        patience = Patience(seconds)
        while True:
            try:
                return await self.poll(job)
            except MeshError:  # who was asked was killed meanwhile, stands still, or the bus is away
                if patience.is_over():
                    raise
                await asyncio.sleep(_POLL_SECONDS)

    async def when(self, job: str, predicate: Callable[[Job], bool], seconds: float = 20.0) -> Job:
        """The job, by its record on the bus, once it is as wanted."""
        patience = Patience(seconds)
        record = None
        while not patience.is_over():
            try:
                entry = await (await self.bus.bucket(JOBS_BUCKET)).get(job_key(job))
            except MeshError:  # the bus is away
                entry = None
            if entry is not None:
                record = msgspec.json.decode(entry.value, type=JobRecord)
                if predicate(record.job):
                    return record.job
            await asyncio.sleep(_POLL_SECONDS)
        raise AssertionError(f"not within {patience.seconds} s: {record}\n{self.log.read_text()[-3000:]}")

    async def frames(self, job: str) -> "list[ExtractedFrame]":
        """All pictures of a completed job."""
        found: list[ExtractedFrame] = []
        while True:
            reply = await self.poll(job, first=len(found))
            found += reply.frames
            if not reply.more:
                return found

    async def __aenter__(self) -> Self:
        self.nats.start()
        self.bus = await Bus.connect(self.nats.url, name="test")
        return self

    async def __aexit__(self, *_: object) -> None:
        for process in self.processes.values():
            process.terminate()
        for process in self.processes.values():
            try:
                process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        await self.bus.drain()
        self.nats.kill()
        shutil.rmtree(self.nats.folder, ignore_errors=True)
        shutil.rmtree(self.folder, ignore_errors=True)


def make_clip(path: Path, seconds: float = 2.0, size: str = "160x90", key_interval: int = 25) -> Path:
    """A moving test pattern, 25 pictures a second."""
    subprocess.run(
        [
            *("ffmpeg", "-v", "error", "-y", "-f", "lavfi", "-i", f"testsrc2=size={size}:rate=25:duration={seconds}"),
            *("-c:v", "libx264", "-preset", "ultrafast", "-g", str(key_interval), "-threads", "1", str(path)),
        ],
        check=True,
        timeout=60,
    )
    return path
