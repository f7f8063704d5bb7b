"""The command line and the services' own start: what is wrong is one line, with the exit code that scripts rely on."""

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from schemas.commands import StartStream, StopStream, StreamChanged
from schemas.errors import MeshError
from schemas.subjects import command
from shared.bus import Bus
from tests.support.mesh import FRAMEMESH, CallFailed, RunningMesh
from tests.support.pace import Patience

pytestmark = [pytest.mark.integration, pytest.mark.timeout(60)]

NO_SERVER = "nats://127.0.0.1:1"
ANSWER_SECONDS = 6.0
SOURCE = "test://?size=640x360&fps=5"


@pytest.fixture(scope="module")
def mesh() -> Iterator[RunningMesh]:
    with RunningMesh() as running:
        yield running


def clean_environment(folder: Path, **more: str) -> dict[str, str]:
    """For processes that are not to find any running mesh."""
    return {
        **{key: value for key, value in os.environ.items() if not key.startswith("FRAMEMESH_")},
        "FRAMEMESH_DATA_DIR": str(folder / "data"),
        "FRAMEMESH_SHM_DIR": str(folder / "shm"),
        **more,
    }


def run(arguments: list[str], environment: dict[str, str], seconds: float = 60.0) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(arguments, env=environment, capture_output=True, text=True, timeout=seconds)


def only_line(text: str, *words: str) -> str:
    lines = [line for line in text.splitlines() if line != "starting …"]
    assert len(lines) == 1, text
    for word in words:
        assert word in lines[0], lines[0]
    return lines[0]


# -- no server -------------------------------------------------------------------------------------------------------


def test_no_server(tmp_path: Path) -> None:
    """All at once: each waits for three seconds."""
    (tmp_path / "mesh.yaml").write_text("streams: {cam0: 'test://'}\n")
    commands = [["status"], ["call", "capture.list"], ["apply", str(tmp_path / "mesh.yaml")], ["status", "--json"]]
    environment = clean_environment(tmp_path, FRAMEMESH_NATS_URL=NO_SERVER)
    patience = Patience(ANSWER_SECONDS)
    with ThreadPoolExecutor(len(commands)) as all_at_once:
        done = list(all_at_once.map(lambda command: run([*FRAMEMESH, *command], environment), commands))
    assert not patience.is_over()
    assert [one.returncode for one in done] == [1] * len(commands)
    *plain, in_json = done
    for one in plain:
        only_line(one.stderr, NO_SERVER, "framemesh up", "FRAMEMESH_NATS_URL")
        assert one.stdout == ""
    assert json.loads(in_json.stdout)["error"]["code"] == 503


def test_a_server_that_does_not_answer(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"nats://127.0.0.1:{silent.getsockname()[1]}"
        patience = Patience(ANSWER_SECONDS)
        done = run([*FRAMEMESH, "status"], clean_environment(tmp_path, FRAMEMESH_NATS_URL=url))
        assert not patience.is_over()
    assert done.returncode == 1
    only_line(done.stderr, url)


@pytest.mark.parametrize("service", ["capture", "publisher"])
def test_a_service_waits_for_its_server(tmp_path: Path, service: str) -> None:
    environment = clean_environment(tmp_path, FRAMEMESH_NATS_URL=NO_SERVER)
    environment[f"FRAMEMESH_{service.upper()}_METRICS_PORT"] = "0"
    with subprocess.Popen(
        [sys.executable, "-m", f"services.{service}"], env=environment, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        stuck = threading.Timer(10, process.kill)
        stuck.start()
        line = process.stderr.readline()
        assert f"no NATS server yet at {NO_SERVER}, waiting" in line
        began = time.monotonic()
        process.send_signal(signal.SIGTERM)
        assert process.wait(5) == 0
        assert time.monotonic() - began < 2
        stuck.cancel()
        assert process.stderr.read() == ""


# -- starting --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("service", ["capture", "hw_encode", "publisher", "webrtc_gateway"])
def test_a_service_started_twice(mesh: RunningMesh, service: str) -> None:
    pids = mesh.pids()
    done = run([sys.executable, "-m", f"services.{service}"], mesh.environment)
    assert done.returncode == 2
    only_line(done.stderr, "error 409", f"{service.replace('_', '-')} already runs on node test", "FRAMEMESH_NODE")
    assert mesh.pids() == pids


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("FRAMEMESH_CAPTURE_RING_SLOTS", "abc", ("abc", "int")),
        ("FRAMEMESH_CAPTURE_RING_SLOTS", "2", ("2", "4")),
        ("FRAMEMESH_CAPTURE_FOO", "1", ("no such setting", "ring_slots")),
        ("FRAMEMESH_CAPTURE_METRICS_PORT", "99999", ("99999", "65535")),
        ("FRAMEMESH_NODE", "Big_Node", ("Big_Node",)),
        ("FRAMEMESH_LOG", "loud", ("loud", "warning")),
        ("FRAMEMESH_NATS_URL_FILE", "/no/such/file", ("/no/such/file", "No such file")),
        ("FRAMEMESH_SHM_DIR", "/proc/framemesh", ("/proc/framemesh",)),
    ],
)
def test_a_wrong_setting(tmp_path: Path, name: str, value: str, words: tuple[str, ...]) -> None:
    environment = clean_environment(tmp_path, **{name: value})
    done = run([sys.executable, "-m", "services.capture"], environment)
    assert done.returncode == 2
    only_line(done.stderr, name.removesuffix("_FILE"), *words)


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("FRAMEMESH_CAPTURE_RING_SLOTS", "abc", ("error 400", "abc", "int")),
        ("FRAMEMESH_WEBRTC_GATEWAY_HTTP_PORT", "http", ("error 400", "http", "port")),
        ("FRAMEMESH_WEBRTC_GATEWAY_UDP_PORT", "-1", ("error 400", "-1", "port")),
        ("FRAMEMESH_PUBLISHER_QUEUE", "1", ("error 400", "no such setting", "queue_bytes")),
    ],
)
def test_up_with_a_wrong_setting(tmp_path: Path, name: str, value: str, words: tuple[str, ...]) -> None:
    done = run([*FRAMEMESH, "up", "--auto-ports"], clean_environment(tmp_path, **{name: value}))
    assert done.returncode == 1
    only_line(done.stderr, name, *words)
    assert not (tmp_path / "shm").exists() or not list((tmp_path / "shm").iterdir())


@pytest.mark.parametrize(
    ("setting", "kind", "words"),
    [
        ("FRAMEMESH_WEBRTC_GATEWAY_HTTP_PORT", socket.SOCK_STREAM, ("HTTP port",)),
        ("FRAMEMESH_WEBRTC_GATEWAY_UDP_PORT", socket.SOCK_DGRAM, ("UDP port",)),
        ("FRAMEMESH_CAPTURE_METRICS_PORT", socket.SOCK_STREAM, ("metrics",)),
    ],
)
def test_up_with_a_port_taken(
    mesh: RunningMesh, tmp_path: Path, setting: str, kind: socket.SocketKind, words: tuple[str, ...]
) -> None:
    """A second mesh on the first one's server, as a node of its own."""
    free = {f"FRAMEMESH_{name}_METRICS_PORT": "0" for name in ("CAPTURE", "HW_ENCODE", "PUBLISHER", "WEBRTC_GATEWAY")}
    free |= {f"FRAMEMESH_WEBRTC_GATEWAY_{name}_PORT": "0" for name in ("HTTP", "UDP")}
    with socket.socket(socket.AF_INET, kind) as taken:
        taken.bind(("127.0.0.1", 0))
        if kind == socket.SOCK_STREAM:
            taken.listen()
        port = str(taken.getsockname()[1])
        environment = clean_environment(tmp_path, FRAMEMESH_NODE="other", **{**free, setting: port})
        done = run([*FRAMEMESH, "up", "--nats", mesh.ready["nats"]], environment)
    assert done.returncode == 1
    only_line(done.stderr, port, setting, *words)


def test_up_with_the_nats_port_taken(tmp_path: Path) -> None:
    with socket.socket() as taken:
        with contextlib.suppress(OSError):  # another mesh has it: taken all the same
            taken.bind(("127.0.0.1", 4222))
            taken.listen()
        done = run([*FRAMEMESH, "up"], clean_environment(tmp_path))
    assert done.returncode == 1
    only_line(done.stderr, "error 409", "NATS port 4222", "--nats", "--auto-ports")


def test_up_without_nats_server(tmp_path: Path) -> None:
    patience = Patience(ANSWER_SECONDS + 1)
    done = run([*FRAMEMESH, "up", "--nats", NO_SERVER], clean_environment(tmp_path))
    assert not patience.is_over()
    assert done.returncode == 1
    only_line(done.stderr, NO_SERVER)


def test_up_without_the_program(tmp_path: Path) -> None:
    """A Python whose folder has no nats-server, and none in PATH."""
    link = tmp_path / "bin" / "python"
    link.parent.mkdir()
    link.symlink_to(sys.executable)
    environment = clean_environment(tmp_path, PATH="/nowhere", PYTHONPATH=os.pathsep.join(sys.path))
    done = run([str(link), "-m", "services.cli", "up", "--auto-ports"], environment)
    assert done.returncode == 1
    only_line(done.stderr, "error 404", "nats-server", "framemesh[launcher]", "FRAMEMESH_NATS_URL")


# -- commands --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["call", "capture.start", "{stream: x}"], 1, ("not JSON",)),
        (["call", "capture.start", '{"stream":"x"}'], 1, ("error 400", "source")),
        (["call", "capture.fly"], 1, ("error 503", "capture.fly")),
        (["call", "no such subject"], 1, ("error 400", "no such subject")),
        (["call", ""], 1, ("error 400",)),
        (["call", "capture.stop", '{"stream":"nope"}'], 1, ("error 404", "nope")),
        (["apply", "/no/such/mesh.yaml"], 1, ("error 404", "/no/such/mesh.yaml", "No such file")),
        (["apply", "/etc"], 1, ("/etc",)),
    ],
)
def test_a_wrong_command(mesh: RunningMesh, arguments: list[str], code: int, words: tuple[str, ...]) -> None:
    done = mesh.run(*arguments)
    assert done.returncode == code, done
    only_line(done.stderr, *words)
    assert done.stdout == ""


@pytest.mark.parametrize("arguments", [[], ["fly"], ["up", "--no-such-option"], ["apply"]])
def test_wrong_usage(mesh: RunningMesh, arguments: list[str]) -> None:
    done = mesh.run(*arguments)
    assert done.returncode == 2
    assert "usage: framemesh" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("streams: {\n  cam0: [\n", ("line 3", "not YAML")),
        ("streams:\n  cam0: test://\n bad\n", ("line 3",)),
        ("- a\n- b\n", ("streams:",)),
        ("", ("streams:",)),
        ("steams: {}\n", ("steams", "streams")),
        ("streams:\n  cam0: {source: 'test://', sise: 1}\n", ("streams.cam0", "sise")),
        ("streams:\n  cam0: {}\n", ("streams.cam0", "source")),
        ("streams:\n  cam0:\n", ("streams.cam0",)),
        ("streams:\n  cam0: 5\n", ("streams.cam0",)),
        ("streams:\n  Cam0: test://\n", ("streams.Cam0", "1-63")),
        ("streams:\n  cam0: {source: 'test://', fps: fast}\n", ("streams.cam0.fps", "float")),
        ("streams:\n  cam0: {source: 'test://', size: big}\n", ("streams.cam0", "size", "big")),
        ("streams:\n  cam0: {source: 'test://', renditions: {main: {bitrate: fast}}}\n",
         ("streams.cam0.renditions.main", "bitrate", "fast")),
        ("streams:\n  cam0: {source: 'test://', renditions: {main: {codec: h266}}}\n",
         ("streams.cam0.renditions.main", "codec", "h266")),
        ("streams:\n  cam0: {source: 'test://', outputs: {a: {rendition: main}}}\n",
         ("streams.cam0.outputs.a", "to")),
        ("streams:\n  cam0: 'rtsp://a:${NO_SUCH_VARIABLE}@h/1'\n", ("${NO_SUCH_VARIABLE}", "environment")),
        ("signals: {do1: {}}\n", ("signals.do1", "mode")),
    ],
)  # fmt: skip
def test_a_wrong_mesh_file(mesh: RunningMesh, tmp_path: Path, text: str, words: tuple[str, ...]) -> None:
    path = tmp_path / "mesh.yaml"
    path.write_text(text)
    done = mesh.run("apply", str(path))
    assert done.returncode == 1, done
    only_line(done.stderr, *words)
    assert done.stdout == ""
    assert mesh.status()["streams"] == [], "nothing of a wrong file is begun"


# -- waiting, repeating, racing --------------------------------------------------------------------------------------


def test_wait_s(mesh: RunningMesh) -> None:
    began = time.monotonic()
    at_once = mesh.call("capture.start", stream="waits", source=SOURCE, wait_s=0)
    assert time.monotonic() - began < 4  # less than the usual wait of 5 s; a program starts late on a busy machine
    assert at_once["code"] == 202
    settled = mesh.call("capture.start", stream="waits", source=SOURCE)
    assert (settled["code"], settled["revision"], settled["actual"]["state"]) == (200, at_once["revision"], "live")
    again = mesh.call("capture.start", stream="waits", source=SOURCE, revision=settled["revision"])
    assert again["revision"] == settled["revision"], "the same again changes nothing"
    changed = mesh.call("capture.start", stream="waits", source=SOURCE, fps=10)
    assert changed["revision"] > settled["revision"]
    assert changed["actual"]["revision"] == changed["revision"]
    with pytest.raises(CallFailed) as stale:
        mesh.call("capture.start", stream="waits", source=SOURCE, revision=settled["revision"])
    assert stale.value.code == 409
    assert mesh.call("capture.stop", stream="waits")["code"] == 200
    assert mesh.status()["streams"] == []


def test_a_start_that_nobody_owns_says_so_in_time(mesh: RunningMesh) -> None:
    began = time.monotonic()
    reply = mesh.call("capture.start", stream="afar", source=SOURCE, node="elsewhere", wait_s=1)
    assert 1 <= time.monotonic() - began < 6  # a wait of 3 s at most, and the start of a program on a busy machine
    assert reply["code"] == 202
    assert reply.get("actual") is None
    assert mesh.call("capture.stop", stream="afar")["code"] == 200


def test_what_the_mesh_refuses_of_a_file(mesh: RunningMesh, tmp_path: Path) -> None:
    path = tmp_path / "mesh.yaml"
    path.write_text(f"streams:\n  bad: ftp://a/b\n  good: '{SOURCE}'\n")
    done = mesh.run("apply", str(path))
    assert done.returncode == 1
    bad, good = done.stdout.splitlines()
    assert "stream bad: error 400: source 'ftp'" in bad
    assert "stream good: live" in good
    assert done.stderr == ""
    assert mesh.call("capture.stop", stream="good")["code"] == 200


async def test_concurrent_starts_of_one_stream(mesh: RunningMesh) -> None:
    """Whoever comes last wins, everybody gets an answer, and what runs is what is asked for."""
    clients = [await Bus.connect(mesh.ready["nats"], name=f"client-{n}", timeout_seconds=3) for n in range(6)]

    async def start(bus: Bus, fps: int) -> StreamChanged:
        request = StartStream(stream="race", source=SOURCE, fps=fps, wait_s=10)
        return await bus.request(command("capture", "start"), request, StreamChanged, 15)

    async def stop(bus: Bus) -> int:
        try:
            return (await bus.request(command("capture", "stop"), StopStream(stream="race"), StreamChanged)).code
        except MeshError as error:
            return error.code

    for _ in range(5):
        replies = await asyncio.gather(*map(start, clients, (5, 6, 7, 5, 6, 7)))
        assert {reply.code for reply in replies} == {200}
        assert all(reply.actual and reply.actual.revision >= reply.revision for reply in replies)
        (entry,) = mesh.status()["streams"]
        assert entry["revision"] == max(reply.revision for reply in replies)
        assert entry["actual"]["revision"] == entry["revision"]
        assert entry["actual"]["state"] == "live"
        assert entry["actual"]["video"]["fps"] == entry["spec"]["fps"]
        codes = await asyncio.gather(*map(stop, clients))
        assert 200 in codes
        assert set(codes) <= {200, 202, 404}
    for bus in clients:
        await bus.drain()
    mesh.wait_for(lambda: mesh.status()["streams"] == [] and not mesh.rings(), 5, "nothing left")
