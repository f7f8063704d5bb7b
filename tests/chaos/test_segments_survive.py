"""The publisher is killed or frozen, or its disk is full, during a recording in segments: every picture is in one file,
and every index is right."""

import asyncio
import os
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from schemas.events import Event
from schemas.subjects import all_events
from shared.bus import Bus, Message
from tests.support.mesh import RunningMesh
from tests.support.recorded_set import check_set

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(90)]

KILLS = 2
FROZEN_SECONDS = 1.5  # more than a fragment, less than a bus server waits for a client
FPS = 30
SEGMENT = "0.5s"
MIN_FREE_BYTES = 600_000
LEFT_BYTES = 520_000
DELETED = 3  # files, each at another moment between two


class EventLog:
    """What the mesh tells of one output; use as a context manager."""

    def __init__(self, nats_url: str, resource: str) -> None:
        self._url, self._resource = nats_url, resource
        self._ready, self._stop = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._listen()), daemon=True)
        self.events: list[Event] = []

    async def _listen(self) -> None:
        bus = await Bus.connect(self._url, name="event-log", timeout_seconds=5)

        def hear(message: Message) -> None:
            event = msgspec.json.decode(message.data, type=Event)
            if event.id == self._resource and event.event != "state":
                self.events.append(event)

        subscription = await bus.subscribe(all_events(), hear)
        await bus.flush()
        self._ready.set()
        await asyncio.to_thread(self._stop.wait)
        await subscription.close()
        await bus.drain()

    def named(self, name: str) -> list[dict[str, Any]]:
        return [event.detail for event in self.events if event.event == name]

    def __enter__(self) -> "EventLog":
        self._thread.start()
        assert self._ready.wait(5)
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(5)


@pytest.fixture(scope="module")
def mesh() -> Iterator[RunningMesh]:
    with RunningMesh(environment={"FRAMEMESH_PUBLISHER_MIN_FREE_BYTES": str(MIN_FREE_BYTES)}) as running:
        running.call("capture.start", stream="cam0", source=f"test://?size=384x216&fps={FPS}", wait_s=10)
        running.call("hw-encode.start", stream="cam0", key_interval=SEGMENT)
        yield running


def test_every_picture_is_in_one_file_whatever_is_killed(mesh: RunningMesh) -> None:
    with EventLog(mesh.ready["nats"], "cam0--archive") as log:
        to = "file://arc/{start:%H%M%S}.mp4"
        mesh.call("publisher.start", stream="cam0", output="archive", to=to, segment=SEGMENT, wait_s=10)
        folder = mesh.media_dir / "arc"
        for _ in range(KILLS):
            count = len(list(folder.glob("*.mp4")))
            mesh.wait_for(lambda: len(list(folder.glob("*.mp4"))) >= count + 2, 12, "two more segments")  # noqa: B023
            killed = mesh.kill("publisher")
            mesh.wait_for(lambda: mesh.pids().get("publisher", killed) != killed, 5, "a new publisher")  # noqa: B023
        publisher = mesh.pids()["publisher"]
        os.kill(publisher, signal.SIGSTOP)
        time.sleep(FROZEN_SECONDS)
        os.kill(publisher, signal.SIGCONT)
        count = len(list(folder.glob("*.mp4")))
        mesh.wait_for(lambda: len(list(folder.glob("*.mp4"))) > count, 12, "it goes on")
        mesh.call("publisher.stop", stream="cam0", output="archive", wait_s=10)
        mesh.wait_for(lambda: log.named("recording-stopped"), 5, "its end is told")
        files = sorted(folder.glob("*.mp4"), key=lambda path: path.stat().st_ino)
        told = [Path(detail["file_name"]) for detail in log.named("segment-finished")]
        found = check_set(files)
        print(f"{KILLS} kills, {len(files)} files, {found}")
        assert found.lost == 0, "the packet ring has what the killed publisher had not written"
        assert found.doubled == 0, "and what it has twice is cut away"
        assert found.largest_av_offset_ms < 40
        assert sorted(told) == sorted(files), "each file is told of once, a killed publisher's too"
        assert {detail["pictures"] for detail in log.named("segment-finished")} >= set(found.pictures)
        assert len(log.named("recording-started")) == 1


@pytest.fixture
def small_disk(mesh: RunningMesh) -> Iterator[Path]:
    """A disk of two megabytes at a folder of its own, so that a second try finds it as the first did."""
    disk = Path(tempfile.mkdtemp(prefix="small-", dir=mesh.media_dir))
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(disk)], check=True)
    try:
        yield disk
    finally:
        if mesh.actual("outputs", "cam0", "small"):
            mesh.call("publisher.stop", stream="cam0", output="small", wait_s=10)
        subprocess.run(["umount", "-l", str(disk)], check=True)
        disk.rmdir()


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a tmpfs needs root")
def test_a_full_disk_is_waited_for_and_what_is_kept_makes_room(mesh: RunningMesh, small_disk: Path) -> None:
    disk = small_disk
    with EventLog(mesh.ready["nats"], "cam0--small") as log:
        to = f"file://{disk.name}/{{start:%H%M%S}}.mp4"
        output = {"stream": "cam0", "output": "small", "to": to, "segment": SEGMENT}
        mesh.call("publisher.start", **output, wait_s=10)
        mesh.wait_for(lambda: len(log.named("segment-finished")) >= 2, 10, "two segments")
        # Less than is needed for another file, and so much more than `keep_free` below that one still fits.
        (disk / "ballast").write_bytes(bytes(os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize - LEFT_BYTES))

        def state() -> Any:
            return mesh.actual("outputs", "cam0", "small")

        full = mesh.wait_for(lambda: (now := state())["state"] == "retrying" and now, 10, "it is full")
        assert full["error"]["code"] == 507
        assert f"{MIN_FREE_BYTES} bytes needed" in full["error"]["message"]
        check_set(sorted(disk.glob("*.mp4")))
        mesh.call("publisher.start", **output, keep_free="450k", wait_s=10)
        mesh.wait_for(lambda: state()["state"] == "running", 10, "what is to stay free is less, and is there")
        mesh.wait_for(lambda: len(log.named("recording-deleted")) >= DELETED, 20, "the oldest make room")
        mesh.wait_for(lambda: state()["state"] == "running", 10, "it goes on")
        mesh.call("publisher.stop", stream="cam0", output="small", wait_s=10)
    finished = log.named("segment-finished")[:DELETED]
    assert log.named("recording-deleted")[:DELETED] == [
        {"file": one["file"], "file_name": one["file_name"], "reason": "keep_free"} for one in finished
    ]
    assert len(log.named("disk-full")) == 1, "what may be deleted is, before a disk is said to be full"
