"""One look at a running mesh: memory, descriptors, threads and tasks of each process, and what lies in its stores."""

import asyncio
import contextlib
import json
import os
import statistics
import time
from collections import defaultdict
from http.client import HTTPException
from pathlib import Path
from typing import Any, NamedTuple

import nats

from schemas.subjects import SERVICES
from tests.soak.load import RECORDING, STREAM
from tests.support.content import Content, decode, sync_errors
from tests.support.mesh import FORK_SERVER, RunningMesh, bunny
from tests.support.metrics import families

MIB = 1 << 20
_BLOCK_BYTES = 512  # of st_blocks, see stat(2)
_REPLY_SECONDS = 5.0
_TOLD_LINES = 3  # of the log, of a process that was started again
# Of each stage of a picture's way: how old it is then.
_STAGES = {
    "in the ring": ("capture", "framemesh_capture_latency_seconds"),
    "encoded": ("hw-encode", "framemesh_hw_encode_latency_seconds"),
    "sent to viewers": ("webrtc-gateway", "framemesh_webrtc_send_latency_seconds"),
    "at outputs": ("publisher", "framemesh_publisher_latency_seconds"),
}
# Events grow until their bound, and jobs until they lapse; other records should not grow at all.
_KINDS = {"mesh_events": "bus events", "mesh_audit": "bus events"} | dict.fromkeys(
    ("KV_mesh_jobs", "KV_mesh_job_pages", "KV_mesh_usage", "mesh_jobs_queue"), "bus jobs"
)
_TASKS = "framemesh_loop_tasks"

Values = dict[tuple[str, str], float]
"""(measure, of what) to its value; measures are those of `verdicts`."""


class Look(NamedTuple):
    at_seconds: float
    """Since the load began."""
    values: Values


class Watcher:
    """Looks from outside: /proc, the services' own metrics, the bus, the disk."""

    def __init__(self, mesh: RunningMesh) -> None:
        self._mesh = mesh
        self._began = time.monotonic()
        self._stages: dict[str, tuple[float, float]] = {}
        self._clip: Content | None = None
        self._pids = mesh.pids()
        self._seen: set[Path] = set()
        self.restarts: list[str] = []
        """Processes that were not the same at the next look."""

    def look(self, *, thorough: bool) -> Look:
        """`thorough`: with what costs more, the bus' stores and sound beside pictures."""
        values: Values = {}
        self._processes(values)
        self._metrics(values)
        self._stores(values)
        if thorough:
            values |= asyncio.run(_bus(self._mesh.environment["FRAMEMESH_NATS_URL"]))
            self._sound(values)
        return Look(time.monotonic() - self._began, values)

    def _processes(self, values: Values) -> None:
        assert self._mesh.process is not None
        pids = self._mesh.pids()
        for name in self._pids.keys() | pids.keys():
            if self._pids.get(name) != pids.get(name):
                said = [line for line in self._mesh.log.read_text().splitlines() if name in line][-_TOLD_LINES:]
                self.restarts.append(f"{name}: {self._pids.get(name)}, then {pids.get(name)}; {' | '.join(said)}")
        self._pids = pids
        for name, pid in {**pids, "launcher": self._mesh.process.pid}.items():
            # The children of the launcher and of its fork server are the others.
            for measure, value in process_values(pid, with_children=name not in ("launcher", FORK_SERVER)).items():
                values[measure, name] = value

    def _metrics(self, values: Values) -> None:
        for service, url in self._mesh.ready["metrics"].items():
            with contextlib.suppress(OSError, HTTPException):  # it has just ended, which the next look tells
                self._service(service, url, values)

    def _service(self, service: str, url: str, values: Values) -> None:
        found: defaultdict[str, float] = defaultdict(float)
        for family in families(url):
            for sample in family.samples:
                # Streams that come and go would change the mixture.
                if sample.labels.get("stream", STREAM) == STREAM:
                    found[sample.name] += sample.value
        if _TASKS in found:
            values["tasks", service] = found[_TASKS]
        for stage, (of, name) in _STAGES.items():
            if of != service:
                continue
            now = found[f"{name}_sum"], found[f"{name}_count"]
            before = self._stages.get(stage, (0.0, 0.0))
            self._stages[stage] = now
            if now[1] > before[1]:
                values["latency", stage] = (now[0] - before[0]) / (now[1] - before[1]) * 1e3

    def _stores(self, values: Values) -> None:
        values["shared memory", "rings"] = used_bytes(self._mesh.shm_dir) / MIB
        data = self._mesh.folder / "data"
        recordings = used_bytes(self._mesh.media_dir)
        values["disk", "recordings"] = recordings / MIB
        values["disk", "all else"] = (used_bytes(data) - recordings) / MIB

    def _sound(self, values: Values) -> None:
        """How late sound is against its picture in the newest recording that is finished and was not looked at."""
        files = sorted((self._mesh.media_dir / RECORDING).glob("*.mp4"))[:-1]
        if not files or files[-1] in self._seen:
            return
        self._seen.add(files[-1])
        self._clip = self._clip or decode(bunny())
        # It was as old as it may become, or has no sound, which shows where there is never any.
        with contextlib.suppress(FileNotFoundError, IndexError):
            if errors := sync_errors(decode(files[-1]), self._clip):
                values["sound", STREAM] = statistics.median(errors) * 1e3


def process_values(pid: int, *, with_children: bool = True) -> dict[str, float]:
    """Of a process and of those below it: `memory` of its own (MiB), `descriptors`, `threads`."""
    found = {"memory": 0.0, "descriptors": 0.0, "threads": 0.0}
    for one in family(pid) if with_children else [pid]:
        with contextlib.suppress(OSError):  # it has ended between two looks
            status = dict(
                line.split(":", 1) for line in Path(f"/proc/{one}/status").read_text().splitlines() if ":" in line
            )
            if "RssAnon" not in status:  # a process that has ended and was not waited for
                continue
            # Without files and what is shared: rings are counted once, where they lie.
            found["memory"] += int(status["RssAnon"].split()[0]) / 1024
            found["threads"] += int(status["Threads"])
            found["descriptors"] += len(os.listdir(f"/proc/{one}/fd"))
    return found


def family(pid: int) -> list[int]:
    """A process and those below it."""
    found = [pid]
    for one in found:  # grows while it is walked
        with contextlib.suppress(OSError):
            for task in Path(f"/proc/{one}/task").iterdir():
                found += map(int, (task / "children").read_text().split())
    return found


def used_bytes(folder: Path) -> int:
    """That files below a folder take, holes left out."""
    used = 0
    for root, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                used += os.stat(os.path.join(root, name)).st_blocks * _BLOCK_BYTES
    return used


async def _bus(url: str) -> Values:
    """Bytes of each store of the bus, consumers of all, and messages by the service that they are of."""
    client = await nats.connect(url, connect_timeout=_REPLY_SECONDS)
    try:

        async def ask(what: str, **request: Any) -> dict[str, Any]:
            body = json.dumps(request).encode()
            reply = await client.request(f"$JS.API.STREAM.{what}", body, timeout=_REPLY_SECONDS)
            answer: dict[str, Any] = json.loads(reply.data)
            return answer

        values: Values = {}
        messages: defaultdict[tuple[str, str], float] = defaultdict(float)
        consumers = 0
        for stream in (await ask("LIST"))["streams"]:
            name, state = stream["config"]["name"], stream["state"]
            values["bus store", name] = state["bytes"] / MIB
            consumers += state["consumer_count"]
            subjects = (await ask(f"INFO.{name}", subjects_filter=">"))["state"].get("subjects") or {}
            kind = _KINDS.get(name, "bus records")
            for subject, count in subjects.items():
                messages[kind, _owner_of(subject, name)] += count
        values["bus consumers", "all"] = float(consumers)
        return values | messages
    finally:
        await client.close()


def _owner_of(subject: str, store: str) -> str:
    """`$KV.mesh_actual.capture.cam0` and `mesh.v1.evt.capture.cam0.live` are of capture; else it is the store's own."""
    return next((word for word in subject.split(".") if word in SERVICES), store.removeprefix("KV_"))
