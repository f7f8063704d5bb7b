"""`framemesh doctor` on a bus that really is so: without JetStream, with other versions, with a clock that is wrong."""

import asyncio
import json
import os
import re
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest

from schemas.resources import Presence
from schemas.subjects import ACTUAL_BUCKET, DESIRED_BUCKET, PRESENCE_BUCKET, presence_key
from shared.bus import Bus, look_at_server
from shared.metrics import Health, MetricsServer
from shared.service import VERSION
from shared.settings import PREFIX
from tests.support.nats import NatsServer
from tests.support.peers import wait_until
from tests.support.turn import turn_server

pytestmark = pytest.mark.integration

_CLOCK_WRONG_SECONDS = 5.0
# On a machine that others use, too: the doctor's own is three seconds.
_DEADLINE_SECONDS = "20"


def doctor(folder: Path, *arguments: str, **environment: str) -> tuple[int, dict[str, list[dict[str, str]]]]:
    """Exit code, and the findings by their checks."""
    done = subprocess.run(
        [sys.executable, "-m", "services.cli", "doctor", "--json", "--deadline", _DEADLINE_SECONDS, *arguments],
        env={
            **{key: value for key, value in os.environ.items() if not key.startswith(PREFIX)},
            "FRAMEMESH_DATA_DIR": str(folder),
            "FRAMEMESH_SHM_DIR": "/dev/shm",
            "FRAMEMESH_NODE": "here",
            **environment,
        },
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert not done.stderr, done.stderr
    found: dict[str, list[dict[str, str]]] = {}
    for finding in json.loads(done.stdout)["findings"]:
        found.setdefault(finding["check"], []).append(finding)
    return done.returncode, found


def test_a_server_without_jetstream(tmp_path: Path) -> None:
    with NatsServerWithoutJetStream() as server:
        code, found = doctor(tmp_path, "--only", "nats,mesh", FRAMEMESH_NATS_URL=server.url)
    assert code == 1
    assert found["JetStream"][0]["level"] == "wrong"
    assert found["server"][0]["level"] == "ok"


class NatsServerWithoutJetStream(NatsServer):
    def start(self) -> None:
        self._process = subprocess.Popen(
            [Path(sys.executable).with_name("nats-server"), "-a", "127.0.0.1", "-p", str(self.port)],
            stderr=subprocess.DEVNULL,
        )
        wait_until(self._listens, 10, "the server listens")

    def _listens(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0


def test_a_server_that_is_not_there(tmp_path: Path) -> None:
    code, found = doctor(tmp_path, "--only", "nats", FRAMEMESH_NATS_URL="nats://user:secret@127.0.0.1:9")
    assert code == 1
    assert "nothing listens there" in found["server"][0]["found"]
    assert "secret" not in json.dumps(found)


def test_a_mesh_with_troubles(tmp_path: Path) -> None:
    health = Health()
    health.ready, health.problem = True, "task presence failed"
    metrics = MetricsServer("127.0.0.1", 0, "TEST", health)
    try:
        with NatsServer() as server, turn_server(tmp_path) as relay:
            asyncio.run(pretend(server.url, metrics.url))
            code, found = doctor(
                tmp_path,
                "--only",
                "nats,mesh,clocks,ice",
                FRAMEMESH_NATS_URL=server.url,
                FRAMEMESH_BIND="0.0.0.0",
                FRAMEMESH_WEBRTC_HOSTS="127.0.0.1",
                FRAMEMESH_WEBRTC_GATEWAY_UDP_PORT="9",
                FRAMEMESH_WEBRTC_GATEWAY_ICE_SERVERS=f"stun:127.0.0.1:{relay.port},{relay.url}?transport=tcp",
            )
            look = asyncio.run(look_at(server.url))
    finally:
        metrics.close()
    assert code == 1
    clock = found["node there"][0]
    told = re.search(r"([\d.]+) s ahead of this host's", clock["found"])
    assert told is not None
    assert (clock["level"], float(told[1])) == ("wrong", pytest.approx(_CLOCK_WRONG_SECONDS, abs=1))
    assert found["node here"][0]["level"] != "wrong"  # the write itself may take its time here
    assert found["versions"][0]["level"] == "warning"
    assert "9.9.9: hw-encode@there" in found["versions"][0]["found"]
    assert "task presence failed" in found["capture"][0]["found"]
    assert found["restarts"][0]["found"].startswith("hw-encode on there")
    assert "running nowhere: publisher" in " ".join(one["found"] for one in found["services"])
    assert found["buckets"][0]["level"] == "ok"
    assert found["rights"][0]["level"] == "ok"
    # The gateway is said to run here, and nothing listens where its viewers are told to send.
    assert "nothing listens there" in found["addresses"][0]["found"]
    assert found["addresses"][0]["level"] == "wrong"
    assert [one["level"] for one in found["STUN and TURN"]] == ["ok", "ok"]
    assert all("sees this host as 127.0.0.1" in one["found"] for one in found["STUN and TURN"])
    assert look.jetstream == "there"
    assert look.clock_ahead_seconds == pytest.approx(0, abs=0.5)
    assert "KV_not_there" in look.missing


async def pretend(url: str, metrics_url: str) -> None:
    """A mesh of records: two nodes, two versions, a clock that is ahead, a service that is ill."""
    bus = await Bus.connect(url, name="test", timeout_seconds=5)
    try:
        await bus.ensure_events()
        for name in (DESIRED_BUCKET, ACTUAL_BUCKET):
            await bus.bucket(name)
        bucket = await bus.bucket(PRESENCE_BUCKET)
        ahead_ns = int(_CLOCK_WRONG_SECONDS * 1e9)
        for presence in (
            record("capture", "here", metrics_url=metrics_url),
            record("webrtc-gateway", "here"),
            record("hw-encode", "there", version="9.9.9", restarts=7, ahead_ns=ahead_ns),
        ):
            now = msgspec.structs.replace(presence, at_ns=time.time_ns() + presence.at_ns)
            await bucket.put(presence_key(presence.service, presence.node), msgspec.json.encode(now))
    finally:
        await bus.drain()


def record(service: str, node: str, *, version: str = VERSION, ahead_ns: int = 0, **more: Any) -> Presence:
    return Presence(
        service=service, node=node, instance="test", version=version, pid=1, started_ns=1, at_ns=ahead_ns, **more
    )


async def look_at(url: str) -> Any:
    bus = await Bus.connect(url, name="test", timeout_seconds=5)
    try:
        return await look_at_server(bus, ["KV_not_there", f"KV_{DESIRED_BUCKET}"])
    finally:
        await bus.drain()


def test_memory_for_a_mesh_file(tmp_path: Path) -> None:
    path = tmp_path / "mesh.yaml"
    path.write_text("streams: {cam0: 'rtsp://user:pass-word@camera/1'}\n")
    done = subprocess.run(
        [sys.executable, "-m", "services.cli", "doctor", "--shm", str(path), "--json"],
        capture_output=True,
        text=True,
        timeout=60,
    )
    needs = json.loads(done.stdout)
    assert done.returncode == 0
    assert needs["bytes"] == needs["megabytes"] << 20
    assert {ring["ring"] for ring in needs["rings"]} == {"cam0", "cam0/source", "cam0/main", "cam0/low"}
    assert "pass-word" not in done.stdout


@pytest.mark.parametrize("arguments", [("--only", "shn"), ("nowhere.yaml",)])
def test_wrong_usage(arguments: tuple[str, ...]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "services.cli", "doctor", *arguments], capture_output=True, text=True, timeout=60
    )
    assert done.returncode in (1, 2)
    assert arguments[-1] in done.stderr


def test_encoders_are_really_tried(tmp_path: Path) -> None:
    code, found = doctor(tmp_path, "--only", "encoders")
    assert code == 0
    assert {"libav", "h264", "hevc", "av1", "vp8", "vp9", "mjpeg"} <= found.keys()
    assert "works" in found["h264"][0]["found"]
