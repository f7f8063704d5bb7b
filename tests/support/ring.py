"""What the tests of the rings share: a folder in shared memory, writers, references."""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from schemas.frames import FrameRef
from shared.ring import RingGeometry, RingWriter, WritableSlot

GRAY = RingGeometry("gray", 64, 48)


@pytest.fixture
def ring_folder() -> Iterator[Path]:
    """A folder in real shared memory, gone afterwards."""
    with tempfile.TemporaryDirectory(dir="/dev/shm", prefix="ring-test-") as name:
        yield Path(name) / "rings"


def make_writer(folder: Path, **changes: Any) -> RingWriter:
    wanted: dict[str, Any] = {"stream": "cam0", "node": "node-a", "epoch": 1, "geometry": GRAY, "slots": 4}
    return RingWriter.create(folder, **wanted | changes)


def put(writer: RingWriter, value: int) -> FrameRef:
    """Write one picture filled with `value`."""
    slot = writer.acquire()
    assert slot is not None
    return fill(slot, value)


def fill(slot: WritableSlot, value: int) -> FrameRef:
    slot.array[...] = value
    return slot.commit(pts_ns=value, captured_ns=value, monotonic_ns=value)


def changed(ref: FrameRef, **changes: Any) -> FrameRef:
    return msgspec.structs.replace(ref, **changes)
