"""The contract against a running mesh whose bus enforces the drafted permissions.

What services register is what the channel table says; all that is legitimate works; what is not is refused.
"""

import asyncio
import json
import shutil
import socket
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import nats.errors
import nats.js.errors
import numpy as np
import pytest
from aiortc import RTCPeerConnection
from nats.aio.client import Client

from schemas.channels import CHANNELS
from schemas.subjects import command, demand_key, frames
from services.launcher.secret_folder import SecretFolder
from shared.bus_access import BusAccess
from shared.clients.mesh import AsyncMesh
from tests.support.access import plain_client
from tests.support.mesh import CallFailed, RunningMesh, bunny
from tests.support.peers import free_port

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]

# A camera that nobody is: the URL has a password, so it goes through the secret store, and opening it fails at once.
PASSWORD = "hunter2-of-the-camera"  # of nobody
STREAM_KEY = "key-of-the-live-show"
FORBIDDEN_TO_ALL = "forbidden.to.all"


@dataclass
class Guarded:
    """A mesh as `up --secure` has it."""

    mesh: RunningMesh

    @property
    def url(self) -> str:
        return str(self.mesh.ready["nats"])

    def access(self, party: str) -> BusAccess:
        return SecretFolder(Path(self.mesh.ready["secrets"])).access(party)

    async def connect(self, party: str, refused: asyncio.Queue[str] | None = None) -> Client:
        return await plain_client(self.url, party, self.access(party), refused)

    def violations(self) -> list[str]:
        """Lines of the server's log that say that somebody was refused something."""
        log = self.mesh.folder / "data" / "nats" / "nats.log"
        return [line for line in log.read_text().splitlines() if "Violation" in line]


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    folder = tmp_path_factory.mktemp("guarded")
    output = folder / "do1"
    output.touch()
    with RunningMesh("--demo", "--secure", environment={"FRAMEMESH_IO_SIGNAL_FILE_ROOTS": str(folder)}) as mesh:
        mesh.wait_for(lambda: (mesh.actual("streams", "demo") or {}).get("state") == "live", what="demo is live")
        mesh.call("io-signal.start", signal="do1", mode="io", address=f"file://{output}", keep="100ms")
        yield Guarded(mesh)


async def _endpoints(guarded: Guarded) -> dict[str, tuple[str, str]]:
    """(request, reply) by subject, as the services tell it to whoever asks."""
    client = await guarded.connect("cli")
    inbox = client.new_inbox()
    answers = await client.subscribe(inbox)
    await client.publish("$SRV.INFO", reply=inbox)
    found = {}
    with suppress(nats.errors.TimeoutError):
        while True:
            info = json.loads((await answers.next_msg(timeout=1.0)).data)
            for endpoint in info["endpoints"]:
                found[endpoint["subject"]] = (endpoint["metadata"]["request"], endpoint["metadata"]["reply"])
    await client.close()
    return found


async def test_what_services_register_is_what_the_table_says(guarded: Guarded) -> None:
    endpoints = await _endpoints(guarded)
    commands = [channel for channel in CHANNELS if channel.semantics == "request-reply"]
    for subject, (request, reply) in endpoints.items():
        of_subject = [channel for channel in commands if channel.matches(subject)]
        assert len(of_subject) == 1, f"{subject} is in the table {len(of_subject)} times"
        kinds = (of_subject[0].payload, of_subject[0].reply)
        assert tuple(kind.__name__ for kind in kinds if kind) == (request, reply), subject
    missing = [channel.name for channel in commands if not any(map(channel.matches, endpoints))]
    assert not missing, f"in the table, but nobody answers: {missing}"


async def test_everything_legitimate_works(guarded: Guarded) -> None:
    mesh, dead = guarded.mesh, free_port()
    mesh.call("publisher.start", stream="demo", output="archive", to="file://archive.mp4")
    running = mesh.wait_for(
        lambda: (mesh.actual("outputs", "demo", "archive") or {}).get("bytes_written", 0) > 50_000, 20, "a recording"
    )
    assert running
    mesh.call("publisher.start", stream="demo", output="push", to=f"rtmp://127.0.0.1:{dead}/app/{STREAM_KEY}", wait_s=0)
    with pytest.raises(CallFailed) as refused:
        mesh.call("capture.start", stream="cam", source=f"rtsp://admin:{PASSWORD}@127.0.0.1:{dead}/1", wait_s=10)
    assert refused.value.code == 503
    assert mesh.call("io-signal.on", signal="do1")["signals"] == ["do1"]
    assert mesh.call("io-signal.off-mode", active=False) == {"active": False, "signals": []}
    assert mesh.call("capture.demo.snapshot")["width"] == 1280
    mesh.call("cloud-mix-proxy.create", mix="wall", inputs=[{"input": "demo", "source": "mesh://demo"}])
    mesh.call("cloud-mix-proxy.delete", mix="wall")
    _count(mesh)
    await _extract(mesh)
    await _view(mesh)
    assert len(mesh.call("webrtc-gateway.sessions")["sessions"]) == 1
    status = mesh.run("status", "--json").stdout
    assert PASSWORD not in status
    assert STREAM_KEY not in status
    mesh.call("capture.stop", stream="cam")
    mesh.call("publisher.stop", stream="demo", output="push")
    mesh.call("publisher.stop", stream="demo", output="archive")
    assert guarded.violations() == []


def _count(mesh: RunningMesh) -> None:
    """An input that goes with pictures."""
    about = {"input": "di1", "value": "number", "stream": "demo", "attach": "count"}
    started = mesh.call("io-signal.start-input", mode="tcp", address="tcp://127.0.0.1:0", **about)
    port = int(started["actual"]["address"].rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port), timeout=5) as machine:
        machine.sendall(b"7\n")
        mesh.wait_for(lambda: mesh.call("io-signal.list")["inputs"][0]["actual"]["value"] == 7, what="its line")
    mesh.call("io-signal.stop-input", input="di1")


async def _extract(mesh: RunningMesh) -> None:
    """A job, from the queue to the usage, with an address that has a secret in it."""
    job = mesh.call(
        "frame-extractor.submit",
        video=f"http://user:{PASSWORD}@127.0.0.1:9/a.mp4",
        to="tos://bucket/{index}.jpg",
        key="1",
    )["job"]

    def ended() -> bool:
        return mesh.call("frame-extractor.poll", job=job)["job"]["state"] == "failed"

    mesh.wait_for(ended, what="the job has ended")
    shutil.copy(bunny(), mesh.media_dir / "clip.mp4")
    job = mesh.call(
        "frame-extractor.submit", video=f"file://{mesh.media_dir}/clip.mp4", to="tos://bucket/{index}.jpg", key="2"
    )["job"]
    mesh.wait_for(lambda: mesh.call("frame-extractor.poll", job=job).get("frames"), what="the job's pictures")
    assert mesh.call("frame-extractor.usage")["pictures"] > 0
    assert len(mesh.call("frame-extractor.list")["jobs"]) == 2
    assert mesh.call("frame-extractor.cancel", job=job)["job"]["state"] == "completed"


async def test_applications_that_make_a_stream_and_a_rendition_may(guarded: Guarded) -> None:
    mesh, before = guarded.mesh, guarded.violations()
    here: dict[str, Any] = {"nats_url": guarded.url, "node": "test", "shm_dir": mesh.shm_dir}
    async with (
        asyncio.timeout(20),
        AsyncMesh.connect(access=guarded.access("writer"), **here) as writer,
        AsyncMesh.connect(access=guarded.access("transformer"), **here) as transformer,
        AsyncMesh.connect(access=guarded.access("client"), **here) as client,
        writer.publish("made", width=64, height=48) as made,
        transformer.transform("demo", into="copy", make=lambda _, payload: payload) as copy,
        client.packets("demo", "copy", timeout_seconds=10) as packets,
    ):
        assert await made.write(np.zeros((48, 64, 3), np.uint8)) is not None
        assert (await anext(packets)).header.rendition == "copy"
        assert copy.wanted
    assert guarded.violations() == before


async def _view(mesh: RunningMesh) -> None:
    """Open a session, without ever connecting it: the gateway shows demand and asks for a key frame all the same."""
    peer = RTCPeerConnection()
    try:
        peer.addTransceiver("video", direction="recvonly")
        await peer.setLocalDescription(await peer.createOffer())
        offer = peer.localDescription.sdp.encode()
        request = Request(f"{mesh.console}whep/demo", offer, {"Content-Type": "application/sdp"})
        status = await asyncio.to_thread(lambda: urlopen(request, timeout=10).status)
        assert status == 201
    finally:
        await peer.close()


async def _is_refused(guarded: Guarded, user: str, subject: str, *, subscribe: bool = False) -> bool:
    """Whether the server refuses `user` to publish to, or subscribe to, a subject."""
    refused: asyncio.Queue[str] = asyncio.Queue()
    client = await guarded.connect(user, refused)
    try:
        if subscribe:
            await client.subscribe(subject)
        else:
            await client.publish(subject, b"{}")
        # Refusals come in order, and this one comes for certain: what is not refused by then will not be.
        await client.publish(FORBIDDEN_TO_ALL, b"")
        seen = []
        while not any(FORBIDDEN_TO_ALL in text for text in seen):
            seen.append(await asyncio.wait_for(refused.get(), 5))
        return any(f'"{subject.lower()}"' in text.lower() for text in seen)
    finally:
        await client.close()


@pytest.mark.parametrize(
    ("user", "subject"),
    [
        ("client", command("capture", "start")),
        ("client", command("capture", "stop")),
        ("client", command("publisher", "start")),
        ("client", frames("test", "demo")),
        ("client", "$KV.mesh_desired.capture.demo"),
        ("client", "$JS.API.CONSUMER.CREATE.KV_mesh_secrets.x.$KV.mesh_secrets.capture.demo"),
        ("writer", "$KV.mesh_desired.capture.demo"),
        ("writer", "mesh.v1.packets.demo.main.video"),
        ("console", command("capture", "start")),
        ("console", command("io-signal", "on")),
        ("client", command("io-signal", "start")),
        ("console", "$KV.mesh_desired.capture.demo"),
        ("console", f"$KV.mesh_demand.{demand_key('test', 'demo', 'main', 'console')}"),
        ("console", "$JS.API.STREAM.DELETE.KV_mesh_desired"),
        ("console", "$JS.API.STREAM.CREATE.copy"),
        ("console", "$JS.API.CONSUMER.CREATE.KV_mesh_secrets"),
        ("cli", "$KV.mesh_desired.capture.demo"),
        ("cli", "$JS.API.CONSUMER.CREATE.KV_mesh_secrets.x.$KV.mesh_secrets.capture.demo"),
        ("hw-encode", "$KV.mesh_desired.capture.demo"),
        ("hw-encode", command("publisher", "start")),
        ("hw-encode", "$JS.API.CONSUMER.CREATE.KV_mesh_secrets.x.$KV.mesh_secrets.capture.demo"),
        ("webrtc-gateway", "mesh.v1.packets.demo.main.video"),
        ("webrtc-gateway", "$KV.mesh_actual.capture.demo"),
        ("publisher", "mesh.v1.evt.capture.demo.state"),
        ("publisher", "$JS.API.CONSUMER.CREATE.KV_mesh_secrets.x.$KV.mesh_secrets.capture.demo"),
    ],
)
async def test_publishing_is_refused(guarded: Guarded, user: str, subject: str) -> None:
    assert await _is_refused(guarded, user, subject)


@pytest.mark.parametrize(
    ("user", "subject"),
    [
        ("console", "_INBOX.>"),
        ("console", "$KV.mesh_secrets.>"),
        ("console", "mesh.v1.frames.>"),
        ("client", "mesh.v1.cmd.>"),
        ("client", "$KV.mesh_secrets.>"),
        ("hw-encode", command("capture", "start")),
        ("webrtc-gateway", "$KV.mesh_secrets.>"),
    ],
)
async def test_listening_is_refused(guarded: Guarded, user: str, subject: str) -> None:
    assert await _is_refused(guarded, user, subject, subscribe=True)


@pytest.mark.parametrize(
    ("user", "subject"),
    [("client", frames("test", "demo")), ("console", "mesh.v1.evt.>"), ("cli", "mesh.v1.evt.>")],
)
async def test_listening_is_allowed(guarded: Guarded, user: str, subject: str) -> None:
    assert not await _is_refused(guarded, user, subject, subscribe=True)


async def test_the_console_reads_the_state_but_no_secret(guarded: Guarded) -> None:
    guarded.mesh.call(
        "publisher.start", stream="demo", output="push", to=f"rtmp://127.0.0.1:9/app/{STREAM_KEY}", wait_s=0
    )
    client = await guarded.connect("console")
    try:
        jetstream = client.jetstream(timeout=1)
        spec = await (await jetstream.key_value("mesh_desired")).get("publisher.demo--push")
        assert spec.value is not None
        assert STREAM_KEY.encode() not in spec.value
        reference = json.loads(spec.value)["to_secret"]
        assert reference.startswith("secret://publisher.demo--push@")
        with pytest.raises(nats.errors.TimeoutError):  # the server drops what may not be published
            await jetstream.key_value("mesh_secrets")
    finally:
        await client.close()
        guarded.mesh.call("publisher.stop", stream="demo", output="push")


def test_every_party_has_a_user() -> None:
    document: dict[str, Any] = json.loads((Path(__file__).parents[2] / "ops/nats/permissions.json").read_text())
    speakers = {party for channel in CHANNELS for party in (*channel.senders, *channel.receivers)}
    assert set(document) == {*speakers, "setup", "backup"}
