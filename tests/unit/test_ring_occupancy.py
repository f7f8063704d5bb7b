"""What is told of rings from outside: whose they are, how large, how many slots readers hold."""

from pathlib import Path

import pytest

from shared.ring import RingReader, occupancy
from tests.support.ring import make_writer, put, ring_folder

__all__ = ["ring_folder"]
pytestmark = pytest.mark.unit


def test_slots_that_readers_hold_are_counted(ring_folder: Path) -> None:
    with make_writer(ring_folder, slots=4, history=0, keep_seconds=0) as writer, RingReader(ring_folder) as reader:
        stream = writer.header.stream
        assert (occupancy(ring_folder)[stream].slots, occupancy(ring_folder)[stream].held) == (4, 0)
        assert occupancy(ring_folder)[stream].file_bytes == (ring_folder / writer.name).stat().st_size
        with reader.lease(put(writer, 1)), reader.lease(put(writer, 2)):
            assert occupancy(ring_folder)[stream].held == 2
            slot = writer.acquire()  # being written, which no reader does
            assert slot is not None
            assert occupancy(ring_folder)[stream].held == 2
            slot.abandon()
        assert occupancy(ring_folder)[stream].held == 0
    assert occupancy(ring_folder) == {}, "a ring that nobody writes is none"


def test_what_is_no_ring_is_left_out(ring_folder: Path, tmp_path: Path) -> None:
    ring_folder.mkdir(exist_ok=True)
    (ring_folder / "cam0.1.0123456789abcdef.ring").write_bytes(b"no ring")
    assert occupancy(ring_folder) == {}
    assert occupancy(tmp_path / "missing") == {}
