"""The bus over TLS, where the bytes that come are ciphers: everything that it carries comes through."""

import asyncio
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import uvloop

from schemas.buckets import BucketForm
from schemas.commands import StartStream, StreamChanged
from shared.bus import Bus, Endpoint, Message, Mirror
from tests.support.nats import NatsServer
from tests.support.pace import patience
from tests.support.tls_front import certificate

SUBJECT = "mesh.v1.cmd.capture.start"
PICTURES = [os.urandom(size) for size in (0, 1, 20_000, 300_000)] * 5


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[NatsServer]:
    shown, key = certificate(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(shown))
    with NatsServer("--tls", "--tlscert", str(shown), "--tlskey", str(key)) as running:
        yield running


async def started(request: StartStream) -> StreamChanged:
    return StreamChanged(code=200, service="capture", id=request.stream, revision=1)


async def carries_everything(server: NatsServer, scheme: str) -> None:
    url = f"{scheme}://127.0.0.1:{server.port}"
    bus, other = [await Bus.connect(url, name=name, timeout_seconds=5) for name in ("one", "other")]
    came: list[Message] = []
    subscription = await bus.subscribe("mesh.v1.packets.>", came.append)
    served = await bus.serve("capture", "0.1.0", "test", [Endpoint(SUBJECT, StartStream, StreamChanged, started)])
    mirror = Mirror(await bus.bucket("tls", BucketForm(memory=True)))
    await mirror.synced()
    for picture in PICTURES:
        other.post("mesh.v1.packets.cam0", picture)
    async with patience(5):
        while len(came) < len(PICTURES):
            await asyncio.sleep(0.01)
    assert [message.data for message in came] == PICTURES
    assert (await other.request(SUBJECT, StartStream(stream="cam0", source="pattern:"), StreamChanged)).id == "cam0"
    await (await other.bucket("tls", BucketForm(memory=True))).put("key", b"value")
    assert await mirror.wait_for(lambda entries: "key" in entries, 2)
    await mirror.close()
    await served.close()
    await subscription.close()
    for each in (bus, other):
        assert each.stats.reconnects == 0
        await each.drain()


@pytest.mark.parametrize("scheme", ["tls", "nats"])
@pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_everything_comes_through(
    server: NatsServer, scheme: str, loop: Callable[[], asyncio.AbstractEventLoop]
) -> None:
    """`nats`: the server tells that it wants TLS."""
    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(carries_everything(server, scheme))
