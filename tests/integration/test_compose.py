"""compose.yaml in real containers: a picture from nothing, and what happens to it when a container is killed."""

import json
import os
import signal
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.ring import list_rings, occupancy
from tests.support.compose import SERVICES, Stack, docker, service_of, stack, until
from tests.support.console import CHROMIUM, ConsolePage, console_page
from tests.support.pace import slowness

pytestmark = [
    pytest.mark.alone,
    pytest.mark.browser,
    pytest.mark.timeout(1200),  # where images are to be made yet
    pytest.mark.skipif(not CHROMIUM.exists(), reason="needs Chromium"),
]
_HEALTHY_SECONDS = 40.0  # the second look of each container
_BACK_SECONDS = 5.0
_PICTURES = 30  # a second of them: what was on its way when the writer died is far less
# Of a container of its own: holds one picture, and says at the end whether it stayed what it was.
_HOLD = """
import sys, time, zlib
from pathlib import Path
from shared.ring import RingReader, newest_picture
folder = Path("/frames")
with RingReader(folder).lease(newest_picture(folder, "demo")) as picture:
    before = zlib.crc32(picture.array)
    print(picture.ref.sequence, flush=True)
    while newest_picture(folder, "demo").sequence < picture.ref.sequence + 40:
        time.sleep(0.05)
    print("kept" if zlib.crc32(picture.array) == before else "torn", flush=True)
    sys.stdin.read()
"""


@pytest.fixture(scope="module")
def mesh() -> Iterator[Stack]:
    with stack() as running:
        yield running


@pytest.fixture(scope="module")
def page(mesh: Stack) -> Iterator[ConsolePage]:
    until(lambda: mesh.answers("HTTP"), "the console", 20)
    with console_page() as shown:
        shown.open(mesh.url("HTTP"))
        shown.playing("demo", seconds=20)
        yield shown


def test_a_moving_picture_from_nothing(mesh: Stack, page: ConsolePage) -> None:
    first = page.thumbnail("demo")
    page.until(f"tile('demo').framesPresented >= {_PICTURES}")
    assert abs(page.thumbnail("demo").astype(int) - first).max() > 50
    assert page.complaints == []
    with urllib.request.urlopen(mesh.url("HTTP", "/frame/demo"), timeout=10) as still:
        assert still.headers["Content-Type"] == "image/jpeg"


def test_all_are_healthy_and_scraped(mesh: Stack) -> None:
    until(lambda: set(mesh.health().values()) == {"healthy"}, f"all healthy: {mesh.health()}", _HEALTHY_SECONDS)
    assert set(SERVICES) | {"nats", "prometheus", "grafana"} == set(mesh.health())

    def up() -> dict[str, str]:
        targets = mesh.get("PROMETHEUS", "/api/v1/targets")["data"]["activeTargets"]
        return {target["labels"]["job"]: target["health"] for target in targets}

    until(lambda: {up().get(service) for service in SERVICES} == {"up"}, "all seven scraped", 20)


def test_the_doctor_finds_nothing_wrong_in_the_container_of_the_command_line(mesh: Stack) -> None:
    report = json.loads(mesh.compose("run", "--rm", "--no-deps", "cli", "doctor", "--json", "--deadline", "20"))
    assert [one for one in report["findings"] if one["level"] == "wrong"] == []
    told = {(one["group"], one["check"]): one["found"] for one in report["findings"]}
    assert told["mesh", "health"].startswith("all 7 services"), "each is asked in its own container"
    assert "tmpfs of 1.0 GiB" in told["shm", "folder"]


def test_nobody_is_root_or_writes_its_image(mesh: Stack) -> None:
    for container in mesh.containers():
        process = Path("/proc") / str(container["State"]["Pid"])
        status = dict(line.split(":\t", 1) for line in (process / "status").read_text().splitlines() if ":\t" in line)
        name = service_of(container)
        assert "0" not in status["Uid"].split(), name
        assert int(status["CapEff"], 16) == int(status["CapBnd"], 16) == 0, name
        assert status["NoNewPrivs"] == "1", name
        root = next(line for line in (process / "mounts").read_text().splitlines() if line.split()[1] == "/")
        assert "ro" in root.split()[3].split(","), f"{name}: {root}"
        ports = [one for several in container["NetworkSettings"]["Ports"].values() for one in several or ()]
        assert {one["HostIp"] for one in ports} <= {"127.0.0.1"}, name
        assert not [line for line in container["Config"]["Env"] if "PASSWORD=" in line or "SECRET=" in line], name


def test_a_lease_holds_across_containers(mesh: Stack, page: ConsolePage) -> None:
    assert page.tile("demo")["state"] == "playing"  # so capture writes
    name = f"{mesh.project}-holder"
    command = ["docker", "run", "--rm", "--interactive", "--name", name, "--network", "none", "--read-only"]
    command += ["--volume", f"{mesh.project}_frames:/frames", "--entrypoint", "python", "framemesh/cli:test", "-c"]
    with subprocess.Popen([*command, _HOLD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        try:
            assert int(holder.stdout.readline()) > 0
            assert occupancy(mesh.frames)["demo"].held >= 1
            assert holder.stdout.readline() == "kept\n", "the writer must pass over the slot"
        finally:
            docker("kill", "--signal", "KILL", name)
    # Others hold pictures for moments only.
    until(lambda: occupancy(mesh.frames)["demo"].held == 0, "the kernel frees the lease of the dead", 1)


@pytest.mark.parametrize("service", ["capture", "hw-encode", "webrtc-gateway"])
def test_a_killed_container_is_back(mesh: Stack, page: ConsolePage, service: str) -> None:
    before = mesh.container(service)
    rings = {entry.name for entry in list_rings(mesh.frames)}
    shown = page.tile("demo")["framesPresented"]
    os.kill(before["State"]["Pid"], signal.SIGKILL)  # `docker kill` would count as stopped by hand
    began = time.monotonic()
    limit = _BACK_SECONDS * slowness()
    if service == "webrtc-gateway":  # the page begins anew, and counts from nothing
        page.until("tile('demo').state !== 'playing'", limit)
        shown = 0
    page.until(f"tile('demo').state === 'playing' && tile('demo').framesPresented >= {shown} + {_PICTURES}", limit)
    print(f"{service}: a second of pictures {time.monotonic() - began:.1f} s after the kill")
    after = mesh.container(service)
    assert after["RestartCount"] == before["RestartCount"] + 1
    if service == "capture":  # what it left is swept by who takes its place
        assert not rings & {entry.name for entry in list_rings(mesh.frames)}


def test_a_mesh_file_is_applied(mesh: Stack, tmp_path: Path) -> None:
    file = tmp_path / "mesh.yaml"
    file.write_text('streams: {line1: {source: "test://?size=640x360&fps=10"}}\n')
    mesh.compose("up", "--detach", "--no-build", "--no-deps", "apply", FRAMEMESH_MESH_FILE=str(file))

    def ended() -> bool:
        return bool(mesh.container("apply")["State"]["Status"] == "exited")

    until(ended, "apply ends", 20)
    state = mesh.container("apply")["State"]
    assert state["ExitCode"] == 0, docker("logs", f"{mesh.project}-apply-1")
    streams = {entry["spec"]["stream"] for entry in mesh.get("HTTP", "/api/status")["streams"]}
    assert streams == {"demo", "line1"}, json.dumps(state)


def test_nobody_was_refused_what_it_needs(mesh: Stack) -> None:
    """After all that went before: the bus gives each party no more than it needs, and no less."""
    log = mesh.compose("logs", "--no-log-prefix", "nats")
    assert "TLS required" in log
    assert "Violation" not in log
