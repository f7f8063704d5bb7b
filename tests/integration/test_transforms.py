"""Renditions that an application makes: the document's programs, joins, key pictures, demand, and every way to end."""

import asyncio
import os
import re
import select
import subprocess
import sys
import time
import urllib.request
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from schemas.packets import PacketHeader
from shared.clients.mesh import (
    AsyncMesh,
    BadRequest,
    Conflict,
    InvalidValue,
    MeshError,
    NoPackets,
    NoSuchStream,
    NotFound,
    PacketStream,
)
from tests.support.client import Viewer, async_client
from tests.support.mesh import RunningMesh
from tests.support.pace import patience, slowness

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parents[2]
SEALER, OPENER = re.findall(r"```python\n(.*?)```", (ROOT / "docs/transforms.md").read_text(), re.DOTALL)
NONCE_AND_TAG_BYTES = 12 + 16


@pytest.fixture(scope="module")
def mesh() -> Iterator[RunningMesh]:
    with RunningMesh() as running:
        running.call("capture.start", stream="cam0", source="test://?size=384x256&fps=30")
        yield running


@pytest.fixture
async def app(mesh: RunningMesh) -> AsyncIterator[AsyncMesh]:
    async with async_client(mesh) as connected:
        yield connected


def as_it_is(_header: PacketHeader, payload: memoryview) -> memoryview:
    return payload


async def state(app: AsyncMesh, rendition: str, stream: str = "cam0") -> str:
    """Of a rendition; empty when there is none."""
    wanted = (stream, rendition)
    found = (one for one in (await app.status()).renditions if (one.spec.stream, one.spec.rendition) == wanted)
    return next((entry.actual.state for entry in found if entry.actual), "")


async def reaches(app: AsyncMesh, rendition: str, wanted: str) -> None:
    async with patience(8):
        while await state(app, rendition) != wanted:
            await asyncio.sleep(0.1)


async def pictures(packets: PacketStream, count: int) -> list[PacketHeader]:
    found: list[PacketHeader] = []
    async with patience(8):
        async for packet in packets:
            if packet.header.track == "video":
                found.append(packet.header)
            if len(found) == count:
                break
    return found


@asynccontextmanager
async def collected(app: AsyncMesh, rendition: str) -> AsyncIterator[dict[int, bytes]]:
    """The pictures of a rendition of cam0, by sequence, as long as the block lasts."""
    found: dict[int, bytes] = {}

    async def collect(packets: PacketStream) -> None:
        async for packet in packets:
            if packet.header.track == "video":
                found[packet.header.sequence] = bytes(packet.payload)

    async with app.packets("cam0", rendition) as packets:
        task = asyncio.create_task(collect(packets))
        yield found
    await task  # the stream was closed


def started(program: str, environment: dict[str, str]) -> "subprocess.Popen[str]":
    return subprocess.Popen([sys.executable, "-c", program], env=environment, stdout=subprocess.PIPE, text=True)


def lines(process: "subprocess.Popen[str]", count: int) -> list[str]:
    assert process.stdout is not None
    deadline = time.monotonic() + 15 * slowness()
    found: list[str] = []
    while len(found) < count:
        left = max(deadline - time.monotonic(), 0)
        assert select.select([process.stdout], [], [], left)[0], f"only {len(found)} pictures"
        line = process.stdout.readline()
        assert line, "the program has ended"
        found.append(line)
    return found


async def test_what_is_sealed_is_opened_again_picture_by_picture(
    mesh: RunningMesh, app: AsyncMesh, tmp_path: Path
) -> None:
    (tmp_path / "key").write_bytes(os.urandom(32))
    environment = {**mesh.environment, "SEAL_KEY_FILE": str(tmp_path / "key"), "PYTHONPATH": str(ROOT)}
    sealer = started(SEALER, environment)
    opener = None
    try:
        await reaches(app, "sealed", "idle")
        async with collected(app, "main") as clear, collected(app, "sealed") as sealed:
            opener = started(OPENER, environment)
            opened = [line.split() for line in await asyncio.to_thread(lines, opener, 40)]
            assert await state(app, "sealed") == "running"
        first, last = int(opened[0][0]), int(opened[-1][0])
        there = [sequence for sequence in clear if first <= sequence <= last]
        assert [int(sequence) for sequence, *_ in opened] == there, "every picture that was encoded, in order"
        assert {(width, height) for _, width, height in opened} == {("384", "256")}
        assert set(there) <= sealed.keys()
        for sequence in there:
            assert len(sealed[sequence]) == len(clear[sequence]) + NONCE_AND_TAG_BYTES
            assert clear[sequence][:32] not in sealed[sequence]
        sealer.kill()
        killed_at = time.monotonic()
        await reaches(app, "sealed", "")
        assert time.monotonic() - killed_at < 4 * slowness()
        assert not list(mesh.shm_dir.glob("cam0--sealed.*")), "its memory is free again"
    finally:
        for process in (sealer, opener):
            if process is not None:
                process.kill()
                process.wait()


async def test_a_viewer_joins_at_once_and_gets_key_pictures_when_it_asks(mesh: RunningMesh, app: AsyncMesh) -> None:
    await app.start_stream("fresh", "test://?size=384x256&fps=30")
    await app.start_rendition("fresh", "slow", key_interval="60s")
    async with app.transform("fresh", "slow", into="copy", make=as_it_is) as copy:
        assert not copy.wanted
        assert await state(app, "copy", "fresh") == "idle"
        assert await state(app, "slow", "fresh") == "idle", "nobody wants what it is made from"
        assert copy.counts.made == 0
        async with Viewer.watching(mesh, "fresh", "copy") as viewer:
            await viewer.until(10)
            assert copy.wanted
            async with app.packets("fresh", "copy", timeout_seconds=3) as packets:
                joined = await pictures(packets, 1)
                assert joined[0].key, "of the packets in memory"
                before = await pictures(packets, 20)
                assert [header.index for header in before] == list(range(before[0].index, before[0].index + 20))
                asked_ns = time.time_ns()
                assert (await app.key_frame("fresh", "copy")).forced
                while not (header := (await pictures(packets, 1))[0]).key:
                    assert header.captured_ns < asked_ns + 1_000_000_000, "the encoder was not asked"
                assert header.captured_ns > asked_ns - 100_000_000
                assert packets.counts.undecodable == packets.counts.dropped == 0
        async with app.packets("fresh", "slow") as source, app.packets("fresh", "copy") as made:
            [ours], [theirs] = await pictures(source, 1), await pictures(made, 1)
            assert (ours.codec, ours.epoch, ours.width) == (theirs.codec, theirs.epoch, theirs.width)
            assert theirs.captured_ns > 0
        assert copy.counts.made > 20
    async with patience(5):
        while await state(app, "copy", "fresh"):
            await asyncio.sleep(0.1)
    await app.stop_stream("fresh")


async def test_recordings_and_players_take_it(mesh: RunningMesh, app: AsyncMesh) -> None:
    async with app.transform("cam0", into="kept", make=as_it_is):
        await app.start_output("cam0", "kept", f"file://{mesh.media_dir}/kept.mp4", rendition="kept", finish=False)
        async with patience(8):
            while True:
                [output] = (await app.status()).outputs
                if output.actual is not None and output.actual.bytes_written > 10_000:
                    break
                await asyncio.sleep(0.1)
        playlist = f"{mesh.console.rstrip('/')}/hls/cam0/kept/index.m3u8"
        with await asyncio.to_thread(urllib.request.urlopen, playlist, timeout=8) as reply:
            assert reply.status == 200
        await app.stop_output("cam0", "kept")
    assert (mesh.media_dir / "kept.mp4").stat().st_size > 10_000


async def test_what_nobody_wants_any_more_is_not_made_and_begins_anew(app: AsyncMesh) -> None:
    async with app.transform("cam0", into="rare", make=as_it_is) as rare:
        async with app.packets("cam0", "rare", timeout_seconds=5) as packets:
            [first] = await pictures(packets, 1)
        async with patience(10):
            made = -1
            while made != rare.counts.made:
                made = rare.counts.made
                await asyncio.sleep(0.5)
        async with app.packets("cam0", "rare", timeout_seconds=5) as packets:
            [again] = await pictures(packets, 1)
        assert again.key
        assert again.run > first.run, "nobody begins with what was made long ago"
        assert again.captured_ns > first.captured_ns + 1_000_000_000


async def test_names_that_cannot_be(app: AsyncMesh) -> None:
    async def refused(stream: str = "cam0", rendition: str = "main", into: str = "mine") -> MeshError:
        with pytest.raises(MeshError) as caught:
            async with app.transform(stream, rendition, into=into, make=as_it_is):
                pass
        return caught.value

    await app.start_rendition("cam0", "low", bitrate="500k")
    assert isinstance(await refused(into="low"), Conflict)
    for taken in ("main", "vp8", "source"):
        assert isinstance(await refused(into=taken), InvalidValue)
    assert isinstance(await refused(into="mine", rendition="mine"), MeshError)
    assert isinstance(await refused(stream="nowhere"), NoSuchStream)
    assert isinstance(await refused(rendition="nothing"), NotFound)
    assert isinstance(await refused(rendition="source"), NotFound), "a pattern has no packets"
    async with app.transform("cam0", into="mine", make=as_it_is):
        assert isinstance(await refused(into="mine"), Conflict), "there is one already"
        with pytest.raises(Conflict):
            await app.start_rendition("cam0", "mine", bitrate="1M")
        async with app.transform("cam0", "mine", into="second", make=as_it_is):
            with pytest.raises(BadRequest, match="made from itself"):
                await app.start_rendition("cam0", "mine", made_from="second")
            assert (await app.key_frame("cam0", "second")) is not None
    await app.stop_rendition("cam0", "low")


async def test_an_application_that_fails_says_so_and_its_rendition_goes(app: AsyncMesh) -> None:
    def fails(header: PacketHeader, _payload: memoryview) -> bytes | None:
        if header.track == "video":
            raise ArithmeticError("no key")
        return None

    async with app.transform("cam0", into="broken", make=fails) as broken:
        with pytest.raises(NoPackets):
            async with app.packets("cam0", "broken", timeout_seconds=1.5) as packets:
                await anext(packets)
        with pytest.raises(ArithmeticError, match="no key"):
            async with patience(5):
                await broken.wait()
        await reaches(app, "broken", "")


async def test_it_ends_with_its_stream(app: AsyncMesh) -> None:
    await app.start_stream("short", "test://?size=384x256&fps=30")
    async with app.transform("short", into="copy", make=as_it_is) as copy:
        await app.stop_stream("short")
        with pytest.raises(NotFound, match="removed"):
            async with patience(5):
                await copy.wait()
