"""What becomes of a picture that finds the queue full, over a real ring."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from schemas.errors import InvalidValue
from schemas.frames import Delivery, FrameRef
from schemas.resources import RenditionSpec, WhenFull
from services.hw_encode.picture_queue import PictureQueue, check_queue
from shared.ring import RingGeometry, RingReader, StreamWriter

pytestmark = pytest.mark.unit

GEOMETRY = RingGeometry(pixel_format="gray", width=64, height=32)
SPEC = RenditionSpec(stream="cam0")


class Rig:
    """A writer, a queue nobody takes from, and what was told."""

    def __init__(self, folder: Path, spec: RenditionSpec, slots: int = 16, delivery: Delivery = "live") -> None:
        self.writer = StreamWriter(folder, stream="cam0", node="n", epoch=1, slots=slots, delivery=delivery)
        self.reader = RingReader(folder, max_leases=64)
        self.bounds: list[int] = []
        self.queue = PictureQueue(spec, self.reader, self.bounds.append)

    def put(self, value: int) -> FrameRef:
        slot = self.writer.acquire(GEOMETRY)
        assert slot is not None, "the writer is short of slots"
        slot.array[:] = value
        ref = slot.commit(pts_ns=value, captured_ns=value, monotonic_ns=value)
        self.queue.put(ref)
        return ref

    def take(self) -> list[tuple[int, int | None]]:
        """Sequence and, of a leased picture, the value in it, of all that wait."""
        found = []
        while waiting := self.queue.get(0):
            ref, lease = waiting
            found.append((ref.sequence, int(lease.array[3, 3]) if lease else None))
            if lease:
                lease.release()
        return found


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="framemesh-test-", dir="/dev/shm") as path:
        yield Path(path) / "rings"


@pytest.mark.parametrize(
    ("when_full", "left", "dropped"),
    [
        ("drop-oldest", [5, 6, 7, 8], {"drop-oldest": 4}),
        ("refuse", [1, 2, 3, 4], {"refuse": 4}),
        ("clear", [5, 6, 7, 8], {"clear": 4}),
        ("block", [5, 6, 7, 8], {"drop-oldest": 4}),  # of a stream that is live after all
    ],
)
def test_each_policy_of_a_live_stream(
    folder: Path, when_full: WhenFull, left: list[int], dropped: dict[str, int]
) -> None:
    rig = Rig(folder, replace(SPEC, queue=4, when_full=when_full))
    for value in range(1, 9):
        rig.put(value)
    assert rig.take() == [(number, number) for number in left]
    assert rig.queue.dropped == dropped
    assert rig.reader.held == 0
    assert rig.bounds == []


def test_clear_empties_the_queue_at_once(folder: Path) -> None:
    rig = Rig(folder, replace(SPEC, queue=3, when_full="clear"))
    for value in range(1, 6):
        rig.put(value)
    assert rig.take() == [(4, 4), (5, 5)]
    assert rig.queue.dropped == {"clear": 3}


def test_by_default_the_newest_waits_and_nothing_is_held(folder: Path) -> None:
    rig = Rig(folder, SPEC)
    for value in range(1, 6):
        rig.put(value)
        assert rig.reader.held == 0
    assert rig.take() == [(5, None)]
    assert rig.queue.dropped == {"drop-oldest": 4}


def test_a_picture_that_waits_is_not_overwritten_and_the_writer_keeps_its_slots(folder: Path) -> None:
    rig = Rig(folder, replace(SPEC, queue=16, when_full="refuse"), slots=8)
    for value in range(1, 60):
        rig.put(value)
    assert rig.take() == [(1, 1), (2, 2), (3, 3), (4, 4)]
    assert rig.bounds == [4], "said once: eight slots, four of them for others"
    assert rig.queue.dropped == {"refuse": 55}
    rig.queue.change(replace(SPEC, queue=2, when_full="drop-oldest"))
    for value in range(60, 70):
        rig.put(value)
    assert rig.take() == [(68, 68), (69, 69)]
    assert rig.bounds == [4]


def test_every_picture_of_a_lossless_stream_waits(folder: Path) -> None:
    rig = Rig(folder, replace(SPEC, queue=2, when_full="block"), delivery="lossless")
    for value in range(1, 13):
        rig.put(value)
    assert [number for number, _ in rig.take()] == list(range(1, 13))
    assert not rig.queue.dropped


def test_a_picture_that_is_gone_does_not_wait_and_what_waits_is_let_go_at_the_end(folder: Path) -> None:
    rig = Rig(folder, replace(SPEC, queue=4))
    ref = rig.put(1)
    rig.queue.put(replace(ref, sequence=99))
    rig.queue.put(replace(ref, epoch=0))
    assert (rig.queue.missed, len(rig.queue), rig.reader.held) == (1, 1, 1)
    rig.queue.clear()
    assert rig.reader.held == 0


@pytest.mark.parametrize(
    ("when_full", "delivery", "words"),
    [("block", "live", "is live"), ("refuse", "lossless", "is lossless"), ("clear", "lossless", "is lossless")],
)
def test_what_the_streams_writer_cannot_keep_to_is_refused(when_full: WhenFull, delivery: Delivery, words: str) -> None:
    with pytest.raises(InvalidValue, match=f"when_full '{when_full}': cam0 {words}.*; use "):
        check_queue(replace(SPEC, when_full=when_full), delivery)
    check_queue(replace(SPEC, when_full="block"), "lossless")
    check_queue(replace(SPEC, when_full="refuse"), "live")
