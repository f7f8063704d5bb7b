"""Renditions as they open and close: the cached group while packets come in, and streams that are removed."""

import asyncio
from collections.abc import Callable, Sequence

import pytest
from test_whep_fanout import Watcher, header, picture

from schemas.errors import NotFound
from schemas.packets import PacketHeader, VideoCodec
from services.webrtc_gateway.egress.counters import EgressCounters
from services.webrtc_gateway.egress.feeds import Feeds
from services.webrtc_gateway.egress.source import Deliver

pytestmark = pytest.mark.unit


class Camera:
    """A source whose cache is read for as long as a test wants."""

    rendition, tracks, forces_key_frames = "source", ("video",), False

    def __init__(self) -> None:
        self.index = 0
        self.group: list[tuple[PacketHeader, memoryview]] = []
        self.reading, self.read_on = asyncio.Event(), asyncio.Event()
        self.opened = 0
        self.closed = asyncio.Event()
        self.deliver: Deliver | None = None
        self.ended: Callable[[str], None] | None = None

    def shoot(self) -> None:
        self.index += 1
        packet = (header(self.index, key=self.index == 1), picture())
        self.group.append(packet)
        if self.deliver:
            self.deliver(*packet)

    async def open(self, stream: str, rendition: str | None, deliver: Deliver) -> "Camera":
        self.deliver = deliver
        self.opened += 1
        return self

    def video_codec(self, stream: str, rendition: str | None) -> VideoCodec | None:
        return None

    def request_key_frame(self) -> None:
        raise AssertionError("a camera is not asked")

    async def cached(self) -> Sequence[tuple[PacketHeader, memoryview]]:
        self.reading.set()
        found = list(self.group[: len(self.group) // 2])
        await self.read_on.wait()
        return found + self.group[len(found) : -2]  # read bit by bit, while more comes in

    def on_ended(self, ended: Callable[[str], None]) -> None:
        self.ended = ended

    async def close(self) -> None:
        self.closed.set()


async def test_packets_that_come_while_the_cache_is_read_are_neither_lost_nor_doubled() -> None:
    camera, watcher = Camera(), Watcher()
    feeds = Feeds(camera, EgressCounters())
    for _ in range(10):
        camera.shoot()
    opening = asyncio.create_task(feeds.acquire("cam0", "source"))
    await asyncio.wait_for(camera.reading.wait(), 1)
    for _ in range(5):
        camera.shoot()
    assert camera.deliver is not None
    camera.read_on.set()
    entry = await asyncio.wait_for(opening, 1)
    entry.feed.add(watcher)
    camera.shoot()
    units = (*entry.feed.starting_group(), *watcher.units[1:])
    assert [unit.number for unit in units] == list(range(16))
    assert [unit.captured_ns for unit in units] == [packet.captured_ns for packet, _ in camera.group]
    assert watcher.lost == 0
    await feeds.close()


async def test_a_removed_stream_ends_its_viewers_and_lets_go_at_once() -> None:
    camera, watcher = Camera(), Watcher()
    camera.read_on.set()
    feeds = Feeds(camera, EgressCounters())
    entry = await feeds.acquire("cam0", "source")
    entry.feed.add(watcher)
    assert camera.ended is not None
    camera.ended("removed")
    assert watcher.ended == "removed"
    await asyncio.wait_for(camera.closed.wait(), 1)
    feeds.release(entry)
    assert entry.linger is None, "closed already"


async def test_a_stream_that_is_removed_while_its_cache_is_read_is_not_found() -> None:
    camera = Camera()
    feeds = Feeds(camera, EgressCounters())
    opening = asyncio.create_task(feeds.acquire("cam0", "source"))
    await asyncio.wait_for(camera.reading.wait(), 1)
    assert camera.ended is not None
    camera.ended("removed")
    camera.read_on.set()
    with pytest.raises(NotFound, match="removed"):
        await asyncio.wait_for(opening, 1)
    assert camera.closed.is_set()


async def test_a_viewer_that_gives_up_while_the_cache_is_read_leaves_nothing_open() -> None:
    camera = Camera()
    feeds = Feeds(camera, EgressCounters())
    opening = asyncio.create_task(feeds.acquire("cam0", "source"))
    await asyncio.wait_for(camera.reading.wait(), 1)
    opening.cancel()
    await asyncio.wait({opening}, timeout=1)
    await asyncio.wait_for(camera.closed.wait(), 1)


async def test_a_viewer_that_gives_up_before_the_first_picture_leaves_nothing_open() -> None:
    camera = Camera()
    camera.read_on.set()
    feeds = Feeds(camera, EgressCounters())
    opening = asyncio.create_task(feeds.acquire("cam0", "source"))
    await asyncio.wait_for(camera.reading.wait(), 1)
    await asyncio.sleep(0.05)  # it is in the wait for a picture, of which nothing tells
    opening.cancel()
    await asyncio.wait({opening}, timeout=1)
    await asyncio.wait_for(camera.closed.wait(), 1)


async def test_a_stream_that_is_removed_before_its_first_picture_is_not_found() -> None:
    camera = Camera()
    camera.read_on.set()
    feeds = Feeds(camera, EgressCounters())
    opening = asyncio.create_task(feeds.acquire("cam0", "source"))
    await asyncio.wait_for(camera.reading.wait(), 1)
    await asyncio.sleep(0.05)
    assert camera.ended is not None
    camera.ended("removed")
    with pytest.raises(NotFound, match="removed"):
        await asyncio.wait_for(opening, 2)


async def test_a_stream_that_is_removed_while_its_default_is_found_out_is_not_found() -> None:
    camera = Camera()
    camera.read_on.set()
    feeds = Feeds(camera, EgressCounters())
    camera.shoot()
    camera.group *= 3  # of which the cache leaves out the last two
    await feeds.acquire("cam0", "source")
    ended = camera.ended
    assert ended is not None

    async def close() -> None:
        ended("removed")

    camera.close = close  # type: ignore[method-assign]
    with pytest.raises(NotFound, match="removed"):
        await feeds.acquire("cam0", None)
    await asyncio.wait_for(feeds.acquire("cam0", "source"), 1)
    assert camera.opened == 3, "anew, and nothing that has ended is kept"
