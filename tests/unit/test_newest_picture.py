"""Finding the newest picture of a stream in its rings."""

from pathlib import Path

import numpy as np
import pytest

from shared.ring import RingGeometry, RingReader, StreamWriter, newest_picture

pytestmark = pytest.mark.unit

SMALL = RingGeometry(pixel_format="gray", width=64, height=32)
LARGE = RingGeometry(pixel_format="gray", width=128, height=32)


def write(writer: StreamWriter, geometry: RingGeometry, value: int) -> None:
    slot = writer.acquire(geometry)
    assert slot is not None
    slot.array[:] = value
    slot.commit(pts_ns=value * 10, captured_ns=value * 100, monotonic_ns=value * 1000, clock="driver")


def test_it_is_the_one_that_was_written_last(tmp_path: Path) -> None:
    assert newest_picture(tmp_path, "cam0") is None, "no folder"
    assert newest_picture(tmp_path / "none", "cam0") is None
    writer = StreamWriter(tmp_path, stream="cam0", node="edge1", epoch=3, slots=4)
    reader = RingReader(tmp_path)
    for value in range(1, 11):  # round the slots, more than once
        write(writer, SMALL, value)
        found = newest_picture(tmp_path, "cam0")
        assert found is not None
        assert (found.sequence, found.epoch, found.node) == (value, 3, "edge1")
        assert (found.pts_ns, found.captured_ns, found.clock) == (value * 10, value * 100, "driver")
        with reader.lease(found) as lease:
            assert np.all(lease.array == value)
    assert newest_picture(tmp_path, "cam1") is None
    reader.close()
    writer.close()
    assert newest_picture(tmp_path, "cam0") is None, "nobody writes it any more"


def test_it_follows_a_new_geometry_and_a_new_writer(tmp_path: Path) -> None:
    first = StreamWriter(tmp_path, stream="cam0", node="edge1", epoch=1, slots=4)
    write(first, SMALL, 1)
    write(first, LARGE, 2)
    found = newest_picture(tmp_path, "cam0")
    assert found is not None
    assert (found.width, found.sequence) == (128, 2)
    second = StreamWriter(tmp_path, stream="cam0", node="edge1", epoch=2, slots=4)
    write(second, SMALL, 3)
    found = newest_picture(tmp_path, "cam0")
    assert found is not None
    assert (found.width, found.epoch, found.sequence) == (64, 2, 1)
    second.close()
    first.close()
