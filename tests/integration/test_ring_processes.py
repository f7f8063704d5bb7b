"""Rings between real processes: who dies, stops, lags or races."""

import contextlib
import json
import os
import resource
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from schemas.errors import OutOfSpace
from schemas.frames import FrameAck, FrameRef
from shared.ring import (
    FrameOverwritten,
    LosslessGate,
    RingGeometry,
    RingReader,
    RingWriter,
    StreamWriter,
    list_rings,
    sweep,
)
from tests.support.ring import GRAY, fill, make_writer, put, ring_folder

__all__ = ["ring_folder"]
pytestmark = pytest.mark.integration

ANSWER_SECONDS = 60.0  # a child starts in 0.2 s; a loaded machine is slower
TORN_CHECKS = 1_000_000 if os.environ.get("FRAMEMESH_TEST_LONG") else 250_000
TORN_READERS = 3


class Child:
    """A process at the ring; see tests/support/ring_child.py."""

    def __init__(self, folder: Path, role: str, **environment: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.ring_child", str(folder), role],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
            cwd=Path(__file__).parents[2],
            env=os.environ | environment,
        )
        self._buffer = b""

    def say(self, value: Any) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(msgspec.json.encode(value) + b"\n")

    def hear(self, timeout_seconds: float = ANSWER_SECONDS) -> Any:
        assert self.process.stdout is not None
        deadline = time.monotonic() + timeout_seconds
        while b"\n" not in self._buffer:
            ready, _, _ = select.select([self.process.stdout], [], [], deadline - time.monotonic())
            assert ready, "the child does not answer"
            chunk = os.read(self.process.stdout.fileno(), 65536)
            assert chunk, f"the child ended with {self.process.wait(5)}"
            self._buffer += chunk
        line, _, self._buffer = self._buffer.partition(b"\n")
        return json.loads(line)

    def ask(self, value: Any) -> Any:
        self.say(value)
        return self.hear()

    def put(self, value: int, width: int = 64) -> FrameRef:
        return msgspec.convert(self.ask({"put": value, "width": width}), FrameRef)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(10)


@pytest.fixture
def child(ring_folder: Path) -> Iterator[Callable[..., Child]]:
    children: list[Child] = []

    def start(role: str, **environment: str) -> Child:
        children.append(Child(ring_folder, role, **environment))
        return children[-1]

    yield start
    for one in children:
        one.process.send_signal(signal.SIGCONT)
        one.kill()
        one.process.stdin.close()
        one.process.stdout.close()


def test_many_readers_hold_the_same_picture(ring_folder: Path, child):
    with make_writer(ring_folder, slots=2, history=0, keep_seconds=0) as writer:
        readers = [child("hold") for _ in range(4)]
        ref = put(writer, 9)
        assert [reader.ask(ref) for reader in readers] == [{"value": 9}] * 4
        for number in range(10, 20):
            put(writer, number)
        assert [reader.ask({"look": True}) for reader in readers] == [{"values": [9]}] * 4
        for reader in readers:
            assert not _can_get(writer, ref.slot)
            reader.ask({"release": True})
        assert _can_get(writer, ref.slot)


def _can_get(writer: RingWriter, index: int) -> bool:
    taken = []
    while (slot := writer.acquire()) is not None:
        taken.append(slot)
    for slot in taken:
        slot.abandon()
    return index in {slot.index for slot in taken}


def test_a_killed_reader_holds_nothing(ring_folder: Path, child):
    with make_writer(ring_folder, slots=2, history=0, keep_seconds=0) as writer:
        reader = child("hold")
        assert reader.ask(put(writer, 1)) == {"value": 1}
        assert reader.ask(put(writer, 2)) == {"value": 2}
        assert writer.acquire() is None
        reader.kill()
        assert writer.acquire() is not None  # at once: no heartbeat, no timeout


def test_a_killed_writer_leaves_nothing_but_what_readers_hold(ring_folder: Path, child):
    writer, reader = child("write"), child("hold")
    refs = [writer.put(value) for value in (1, 2, 3)]
    assert reader.ask(refs[2]) == {"value": 3}
    assert sweep(ring_folder) == []
    writer.kill()
    assert [entry.writer_alive for entry in list_rings(ring_folder)] == [False]
    assert reader.ask(refs[1]) == {"value": 2}  # published is published
    assert sweep(ring_folder) == [refs[0].ring]
    assert reader.ask({"look": True}) == {"values": [3, 2]}
    assert reader.ask(refs[2]) == {"value": 3}


def test_a_writer_killed_while_it_writes(ring_folder: Path, child):
    writer = child("write")
    refs = [writer.put(value) for value in (1, 2, 3, 4)]
    assert writer.ask({"acquire": True}) == {"acquired": True}
    writer.kill()
    outcomes = []
    with RingReader(ring_folder) as reader:
        for ref in refs:
            with contextlib.suppress(FrameOverwritten), reader.lease(ref) as picture:
                assert (picture.array == ref.pts_ns).all()
                outcomes.append(ref.sequence)
    assert 4 in outcomes
    restarted = child("write", EPOCH="2")
    assert restarted.put(5).sequence == 1
    assert [entry.header.epoch for entry in list_rings(ring_folder)] == [2]


def test_a_reader_slower_than_the_ring_loses_pictures_and_never_stops_the_writer(ring_folder: Path, child):
    with make_writer(ring_folder, slots=4, keep_seconds=0) as writer:
        reader = child("hold")
        refs = [put(writer, number % 256) for number in range(100)]
        answers = [reader.ask(ref) for ref in refs[-10:]]
        assert answers[-2:] == [{"value": 98}, {"value": 99}]
        assert {"overwritten": True} in answers
        assert writer.counts.starved == 0


def test_the_geometry_changes_under_way(ring_folder: Path, child):
    writer, reader = child("write"), child("hold")
    refs = [writer.put(value, width) for value, width in ((1, 64), (2, 64), (3, 128), (4, 128), (5, 64))]
    assert [ref.sequence for ref in refs] == [1, 2, 3, 4, 5]
    assert len({ref.ring for ref in refs}) == 3
    assert [reader.ask(ref)["value"] for ref in refs] == [1, 2, 3, 4, 5]


def test_a_stopped_writer_that_wakes_gives_up(ring_folder: Path, child):
    old = child("write", EPOCH="1")
    old.put(1)
    old.process.send_signal(signal.SIGSTOP)
    new = child("write", EPOCH="2")
    assert new.put(2).epoch == 2
    assert len(list_rings(ring_folder)) == 2  # the old one is stopped, not gone
    old.process.send_signal(signal.SIGCONT)
    assert old.ask({"put": 3}) == {"superseded": True}
    assert old.process.wait(10) == 0
    assert [entry.header.epoch for entry in list_rings(ring_folder)] == [2]
    assert new.put(4).sequence == 2


def test_a_tmpfs_that_is_too_small_is_an_error_and_never_a_bus_error(tmp_path: Path):
    mount = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", tmp_path], capture_output=True)
    if mount.returncode:
        pytest.skip(f"mounting a tmpfs needs privileges: {mount.stderr.decode().strip()}")
    try:
        folder = tmp_path / "rings"
        hd = RingGeometry("yuv420p", 1920, 1080)
        with pytest.raises(OutOfSpace, match="FRAMEMESH_SHM_DIR") as caught:
            make_writer(folder, geometry=hd)
        assert caught.value.needed_bytes > 4 * hd.frame_bytes
        assert caught.value.free_bytes <= 2 * 2**20
        assert list(folder.iterdir()) == []
        assert _free_bytes(folder) == _free_bytes(tmp_path) > 2**20
        with make_writer(folder, geometry=RingGeometry("gray", 640, 480)) as writer:  # 1.2 MiB fit
            for number in range(8):
                put(writer, number)
            stream = StreamWriter(folder, stream="cam1", node="node-a", epoch=1, slots=2)
            fill(stream.acquire(RingGeometry("gray", 640, 400)), 1)
            # Two rings of this size do not fit next to each other: the old one makes room.
            ref = fill(stream.acquire(RingGeometry("gray", 600, 440)), 2)
            assert ref.sequence == 2
            with pytest.raises(OutOfSpace):
                stream.acquire(hd)
            assert fill(stream.acquire(RingGeometry("gray", 640, 400)), 3).sequence == 3
            stream.close()
        assert list(folder.iterdir()) == []
    finally:
        subprocess.run(["umount", "-l", tmp_path], check=True)


def _free_bytes(folder: Path) -> int:
    space = os.statvfs(folder)
    return space.f_bavail * space.f_frsize


def test_a_file_size_limit_is_out_of_space_too(ring_folder: Path):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (16384, before[1]))
    try:
        with pytest.raises(OutOfSpace, match="ulimit"):
            make_writer(ring_folder, geometry=GRAY, slots=8)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert list(ring_folder.iterdir()) == []


def test_no_picture_is_torn(ring_folder: Path, child):
    """Hundreds of thousands of leases that race a writer at full speed; every picture is checksummed."""
    writer = child("flood")
    ref = writer.hear()
    readers = [child("hammer") for _ in range(TORN_READERS)]
    count = -(-TORN_CHECKS // TORN_READERS)
    for seed, reader in enumerate(readers):
        reader.say({"ref": ref, "count": count, "seed": seed})
    reports = [reader.hear() for reader in readers]
    written = writer.ask({})
    print(reports, written)
    assert sum(report["torn"] for report in reports) == 0
    assert sum(report["checked"] for report in reports) >= TORN_CHECKS
    assert all(report["overwritten"] > 100 for report in reports)  # they did race
    assert written["written"] > 10_000


def test_lossless_between_two_processes(ring_folder: Path, child):
    """Every picture is consumed exactly once and in order, though credits get lost; errors reach the producer."""
    pictures = 60
    gate = LosslessGate(stream="cam0", epoch=1, consumer="job", window=3, policy="wait", resend_after_seconds=0.02)
    consumer = child("consume")
    failed: list[int] = []
    with make_writer(ring_folder, slots=5, history=0, keep_seconds=0, delivery="lossless") as writer:
        listener_done = threading.Event()

        def listen() -> None:
            while gate.counts.consumed + gate.counts.failed < pictures:
                report = gate.acknowledge(msgspec.convert(consumer.hear(), FrameAck))
                if report is not None:
                    failed.append(report.ref.sequence)
            listener_done.set()

        threading.Thread(target=listen, daemon=True).start()
        deadline = time.monotonic() + ANSWER_SECONDS
        written = 0
        while not listener_done.is_set() and time.monotonic() < deadline:
            for late in gate.due():
                consumer.say(late)
            if written == pictures or gate.in_flight == gate.window:
                listener_done.wait(0.005)
                continue
            assert gate.admit(10)
            slot = writer.acquire(gate.protected)
            assert slot is not None
            slot.array[...] = (written + 1) % 256
            ref = slot.commit(0, 0, 0)
            gate.sent(ref)
            consumer.say(ref)
            written += 1
        assert gate.drain(0)
    assert written == pictures
    # An error whose credit was lost comes back as plain credit: the picture counts as consumed.
    assert failed
    assert all(sequence % 3 == 0 for sequence in failed)
    assert gate.counts.resent > 0
    assert gate.counts.consumed + gate.counts.failed == pictures
