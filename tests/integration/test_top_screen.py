"""`framemesh top` in a real terminal, against a real mesh: what it shows, its keys, sizes, and a bus that goes away."""

import json
import re
import sys
from collections.abc import Iterator

import pytest

from tests.support.mesh import RunningMesh
from tests.support.nats import NatsServer
from tests.support.terminal import Terminal

pytestmark = [pytest.mark.integration, pytest.mark.timeout(90)]

TOP = [sys.executable, "-m", "services.cli", "top", "--interval", "300ms"]


@pytest.fixture(scope="module")
def server() -> Iterator[NatsServer]:
    with NatsServer() as running:
        yield running


@pytest.fixture(scope="module")
def mesh(server: NatsServer) -> Iterator[RunningMesh]:
    with RunningMesh("--nats", server.url) as running:
        for name in ("cam0", "cam1"):
            running.call("capture.start", stream=name, source="test://?size=640x360&fps=10")
        running.call("publisher.start", stream="cam0", output="kept", to="file://kept.mp4")
        yield running


def test_one_frame_for_scripts(mesh: RunningMesh) -> None:
    scene = json.loads(mesh.run("top", "--json").stdout)
    streams = {row["stream"]: row for row in scene["streams"]}
    assert streams["cam0"]["state"] == "live"
    assert streams["cam0"]["fps_in"] > 0
    assert streams["cam0"]["outputs"][0].startswith("kept")
    assert {"capture", "publisher"} <= {row["service"] for row in scene["services"]}
    assert all(row["lag_ms"] is not None for row in scene["services"]), "metrics are read without a Prometheus"
    assert any(row["trace_id"] for row in scene["events"])
    text = mesh.run("top", "--once").stdout
    assert re.search(r"cam1 +live +640x360", text)
    assert "\x1b" not in text
    refused = mesh.run("top")
    assert refused.returncode == 1
    assert "--once" in refused.stderr


@pytest.mark.long
def test_keys_sizes_and_a_bus_that_goes_away(mesh: RunningMesh, server: NatsServer) -> None:
    without = {**mesh.environment, "FRAMEMESH_NATS_URL": "nats://127.0.0.1:9", "NO_COLOR": "1"}
    with Terminal(TOP, mesh.environment) as terminal, Terminal(TOP, without) as waiting:
        terminal.wait_for(r"cam0 +live +640x360", 20)
        screen = terminal.wait_for(r"webrtc-gateway")
        assert re.search(r"\d services on 1 node, 2 streams, 2 live", screen)
        assert re.search(r"STREAM ▼", screen)
        terminal.press("s")
        terminal.wait_for(r"STATE ▼")
        terminal.press("S")
        terminal.wait_for(r"STATE ▲")
        terminal.press("/")
        terminal.wait_for("filter: part of a name")
        terminal.press("cam1")
        terminal.wait_for(r"cam0", gone=True)
        terminal.press("\r")
        terminal.wait_for(r"only 'cam1'")
        terminal.press("\x1b")
        terminal.wait_for(r"cam0 +live")
        terminal.press("\r")
        terminal.wait_for(r"╭─ cam[01]")
        terminal.press("\x1b")
        terminal.wait_for(r"╭─ cam", gone=True)
        terminal.press("p")
        terminal.wait_for("HELD")
        terminal.press("p")
        terminal.wait_for("HELD", gone=True)
        terminal.resize(160, 44)
        assert "CODEC" in terminal.wait_for(r"SOURCE")
        terminal.resize(80, 24)
        terminal.wait_for(r"SOURCE", gone=True)
        server.kill()
        terminal.wait_for("BUS IS AWAY")
        server.start()
        terminal.wait_for("BUS IS AWAY", 20, gone=True)
        terminal.wait_for(r"cam0 +live")
        terminal.press("q")
        assert terminal.wait_end() == 0

        waiting.wait_for("NO BUS for", 20)
        colours = re.findall(rb"38;2;(\d+);(\d+);(\d+)", waiting.written)
        assert all(red == green == blue for red, green, blue in colours)
        waiting.press("q")
        assert waiting.wait_end() == 0
