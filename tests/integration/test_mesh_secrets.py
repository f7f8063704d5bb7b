"""Passwords and stream keys that are given to the mesh come out of it nowhere."""

import asyncio
import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import nats
import pytest

from schemas.subjects import ACTUAL_BUCKET, DEMAND_BUCKET, DESIRED_BUCKET, EVENTS_STREAM, PRESENCE_BUCKET
from tests.support.console import CHROMIUM, console_page
from tests.support.mesh import CallFailed, RunningMesh
from tests.support.metrics import text
from tests.support.peers import free_port

pytestmark = [pytest.mark.integration, pytest.mark.timeout(60)]

USER = "operator7"
PASSWORD = "pa55-in-userinfo"
FILE_PASSWORD = "pa55-in-mesh-yaml"
STREAM_KEY = "k3y-of-the-live-channel"
PASSPHRASE = "p4ss-phrase-of-srt"
SECRETS = (PASSWORD, FILE_PASSWORD, STREAM_KEY, PASSPHRASE)
_NATS_SECONDS = 5.0


class BareServer:
    """Takes connections, notes what comes and hangs up: what a camera that refuses looks like."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.connections = 0
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        try:
            while True:
                connection, _ = self._listener.accept()
                self.connections += 1
                with connection:
                    connection.settimeout(1.0)
                    connection.recv(4096)
                    connection.sendall(b"RTSP/1.0 401 Unauthorized\r\nCSeq: 1\r\n\r\n")
        except OSError:
            return

    def close(self) -> None:
        self._listener.close()


@pytest.fixture(scope="module")
def camera() -> Iterator[BareServer]:
    server = BareServer()
    yield server
    server.close()


@pytest.fixture(scope="module")
def mesh(camera: BareServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningMesh]:
    folder = tmp_path_factory.mktemp("secrets")
    (folder / "mesh.yaml").write_text(f"streams:\n  cam9: rtsp://{USER}:${{CAM9}}@127.0.0.1:{camera.port}/one\n")
    with RunningMesh("mesh.yaml", folder=folder, environment={"CAM9": FILE_PASSWORD}) as running:
        yield running


@pytest.fixture(scope="module")
def said(mesh: RunningMesh, camera: BareServer) -> list[str]:
    """Everything the command line said while the secrets were given, and failed."""
    lines = []

    def call(subject: str, **request: object) -> None:
        try:
            lines.append(json.dumps(mesh.call(subject, **request)))
        except CallFailed as refused:
            lines.append(f"{refused.code} {refused.message} {refused.reply}")

    rtsp = f"rtsp://{USER}:{PASSWORD}@127.0.0.1:{camera.port}/stream1"
    call("capture.start", stream="cam0", source=rtsp, wait_s=2)
    call("capture.start", stream="cam1", source=f"srt://127.0.0.1:{free_port()}?passphrase={PASSPHRASE}", wait_s=1)
    call("capture.start", stream="ok", source="test://?size=640x360&fps=10")
    key_url = f"rtmp://127.0.0.1:{camera.port}/app/{STREAM_KEY}"
    call("publisher.start", stream="ok", output="live", to=key_url, wait_s=2)
    push_url = f"rtsp://{USER}:{PASSWORD}@127.0.0.1:{camera.port}/push"
    call("publisher.start", stream="ok", output="push", to=push_url, wait_s=2)
    # Refused outright: the text of a refusal must be safe as well.
    call("capture.start", stream="cam2", source=rtsp.replace("rtsp:", "gopher:"))
    call("publisher.start", stream="ok", output="bad", to=f"rtmp://{USER}:{PASSWORD}@127.0.0.1:99999/app/{STREAM_KEY}")
    call("capture.start", stream="cam0", source=rtsp, colour=1)
    mesh.wait_for(lambda: camera.connections >= 4, what="the camera was tried")
    mesh.wait_for(lambda: (mesh.actual("outputs", "ok", "live") or {}).get("retries", 0) > 0, what="a failed push")
    return lines


def check(where: str, content: str) -> None:
    for secret in SECRETS:
        position = content.find(secret)
        assert position < 0, f"{where} holds a secret: …{content[max(0, position - 120) : position + 40]}…"


def test_secrets_reach_the_other_end(mesh: RunningMesh, said: list[str]) -> None:
    """What follows would be easy if the secrets had been thrown away."""
    specs = {entry["spec"]["stream"]: entry["spec"] for entry in mesh.status()["streams"]}
    for stream in ("cam0", "cam1", "cam9"):
        assert specs[stream]["source_secret"].startswith("secret://")
        assert "127.0.0.1" in specs[stream]["source"]


def test_replies_and_status(mesh: RunningMesh, said: list[str]) -> None:
    check("a reply", "\n".join(said))
    for arguments in (["status"], ["status", "--json"], ["doctor", "--json"]):
        done = mesh.run(*arguments)
        check(" ".join(arguments), done.stdout + done.stderr)
    for service in ("capture", "hw-encode", "publisher"):
        check(f"{service}.list", json.dumps(mesh.call(f"{service}.list")))


def test_state_and_events_on_the_bus(mesh: RunningMesh, said: list[str]) -> None:
    held = asyncio.run(_everything_on_the_bus(mesh.ready["nats"]))
    assert {DESIRED_BUCKET, ACTUAL_BUCKET, EVENTS_STREAM} <= held.keys()
    for where, content in held.items():
        assert content or where == DEMAND_BUCKET, where
        check(where, content)


async def _everything_on_the_bus(url: str) -> dict[str, str]:
    connection = await nats.connect(url)
    jetstream = connection.jetstream()
    held = {}
    for bucket in (DESIRED_BUCKET, ACTUAL_BUCKET, PRESENCE_BUCKET, DEMAND_BUCKET, EVENTS_STREAM):
        stream = bucket if bucket == EVENTS_STREAM else f"KV_{bucket}"
        info = await jetstream.stream_info(stream)
        subscription = await jetstream.subscribe("", stream=stream, ordered_consumer=True)
        messages = [await subscription.next_msg(timeout=_NATS_SECONDS) for _ in range(min(info.state.messages, 500))]
        held[bucket] = "\n".join(f"{one.subject} {one.data.decode(errors='replace')}" for one in messages)
        await subscription.unsubscribe()
    await connection.close()
    return held


def test_logs_metrics_and_files(mesh: RunningMesh, said: list[str]) -> None:
    check("up.log", mesh.log.read_text())
    for service, url in mesh.ready["metrics"].items():
        check(f"metrics of {service}", text(url))
    kept = [
        path for path in mesh.folder.rglob("*") if path.is_file() and "nats" not in str(path.relative_to(mesh.folder))
    ]
    for path in kept:
        check(str(path), path.read_bytes().decode(errors="replace"))


def test_command_lines_of_the_services(mesh: RunningMesh, said: list[str]) -> None:
    for service, pid in mesh.pids().items():
        check(f"command line of {service}", Path(f"/proc/{pid}/cmdline").read_text())


@pytest.mark.browser
@pytest.mark.skipif(not CHROMIUM.exists(), reason="needs Chromium")
def test_console_page(mesh: RunningMesh, said: list[str]) -> None:
    received: list[str] = []
    with console_page() as console:
        console.page.on("websocket", lambda socket: socket.on("framereceived", lambda data: received.append(str(data))))
        console.open(mesh.console)
        console.until("tile('cam0') && tile('ok')")
        console.page.click('.tile[data-stream="cam0"] .open')
        console.page.wait_for_function("document.body.classList.contains('has-big')")
        html = console.page.content()
        assert "cam0" in html
        assert received
        check("the page", html)
        check("the page's feed", "\n".join(received))
