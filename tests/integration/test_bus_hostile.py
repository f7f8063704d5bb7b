"""Whoever may publish at all may send what nats-py cannot take apart: the bus of those who get it goes on."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from urllib.parse import urlsplit

import pytest

from schemas.buckets import BucketForm
from schemas.commands import StartStream, StreamChanged
from shared.bus import Bus, Endpoint, Message
from tests.support.nats import NatsServer

SUBJECT = "mesh.v1.cmd.capture.start"
WAIT_SECONDS = 2.0  # a silent server is given up after 6: nobody may have waited for that


@pytest.fixture(scope="module")
def server() -> Iterator[NatsServer]:
    with NatsServer() as running:
        yield running


@pytest.fixture
async def bus(server: NatsServer) -> AsyncIterator[Bus]:
    connected = await Bus.connect(server.url, name="test", timeout_seconds=5)
    yield connected
    await connected.drain()


async def say(server: NatsServer, *lines: bytes) -> None:
    """Send to the server as a client of its own, which is done with them when this returns."""
    where = urlsplit(server.url)
    reader, writer = await asyncio.open_connection(where.hostname, where.port)
    try:
        writer.write(b'CONNECT {"verbose":false,"headers":true}\r\n' + b"".join(lines) + b"PING\r\n")
        async with asyncio.timeout(WAIT_SECONDS):
            while (line := await reader.readline()) != b"PONG\r\n":
                assert line.startswith(b"INFO"), line
    finally:
        writer.close()


async def started(request: StartStream) -> StreamChanged:
    return StreamChanged(code=200, service="capture", id=request.stream, revision=1)


@pytest.mark.parametrize(
    "hostile",
    [
        b"PUB %s _INBOX.\xff 2\r\n{}\r\n",
        b"HPUB %s 2 2\r\n\r\n\r\n",
        b"HPUB %s 14 14\r\nNATS/1.0 \xff\r\n\r\n\r\n",
    ],
)
async def test_a_command_that_cannot_be_taken_apart_ends_nothing(server: NatsServer, bus: Bus, hostile: bytes) -> None:
    served = await bus.serve("capture", "0.1.0", "test", [Endpoint(SUBJECT, StartStream, StreamChanged, started)])
    try:
        await say(server, hostile % SUBJECT.encode())
        asked = StartStream(stream="cam0", source="pattern:")
        assert (await bus.request(SUBJECT, asked, StreamChanged, WAIT_SECONDS)).id == "cam0"
    finally:
        await served.close()
    assert bus.stats.reconnects == 0


async def test_a_subject_that_is_no_text_costs_its_own_message_at_most(server: NatsServer, bus: Bus) -> None:
    came: asyncio.Queue[Message] = asyncio.Queue()
    subscription = await bus.subscribe("mesh.v1.evt.>", came.put_nowait)
    await bus.flush()
    await say(server, b"PUB mesh.v1.evt.\xff.x 1\r\n1\r\n", b"PUB mesh.v1.evt.a.x 1\r\n2\r\n")
    async with asyncio.timeout(WAIT_SECONDS):
        assert [(await came.get()).data for _ in range(2)] == [b"1", b"2"]
    assert bus.stats.reconnects == 0
    await subscription.close()


async def test_a_key_that_is_no_text_hides_no_other(server: NatsServer, bus: Bus) -> None:
    bucket = await bus.bucket("hostile", BucketForm(memory=True))
    await say(server, b"PUB $KV.hostile.\xff 1\r\n1\r\n", b"HPUB $KV.hostile.odd 14 15\r\nNATS/1.0 \xff\r\n\r\n1\r\n")
    await bucket.put("known", b"2")
    async with asyncio.timeout(WAIT_SECONDS):
        assert set(await bucket.entries()) == {"\ufffd", "odd", "known"}
    assert bus.stats.reconnects == 0
