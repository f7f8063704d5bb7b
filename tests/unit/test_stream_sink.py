"""Who writes into a ring: the source, and another thread in place of a lost one; never both, never with old masks."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import numpy as np
import pytest

from schemas.frames import FrameRef
from schemas.pictures import Mask
from schemas.resources import StreamSpec
from services.capture.settings import CaptureSettings
from services.capture.sink import StreamSink
from shared.ring import LeaseError, RingGeometry, RingReader
from tests.support.ring import ring_folder

pytestmark = pytest.mark.unit
__all__ = ["ring_folder"]

GRAY = RingGeometry("gray", 64, 48)
SPEC = StreamSpec(stream="cam0", source="test://")
MASKED = msgspec.structs.replace(SPEC, masks=(Mask(x=0, y=0, width=0.5, height=1),))


class Post:
    """Keeps what goes to the bus."""

    def __init__(self) -> None:
        self.refs: list[FrameRef] = []

    def post_from_thread(self, _subject: str, data: bytes) -> None:
        self.refs.append(msgspec.json.decode(data, type=FrameRef))


@pytest.fixture
def post() -> Post:
    return Post()


@pytest.fixture
def sink(ring_folder: Path, post: Post) -> Iterator[StreamSink]:
    settings = CaptureSettings(shm_dir=ring_folder, node="test")
    context: Any = SimpleNamespace(settings=settings, bus=post, service="capture", node="test")

    def told(*_: object) -> None:
        """Nobody listens here."""

    sink = StreamSink(context, SPEC, 1, live=told, decoding=told, layers=told, waiting=told, arrival=told)
    yield sink
    sink.close()


def gray(value: int) -> Any:
    return np.full(GRAY.array_shape, value, np.uint8)


def show(sink: StreamSink, value: int, captured_ns: int | None = None) -> None:
    sink.image(gray(value), "gray", pts_ns=time.time_ns(), captured_ns=captured_ns)


def test_a_picture_that_was_under_way_when_masks_changed_is_not_shown_again(sink: StreamSink, post: Post) -> None:
    show(sink, 100)
    assert sink.frames.repeat(sink.frames.written)

    shaper, image = sink._shaper, sink._shaper.image

    def shaped_just_before(*picture: Any) -> Any:
        try:
            return image(*picture)
        finally:
            sink.adjust(MASKED)

    shaper.image = shaped_just_before  # type: ignore[method-assign]
    show(sink, 200)
    assert not sink.frames.repeat(sink.frames.written), "what the mask hides would be shown until the source is back"
    assert not sink.frames.shows(post.refs[-1]), "nor in a snapshot"
    show(sink, 50)
    assert sink.frames.shows(post.refs[-1])
    assert sink.frames.repeat(sink.frames.written)
    assert len(post.refs) == 5
    sink.adjust(SPEC)
    assert not sink.frames.shows(post.refs[-1]), "as it is no longer asked for"


def test_nothing_stands_in_once_the_source_writes_again(sink: StreamSink, post: Post) -> None:
    show(sink, 1)
    written = sink.frames.written
    assert sink.frames.stand_in(GRAY, gray(9), written)
    assert not sink.frames.shows(post.refs[-1]), "a slate is not a picture of the source"
    show(sink, 2)
    assert not sink.frames.stand_in(GRAY, gray(9), written), "a slate would flash within live pictures"
    assert not sink.frames.repeat(written)
    assert [ref.sequence for ref in post.refs] == [1, 2, 3]


def check_pictures(sink: StreamSink, post: Post, folder: Path) -> int:
    """Write for a while and look at all that comes of it; how many were seen."""
    checked, index, number, deadline = 0, 0, 0, time.monotonic() + 1.5
    with RingReader(folder) as reader:
        while time.monotonic() < deadline:
            number += 1
            value = number % 200
            # The geometry changes now and then, and with it the ring.
            size = (48, 64) if number // 50 % 2 else (32, 32)
            sink.image(np.full(size, value, np.uint8), "gray", pts_ns=number, captured_ns=value + 1000)
            for ref in post.refs[index:]:
                index += 1
                try:
                    with reader.lease(ref) as lease:
                        assert (lease.array == ref.captured_ns - 1000).all(), ref
                        checked += 1
                except LeaseError:  # overwritten meanwhile
                    continue
    return checked


def test_a_picture_written_again_is_the_one_it_says(sink: StreamSink, post: Post, ring_folder: Path) -> None:
    """Two threads at it: every picture has the value of the time it was captured at."""
    done = threading.Event()
    problems: list[BaseException] = []

    def again() -> None:
        try:
            while not done.wait(0):  # a lock is not fair: without a pause the source hardly gets it
                sink.frames.repeat(sink.frames.written)
        except BaseException as error:
            problems.append(error)

    thread = threading.Thread(target=again)
    thread.start()
    try:
        checked = check_pictures(sink, post, ring_folder)
    finally:
        done.set()
        thread.join(5)
    assert not problems
    assert checked > 20
    assert sink.frames.stood_in > 10
    times = [ref.pts_ns for ref in post.refs]
    assert times == sorted(set(times)), "times only grow"
