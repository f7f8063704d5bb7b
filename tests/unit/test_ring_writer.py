"""The writing end: which slot comes next, what a new writer does to an old one, what is left behind."""

import fcntl
import gc
import os
import stat
import struct
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from schemas.errors import InvalidValue, OutOfSpace
from shared.kernel_locks import read_lock
from shared.ring import (
    FrameOverwritten,
    RingGeometry,
    RingGone,
    RingReader,
    StreamWriter,
    Superseded,
    list_rings,
    sweep,
)
from shared.ring.layout import WRITER_LOCK_OFFSET
from tests.support.ring import GRAY, fill, make_writer, put, ring_folder

__all__ = ["ring_folder"]
pytestmark = pytest.mark.unit


def test_sequences_count_up_from_one_and_reach_the_header(ring_folder: Path):
    with make_writer(ring_folder) as writer:
        assert [put(writer, 1).sequence for _ in range(6)] == [1, 2, 3, 4, 5, 6]
        assert writer.last_sequence == 6
        (entry,) = list_rings(ring_folder)
        assert (entry.name, entry.header.last_sequence, entry.writer_alive) == (writer.name, 6, True)


def test_modes(ring_folder: Path):
    with make_writer(ring_folder) as writer:
        assert stat.S_IMODE((ring_folder / writer.name).stat().st_mode) == 0o640
        assert stat.S_IMODE(ring_folder.stat().st_mode) == 0o2770


def test_warm_slots_are_reused_and_the_newest_pictures_stay(ring_folder: Path):
    with make_writer(ring_folder, slots=8, history=2, keep_seconds=0) as writer:
        refs = [put(writer, number) for number in range(1, 20)]
        assert len({ref.slot for ref in refs}) == 3
        with RingReader(ring_folder) as reader:
            for ref in refs[-2:]:
                with reader.lease(ref) as picture:
                    assert (picture.array == ref.pts_ns).all()
            with pytest.raises(FrameOverwritten):
                reader.lease(refs[-4])


def test_young_pictures_stay_while_other_slots_will_do(ring_folder: Path):
    with make_writer(ring_folder, slots=8, history=2, keep_seconds=60) as writer:
        refs = [put(writer, number) for number in range(1, 20)]
        with RingReader(ring_folder, max_leases=8) as reader:
            leases = [reader.lease(ref) for ref in refs[-8:]]  # the last 8 pictures are in 8 slots
            assert [lease.array[0, 0] for lease in leases] == list(range(12, 20))


def test_a_leased_slot_is_passed_over_and_all_leased_is_none(ring_folder: Path):
    with make_writer(ring_folder, slots=3, history=0, keep_seconds=0) as writer, RingReader(ring_folder) as reader:
        leases = [reader.lease(put(writer, number)) for number in (1, 2, 3)]
        assert writer.acquire() is None
        assert writer.starved_seconds > 0
        leases[1].release()
        ref = put(writer, 4)
        assert ref.slot == leases[1].ref.slot
        assert writer.starved_seconds == 0
        assert [int(lease.array[0, 0]) for lease in (leases[0], leases[2])] == [1, 3]
        assert (writer.counts.starved, writer.counts.committed) == (1, 4)


def test_protected_sequences_are_passed_over(ring_folder: Path):
    with make_writer(ring_folder, slots=3, history=0, keep_seconds=0) as writer:
        refs = [fill(writer.acquire(range(1, number)), number) for number in (1, 2)]
        third = writer.acquire(range(1, 3))
        assert third.index not in {ref.slot for ref in refs}
        fill(third, 3)
        assert writer.acquire(range(1, 4)) is None
        assert writer.acquire(range(2, 4)).index == refs[0].slot


def test_a_slot_is_committed_or_abandoned_once(ring_folder: Path):
    with make_writer(ring_folder) as writer:
        slot = writer.acquire()
        fill(slot, 1)
        slot.abandon()  # nothing to abandon any more
        with pytest.raises(RuntimeError, match="before"):
            fill(slot, 2)
        writer.acquire().abandon()
        writer.acquire()  # forgotten
        gc.collect()
        assert (writer.counts.committed, writer.counts.abandoned) == (1, 2)
        for number in range(2, 20):
            put(writer, number)


def test_bad_times_do_not_lose_the_slot(ring_folder: Path):
    with make_writer(ring_folder, slots=2) as writer:
        for _ in range(5):
            with pytest.raises(Exception, match=r"format|argument"):
                writer.acquire().commit(pts_ns=2**64, captured_ns=0, monotonic_ns=0)
        assert put(writer, 1).sequence == 1


def test_two_slots_may_be_written_at_once(ring_folder: Path):
    with make_writer(ring_folder) as writer, RingReader(ring_folder) as reader:
        first, second = writer.acquire(), writer.acquire()
        refs = [fill(second, 2), fill(first, 1)]
        for ref in refs:
            with reader.lease(ref) as picture:
                assert (picture.array == ref.pts_ns).all()


def test_close_removes_the_ring(ring_folder: Path):
    writer = make_writer(ring_folder)
    ref = put(writer, 1)
    slot = writer.acquire()
    writer.close()
    writer.close()
    assert list(ring_folder.iterdir()) == []
    with pytest.raises(RuntimeError, match="closed"):
        fill(slot, 1)
    with pytest.raises(RuntimeError, match="closed"):
        writer.acquire()
    with RingReader(ring_folder) as reader, pytest.raises(RingGone):
        reader.lease(ref)


def test_nothing_is_left_when_memory_is_too_small(ring_folder: Path):
    ring_folder.mkdir()
    free = os.statvfs(ring_folder).f_bavail * os.statvfs(ring_folder).f_frsize
    geometry = RingGeometry("bgr24", 16384, 16384)  # 768 MiB a picture
    slots = 256
    if free > slots * geometry.frame_bytes:
        pytest.skip("this machine has more than 200 GB of shared memory")
    with pytest.raises(OutOfSpace, match="FRAMEMESH_SHM_DIR") as caught:
        make_writer(ring_folder, geometry=geometry, slots=slots)
    assert caught.value.needed_bytes > slots * geometry.frame_bytes
    assert 0 < caught.value.free_bytes <= free
    assert list(ring_folder.iterdir()) == []


@pytest.mark.parametrize("change", [{"slots": 1}, {"slots": 257}, {"history": -1}, {"stream": "../x"}, {"node": "N"}])
def test_create_refuses(ring_folder: Path, change):
    with pytest.raises(InvalidValue):
        make_writer(ring_folder, **change)
    assert not ring_folder.exists() or list(ring_folder.iterdir()) == []


def test_a_newer_epoch_supersedes_the_older(ring_folder: Path):
    with make_writer(ring_folder, epoch=1) as old, make_writer(ring_folder, stream="cam1") as other:
        slot = old.acquire()
        assert not old.superseded
        with make_writer(ring_folder, epoch=3) as new:
            assert old.superseded
            with pytest.raises(Superseded) as caught:
                fill(slot, 1)
            assert (caught.value.epoch, caught.value.newer_epoch) == (1, 3)
            with pytest.raises(Superseded):
                old.acquire()
            with pytest.raises(Superseded):  # a late one is not even made
                make_writer(ring_folder, epoch=2)
            assert not new.superseded
            assert not other.superseded
            put(other, 1)
            put(new, 1)
        assert old.last_sequence == 0


def test_a_dead_newer_ring_does_not_stop_a_writer(ring_folder: Path):
    dead = make_writer(ring_folder, epoch=9)
    dead._file.close()  # as the kernel does when the process dies
    with make_writer(ring_folder, epoch=1) as writer:
        put(writer, 1)
        assert [entry.name for entry in list_rings(ring_folder)] == [writer.name]


def test_sweep_takes_dead_rings_only(ring_folder: Path):
    with make_writer(ring_folder) as alive:
        dead = make_writer(ring_folder, stream="cam1")
        ref = put(dead, 4)
        stranger = ring_folder / "notes.txt"
        stranger.write_text("not a ring")
        with RingReader(ring_folder) as reader, reader.lease(ref) as held:
            dead._file.close()  # as the kernel does when the process dies
            assert sweep(ring_folder) == [dead.name]
            assert (held.array == 4).all()
        assert sweep(ring_folder) == []
        assert {path.name for path in ring_folder.iterdir()} == {alive.name, stranger.name}
    assert sweep(ring_folder / "nowhere") == []


def test_a_reader_cannot_keep_a_dead_ring_from_being_swept(ring_folder: Path):
    dead = make_writer(ring_folder)
    fd = os.open(ring_folder / dead.name, os.O_RDONLY)
    dead._file.close()  # as the kernel does when the process dies
    fcntl.fcntl(fd, fcntl.F_OFD_SETLK, read_lock(WRITER_LOCK_OFFSET))
    assert sweep(ring_folder) == [dead.name]
    os.close(fd)


def _lock_all_slots(fd: int) -> None:
    """What a reader of ill will can do at most: the whole file but the writer's byte."""
    request = struct.pack("@hhqqi4x", fcntl.F_RDLCK, os.SEEK_SET, 1, 0, 0)
    fcntl.fcntl(fd, fcntl.F_OFD_SETLK, request)


def test_rings_are_made_while_others_sweep(ring_folder: Path, monkeypatch: pytest.MonkeyPatch):
    """Also where O_TMPFILE is not supported and a hidden name is taken until the lock is held."""
    ring_folder.mkdir()
    stop = threading.Event()
    swept: list[str] = []

    def keep_sweeping() -> None:
        while not stop.is_set():
            swept.extend(sweep(ring_folder))

    sweeper = threading.Thread(target=keep_sweeping)
    sweeper.start()
    try:
        for fallback in (False, True):
            if fallback:
                _without_tmpfile(monkeypatch)
            for epoch in range(1, 150):
                with make_writer(ring_folder, epoch=epoch) as writer, RingReader(ring_folder) as reader:
                    reader.lease(put(writer, 1)).release()
    finally:
        stop.set()
        sweeper.join(10)
    assert [name for name in swept if not name.startswith(".")] == []
    assert list(ring_folder.iterdir()) == []


def _without_tmpfile(monkeypatch: pytest.MonkeyPatch) -> None:
    real_open = os.open

    def open_without(path, flags, mode=0o777, **more):
        if flags & os.O_TMPFILE == os.O_TMPFILE:
            raise OSError(95, "Operation not supported")
        return real_open(path, flags, mode, **more)

    monkeypatch.setattr(os, "open", open_without)


def test_the_fallback_leaves_nothing_either(ring_folder: Path, monkeypatch: pytest.MonkeyPatch):
    _without_tmpfile(monkeypatch)
    with pytest.raises(OutOfSpace):
        make_writer(ring_folder, geometry=RingGeometry("bgr24", 16384, 16384), slots=256)
    assert list(ring_folder.iterdir()) == []


def _stream_writer(folder: Path, **changes) -> StreamWriter:
    return StreamWriter(folder, **{"stream": "cam0", "node": "node-a", "epoch": 5, "slots": 3} | changes)


def test_stream_writer_follows_the_geometry(ring_folder: Path):
    made: list[tuple[str, str]] = []
    writer = _stream_writer(
        ring_folder, retire_after_seconds=0, on_ring=lambda why, ring: made.append((why, ring.name))
    )
    with RingReader(ring_folder) as reader:
        first = fill(writer.acquire(GRAY), 1)
        held = reader.lease(first)
        second = fill(writer.acquire(RingGeometry("bgr24", 8, 8)), 2)
        assert (first.sequence, second.sequence) == (1, 2)
        assert second.ring != first.ring
        with reader.lease(second) as picture:
            assert picture.array.shape == (8, 8, 3)
        assert (held.array == 1).all()
        fill(writer.acquire(RingGeometry("bgr24", 8, 8)), 3)
        assert [path.name for path in ring_folder.iterdir()] == [second.ring]
        assert made == [("first", first.ring), ("geometry", second.ring)]
    writer.close()
    assert writer.counts.committed == 3
    assert list(ring_folder.iterdir()) == []


def test_stream_writer_keeps_an_old_ring_for_references_on_their_way(ring_folder: Path):
    writer = _stream_writer(ring_folder, retire_after_seconds=60)
    first = fill(writer.acquire(GRAY), 1)
    fill(writer.acquire(RingGeometry("gray", 8, 8)), 2)
    with RingReader(ring_folder) as reader, reader.lease(first) as picture:
        assert (picture.array == 1).all()
    writer.close()
    assert list(ring_folder.iterdir()) == []


def test_stream_writer_keeps_an_old_ring_while_its_last_picture_is_protected(ring_folder: Path):
    writer = _stream_writer(ring_folder, retire_after_seconds=0)
    fill(writer.acquire(GRAY), 1)
    fill(writer.acquire(RingGeometry("gray", 8, 8), range(1, 2)), 2)
    fill(writer.acquire(RingGeometry("gray", 8, 8), range(1, 3)), 3)
    assert len(list(ring_folder.iterdir())) == 2
    writer.acquire(RingGeometry("gray", 8, 8), range(2, 4))
    assert len(list(ring_folder.iterdir())) == 1
    writer.close()


def test_stream_writer_leaves_a_ring_whose_slots_are_all_held(ring_folder: Path):
    writer = _stream_writer(ring_folder, rotate_after_seconds=0.05, retire_after_seconds=0)
    fill(writer.acquire(GRAY), 1)
    first_ring = writer.name
    fd = os.open(ring_folder / first_ring, os.O_RDONLY)
    _lock_all_slots(fd)
    deadline = time.monotonic() + 5
    slot = writer.acquire(GRAY)
    assert slot is None
    while slot is None and time.monotonic() < deadline:
        slot = writer.acquire(GRAY)
    assert slot is not None
    ref = fill(slot, 2)
    assert ref.sequence == 2
    assert ref.ring != first_ring
    assert writer.rings_made == 2
    os.close(fd)
    writer.close()


def test_stream_writer_without_memory_for_a_new_ring(ring_folder: Path):
    writer = _stream_writer(ring_folder)
    fill(writer.acquire(GRAY), 1)
    writer.slots = 256
    with pytest.raises(OutOfSpace):
        writer.acquire(RingGeometry("bgr24", 16384, 16384))
    assert fill(writer.acquire(GRAY), 2).sequence == 2  # and goes on with what fits
    writer.close()


def test_pictures_are_written_in_place(ring_folder: Path):
    with make_writer(ring_folder, geometry=RingGeometry("yuv420p", 64, 48)) as writer:
        slot = writer.acquire()
        address = slot.array.ctypes.data
        np.copyto(slot.array, np.arange(72 * 64, dtype=np.uint8).reshape(72, 64))
        ref = slot.commit(1, 1, 1)
        assert address % 4096 == 0
        with RingReader(ring_folder) as reader, reader.lease(ref) as picture:
            assert (picture.array.ravel() == np.arange(72 * 64, dtype=np.uint8)).all()
