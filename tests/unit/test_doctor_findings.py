"""What the doctor finds on machines where something really is as it should not be."""

import asyncio
import contextlib
import ctypes
import datetime
import grp
import io
import json
import os
import resource
import socket
import stat
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from schemas.errors import MeshError, Unavailable
from schemas.mesh_file import plan_from_mapping
from schemas.resources import Presence
from services.cli.doctor import (
    clocks,
    containers,
    devices,
    disk,
    encoders,
    ice,
    kernel,
    limits,
    mesh,
    nats,
    ports,
    shm,
    shown,
    software,
)
from services.cli.doctor.examination import PROBES
from services.cli.doctor.finding import GROUPS, Finding, Report, worst
from services.cli.doctor.machine import Machine
from services.cli.doctor.mesh_look import ESSENTIAL, MeshLook, NobodyListens
from services.cli.doctor.probing import Probe, examine
from shared.bus import ServerLook, StreamLook
from shared.settings import Settings, load_settings

pytestmark = pytest.mark.unit
root_only = pytest.mark.skipif(os.getuid() != 0, reason="mounts and device files take root")
NOBODY = 65_534
PLAN = plan_from_mapping({"streams": {"cam0": {"source": "rtsp://camera/1", "size": "1920x1080"}}})


def machine(**changes: object) -> Machine:
    """This machine with other settings; `environ` are the variables."""
    environ = {"FRAMEMESH_NODE": "here", **changes.pop("environ", {})}  # type: ignore[dict-item]
    mesh: asyncio.Future[MeshLook | MeshError] = asyncio.get_running_loop().create_future()
    mesh.set_result(Unavailable("no mesh in this test"))
    settings = load_settings(Settings, "doctor", environ)
    return Machine(settings=settings, mesh=mesh, environ=environ, **changes)  # type: ignore[arg-type]


def found(look: object, **changes: object) -> dict[str, Finding]:
    """By their checks; the worst of each."""

    async def ask() -> tuple[Finding, ...]:
        return await examine(machine(**changes), [Probe("shm", "tested", look)])  # type: ignore[arg-type]

    findings = asyncio.run(ask())
    by_check: dict[str, Finding] = {}
    for finding in findings:
        by_check[finding.check] = worse(by_check.get(finding.check, finding), finding)
    return by_check


def worse(one: Finding, other: Finding) -> Finding:
    return one if worst((one, other)) == one.level else other


@pytest.fixture
def small_memory(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "memory"
    folder.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", folder], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"nothing can be mounted here: {done.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


# -- shared memory ---------------------------------------------------------------------------------------------


@root_only
def test_memory_that_is_too_small(small_memory: Path) -> None:
    environ = {"FRAMEMESH_SHM_DIR": str(small_memory)}
    assert found(shm.folder, environ=environ)["folder"].level == "ok"
    room = found(shm.room, environ=environ, plan=PLAN)["room"]
    assert room.level == "wrong"
    assert "16 MiB for rings" in room.found
    command, _, place = room.fix.rpartition(" ")
    assert place == str(small_memory)
    subprocess.run([*command.removeprefix("sudo ").split(), place], check=True)  # as it is told to be done
    assert found(shm.room, environ=environ, plan=PLAN)["room"].level == "ok"


def test_rings_on_a_disk(tmp_path: Path) -> None:
    folder = found(shm.folder, environ={"FRAMEMESH_SHM_DIR": "/etc/rings"})["folder"]
    assert folder.level == "wrong"
    assert "not in memory" in folder.found
    assert "mount -t tmpfs" in folder.fix


def test_rings_that_are_there_count_as_room(tmp_path: Path) -> None:
    folder = Path(f"/dev/shm/framemesh-test-room-{os.getpid()}")
    folder.mkdir()
    try:
        (folder / "cam0.ring").write_bytes(bytes(1 << 20))
        assert shm._own_bytes(folder) >= 1 << 20
    finally:
        (folder / "cam0.ring").unlink()
        folder.rmdir()


# -- disk ------------------------------------------------------------------------------------------------------


@root_only
def test_a_disk_that_is_full(small_memory: Path) -> None:
    environ = {"FRAMEMESH_DATA_DIR": str(small_memory)}
    assert "MB/s" in found(disk.speed, environ=environ)["writing"].found
    with (small_memory / "full").open("wb") as file, contextlib.suppress(OSError):
        file.write(bytes(16 << 20))
    writing = found(disk.speed, environ=environ)["writing"]
    assert (writing.level, "No space left" in writing.found) == ("wrong", True)
    room = found(disk.room, environ=environ)["room"]
    assert room.level == "wrong"
    assert [path.name for path in small_memory.iterdir()] == ["full"], "what was tried leaves nothing behind"


def test_a_folder_that_is_to_come_is_judged_by_its_parent(tmp_path: Path) -> None:
    environ = {"FRAMEMESH_DATA_DIR": str(tmp_path / "not" / "yet")}
    assert found(disk.speed, environ=environ)["writing"].level in ("ok", "warning")
    assert not (tmp_path / "not").exists()


# -- users and their limits ------------------------------------------------------------------------------------


def in_a_child(work: Callable[[], object]) -> object:
    """What it returns, from a process whose user and limits may be changed."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.write(writer, json.dumps(work()).encode())
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as pipe:
        answer = pipe.read()
    os.waitpid(pid, 0)
    return json.loads(answer)


def as_nobody() -> None:
    os.setgroups([])
    os.setgid(NOBODY)
    os.setuid(NOBODY)


def levels(look: Callable[[Machine], Iterator[Finding]], **changes: object) -> list[list[str]]:
    """Without an event loop's help, which a forked process has none of."""
    settings = load_settings(Settings, "doctor", {"FRAMEMESH_NODE": "here"})
    told = look(Machine(settings=settings, mesh=None, **changes))  # type: ignore[arg-type]
    return [[finding.check, finding.level, finding.found, finding.fix] for finding in told]


def test_few_open_files() -> None:
    def look() -> object:
        resource.setrlimit(resource.RLIMIT_NOFILE, (128, 4096))
        return levels(limits.files)

    check, level, text, fix = in_a_child(look)[0]  # type: ignore[index]
    assert (check, level) == ("open files", "wrong")
    assert text.startswith("128 ")
    assert fix == "ulimit -n 4096"


@root_only
def test_no_right_to_be_first() -> None:
    def look() -> object:
        as_nobody()
        return levels(limits.priority)

    assert in_a_child(look)[0][1] == "warning"  # type: ignore[index]
    assert levels(limits.priority)[0][1] == "ok"


@root_only
@pytest.mark.parametrize(
    ("mode", "group", "fix"),
    [
        (0o660, "video", "sudo usermod -aG video nobody; then log in again"),
        (0o600, "video", "sudo setfacl -m u:nobody:rw"),
        (0o660, "root", "sudo setfacl -m u:nobody:rw"),
    ],
)
def test_a_camera_that_may_not_be_opened(mode: int, group: str, fix: str) -> None:
    folder = Path(f"/dev/shm/framemesh-test-dev-{os.getpid()}")
    folder.mkdir(mode=0o755)
    camera = folder / "video0"
    try:
        try:
            os.mknod(camera, stat.S_IFCHR | mode, os.makedev(81, 99))
        except PermissionError:
            pytest.skip("no device files can be made here")
        os.chown(camera, 0, grp.getgrnam(group).gr_gid)
        camera.chmod(mode)

        def look() -> object:
            as_nobody()
            return levels(devices.devices, devices=folder)

        told = {check: (level, text, how) for check, level, text, how in in_a_child(look)}  # type: ignore[attr-defined]
        level, text, how = told["cameras"]
        assert level == "wrong"
        assert str(camera) in text
        assert how.startswith(fix)
        assert told["gpio"][0] == "ok"
    finally:
        camera.unlink(missing_ok=True)
        folder.rmdir()


# -- ports -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM])
def test_a_port_that_somebody_else_holds(kind: int) -> None:
    name = "HTTP_PORT" if kind == socket.SOCK_STREAM else "UDP_PORT"
    with socket.socket(socket.AF_INET, kind) as taken:
        taken.bind(("127.0.0.1", 0))
        if kind == socket.SOCK_STREAM:
            taken.listen()
        port = taken.getsockname()[1]
        environ = {f"FRAMEMESH_WEBRTC_GATEWAY_{name}": str(port)}
        told = found(ports.ports, environ=environ)
        finding = told["webrtc-gateway HTTP" if kind == socket.SOCK_STREAM else "webrtc-gateway WebRTC"]
    assert finding.level == "wrong"
    assert f"(process {os.getpid()})" in finding.found
    assert f"export FRAMEMESH_WEBRTC_GATEWAY_{name}=0" in finding.fix
    assert f"{port}" in found(ports.ports, environ=environ)["free"].found


_OLD_MEMORY = "memory/memory.limit_in_bytes"
_OLD_QUOTA, _OLD_PERIOD = "cpu/cpu.cfs_quota_us", "cpu/cpu.cfs_period_us"


def test_a_port_that_docker_publishes() -> None:
    """Its process is Docker's: to end it takes the container's port away."""
    program = "import socket; open('/proc/self/comm', 'w').write('docker-proxy'); "
    program += "s = socket.create_server(('127.0.0.1', 0)); print(s.getsockname()[1], flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as proxy:
        assert proxy.stdout is not None
        port = proxy.stdout.readline().strip()
        environ = {"FRAMEMESH_PUBLISHER_RTSP_PORT": port}
        finding = found(ports.ports, environ=environ)["publisher RTSP"]
        proxy.communicate("\n", timeout=10)
    assert (finding.level, "kill" in finding.fix) == ("warning", False)
    assert finding.fix.startswith(f"docker ps --filter publish={port}")


# -- containers ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("files", "memory", "processors"),
    [
        ({"memory.max": "268435456", "cpu.max": "50000 100000"}, "warning", "warning"),
        ({"memory.max": "max", "cpu.max": "max 100000"}, "ok", "ok"),
        ({"memory.max": "8589934592", "cpu.max": "200000 100000"}, "ok", "ok"),
        ({_OLD_MEMORY: "268435456", _OLD_QUOTA: "50000", _OLD_PERIOD: "100000"}, "warning", "warning"),
        ({_OLD_MEMORY: "9223372036854771712", _OLD_QUOTA: "-1", _OLD_PERIOD: "100000"}, "ok", "ok"),
        ({}, "ok", "ok"),
    ],
)
def test_limits_of_containers(tmp_path: Path, files: dict[str, str], memory: str, processors: str) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text + "\n")
    assert found(containers.memory, cgroup=tmp_path, plan=PLAN)["memory"].level == memory
    assert found(containers.limits, cgroup=tmp_path)["processors"].level == processors


def test_the_container_of_the_command_line_is_asked_for_no_service(tmp_path: Path) -> None:
    environ = {"FRAMEMESH_SERVICE": "cli", "FRAMEMESH_BIND": "0.0.0.0", "FRAMEMESH_SHM_DIR": "/dev/shm"}
    (tmp_path / "memory.max").write_text("268435456\n")
    for look in (limits.priority, containers.memory, devices.devices, ports.ports, ice.hosts, ice.servers):
        assert found(look, environ=environ, cgroup=tmp_path) == {}, look
        assert found(look, cgroup=tmp_path) != {}, look
    assert {
        one.level for look in (software.python, software.programs) for one in found(look, environ=environ).values()
    } == {"ok"}
    tried = found(encoders.encoders, environ=environ)["h264"]
    assert (tried.level, "docker compose exec hw-encode" in tried.found) == ("ok", True)
    wide = plan_from_mapping(
        {"streams": {f"cam{n}": {"source": "rtsp://c/1", "size": "3840x2160"} for n in range(1, 31)}}
    )
    room = found(shm.room, environ=environ, plan=wide)["room"]
    assert "FRAMEMESH_SHM_SIZE=" in room.fix
    assert "docker volume rm" in room.fix


def test_an_image_of_a_service_is_asked_for_it_alone() -> None:
    environ = {"FRAMEMESH_SERVICE": "publisher"}
    told = found(ports.ports, environ=environ)
    assert {"4222", "8889"}.isdisjoint(" ".join(one.found for one in told.values()).replace(",", "").split())
    assert "publisher" in found(software.python, environ=environ)["services"].found


def test_a_service_in_another_container_is_asked_there() -> None:
    def ill(hostname: str, url: str) -> str:
        told = {"instance": "1", "version": "1", "pid": 7, "started_ns": 1}
        return mesh._health(Presence(service="capture", node="here", hostname=hostname, metrics_url=url, **told))  # type: ignore[arg-type]

    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    ours, theirs = socket.gethostname(), "other.invalid"
    assert "refused" in ill(ours, f"http://0.0.0.0:{port}/metrics")
    assert ill(theirs, f"http://0.0.0.0:{port}/metrics") == "", "a name of a network that we are not in"
    assert ill(theirs, f"http://127.0.0.1:{port}/metrics") == "", "its loopback is not ours"


# -- clocks, kernel, software ----------------------------------------------------------------------------------


def test_this_machine_itself_is_one_that_works() -> None:
    for look in (kernel.features, kernel.locks, kernel.overcommit, software.python, clocks.synchronised):
        assert all(finding.level != "wrong" for finding in found(look).values())


def test_leases_on_a_file_system_without_them() -> None:
    """/proc makes no files at all, and says so in its own way."""
    locks = found(kernel.locks, environ={"FRAMEMESH_SHM_DIR": "/proc/self"})["locks"]
    assert locks.level != "ok"


def test_a_clock_that_was_never_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clocks.time, "time", lambda: 86_400.0)
    assert levels(clocks.synchronised)[0][:2] == ["time of day", "wrong"]


def test_an_unsynchronised_clock_is_told_from_a_kept_one(monkeypatch: pytest.MonkeyPatch) -> None:
    def kernel_says(status: int) -> object:
        class Kernel:
            @staticmethod
            def adjtimex(timex: object) -> int:
                timex._obj.status, timex._obj.maxerror = status, 4000  # type: ignore[attr-defined]
                return 0

        return lambda *_, **__: Kernel

    monkeypatch.setattr(ctypes, "CDLL", kernel_says(0x40))
    assert levels(clocks.synchronised)[0][1] == "warning"
    monkeypatch.setattr(ctypes, "CDLL", kernel_says(0x01))
    assert levels(clocks.synchronised)[0][1:3] == ["ok", "synchronised, within 4 ms"]


# -- certificates ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("days", "level"), [(-1, "wrong"), (5, "warning"), (300, "ok")])
def test_a_certificate_that_ends(tmp_path: Path, days: int, level: str) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "capture")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=30))
        .not_valid_after(now + datetime.timedelta(days=days, hours=1))
        .sign(key, hashes.SHA256())
    )
    path = tmp_path / "capture.pem"
    path.write_bytes(certificate.public_bytes(Encoding.PEM))
    told = found(nats.certificates, environ={"FRAMEMESH_NATS_CERTIFICATE": str(path)})
    assert told["certificate"].level == level
    there = {"FRAMEMESH_NATS_CERTIFICATE": str(path), "FRAMEMESH_SERVICE": "cli"}
    assert found(nats.certificates, environ=there)["certificate"].fix.startswith("docker compose up --detach")


def test_a_certificate_that_is_none(tmp_path: Path) -> None:
    path = tmp_path / "capture.pem"
    for text in (None, "no certificate"):
        if text is not None:
            path.write_text(text)
        told = found(nats.certificates, environ={"FRAMEMESH_NATS_CA": str(path)})
        assert told["certificate"].level == "wrong"


# -- the bus ---------------------------------------------------------------------------------------------------


def test_a_bus_that_is_full_behind_or_without_its_buckets() -> None:
    def told(**server: object) -> dict[str, str]:
        look = MeshLook(url="nats://127.0.0.1", server=ServerLook(jetstream="there", **server))  # type: ignore[arg-type]
        return {finding.check: finding.level for finding in nats._jetstream(look)}

    assert told(storage_bytes=96, max_storage_bytes=100)["JetStream storage"] == "wrong"
    assert told(memory_bytes=85, max_memory_bytes=100)["JetStream memory"] == "warning"
    assert told(storage_bytes=1 << 30)["JetStream storage"] == "ok"  # no limit is told
    assert told(missing=tuple(ESSENTIAL))["buckets"] == "ok", "nothing has begun yet"
    assert told(missing=(sorted(ESSENTIAL)[0],))["buckets"] == "wrong"
    full = StreamLook(name="KV_mesh_desired", bytes=99, max_bytes=100)
    assert told(streams=(full,))["KV_mesh_desired"] == "wrong"
    events = StreamLook(name="mesh_events", bytes=99, max_bytes=100)  # the oldest go by themselves
    assert set(told(streams=(events,)).values()) == {"ok"}
    assert told(streams=(StreamLook(name="KV_mesh_actual", replicas=3, behind=1),))["replicas"] == "wrong"


def test_a_bus_that_refuses_us_is_not_one_that_is_away() -> None:
    async def told(error: MeshError, **environ: str) -> Finding:
        mesh: asyncio.Future[MeshLook | MeshError] = asyncio.get_running_loop().create_future()
        mesh.set_result(error)
        one = Machine(settings=load_settings(Settings, "doctor", {}), mesh=mesh, environ=environ)
        return await anext(nats.nats(one))

    refused = asyncio.run(told(Unavailable("its certificate is not of the CA of FRAMEMESH_NATS_CA")))
    assert (refused.level, refused.fix.startswith("docker compose run --rm cli doctor")) == ("wrong", True)
    away = asyncio.run(told(NobodyListens("no NATS server")))
    assert (away.level, away.fix.startswith("framemesh up")) == ("warning", True)
    assert asyncio.run(told(NobodyListens("no"), FRAMEMESH_SERVICE="cli")).fix == "docker compose up --detach"


def test_a_bus_whose_passwords_and_commands_are_in_the_clear() -> None:
    def told(url: str, **server: object) -> dict[str, str]:
        look = MeshLook(url=url, server=ServerLook(version="2.11.0", **server))  # type: ignore[arg-type]
        return {finding.check: finding.level for finding in nats._server(look)}

    assert told("nats://10.0.0.5:4222")["TLS"] == "warning"
    assert "TLS" not in told("nats://127.0.0.1:4222")
    assert told("tls://10.0.0.5:4222", tls=True, certificate_ends=1.0)["certificate"] == "wrong"
    assert told("nats://127.0.0.1", round_trip_seconds=0.2)["round trip"] == "warning"
    assert told("nats://127.0.0.1", not_told=tuple(ESSENTIAL))["rights"] == "warning"


# -- ways of WebRTC --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("hosts", "bind", "level", "text"),
    [
        ("", "127.0.0.1", "ok", "this machine's own programs"),
        ("127.0.0.1", "0.0.0.0", "wrong", "loopback"),
        ("two words", "0.0.0.0", "wrong", "no address"),
        ("0.0.0.0", "0.0.0.0", "wrong", "no address that anybody can send to"),
    ],
)
def test_what_viewers_are_told(hosts: str, bind: str, level: str, text: str) -> None:
    environ = {"FRAMEMESH_BIND": bind, "FRAMEMESH_WEBRTC_GATEWAY_UDP_PORT": "9"}
    told = found(ice.hosts, environ=environ | ({"FRAMEMESH_WEBRTC_HOSTS": hosts} if hosts else {}))
    assert told["addresses"].level == level
    assert text in told["addresses"].found


def test_a_container_that_tells_its_own_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    told = found(ice.hosts, environ={"FRAMEMESH_BIND": "0.0.0.0"})
    assert told["addresses"].level == "warning"
    assert told["addresses"].fix.startswith("export FRAMEMESH_WEBRTC_HOSTS=")


def test_stun_servers_that_are_away_silent_or_something_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ice, "_ASK_SECONDS", 0.3)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent, socket.create_server(("127.0.0.1", 0)) as odd:
        silent.bind(("127.0.0.1", 0))
        urls = {
            f"stun:127.0.0.1:{silent.getsockname()[1]}": "no answer",
            f"turn:127.0.0.1:{odd.getsockname()[1]}?transport=tcp": "no answer",
            "stun:127.0.0.1:9": "nothing listens there",
        }
        for url, text in urls.items():
            told = found(ice.servers, environ={"FRAMEMESH_WEBRTC_GATEWAY_ICE_SERVERS": url})
            assert told["STUN and TURN"].level == "wrong"
            assert text in told["STUN and TURN"].found


# -- probes ----------------------------------------------------------------------------------------------------


async def test_probes_that_hang_and_fail_end_no_other() -> None:
    released = threading.Event()

    def hangs(_machine: Machine) -> Iterator[Finding]:
        released.wait(30)
        yield Finding("disk", "hangs", "ok", "never told")

    def fails(_machine: Machine) -> Iterator[Finding]:
        yield Finding("disk", "fails", "ok", "told before")
        raise ZeroDivisionError("a bug")

    async def is_slow(_machine: Machine) -> AsyncIterator[Finding]:
        yield Finding("nats", "slow", "ok", "told before")
        await asyncio.sleep(30)

    def refuses(_machine: Machine) -> Iterator[Finding]:
        raise Unavailable("a setting is wrong")
        yield

    probes = [Probe("disk", "hangs", hangs), Probe("disk", "fails", fails), Probe("nats", "slow", is_slow)]
    began = asyncio.get_running_loop().time()
    findings = await examine(
        machine(deadline_seconds=0.3),
        [*probes, Probe("shm", "refused", refuses), Probe("shm", "python", software.python)],
    )
    released.set()
    assert asyncio.get_running_loop().time() - began < 5
    by_check = {finding.check: finding for finding in findings}
    assert "no answer within 0.3 s" in by_check["hangs"].found
    assert by_check["fails"].level == "warning"
    assert [finding.level for finding in findings if finding.check == "slow"] == ["ok", "warning"]
    assert by_check["refused"] == Finding("shm", "refused", "wrong", "a setting is wrong", "correct that setting")
    assert by_check["python"].level == "ok"


def test_every_group_is_looked_at_shown_and_explained() -> None:
    page = (Path(__file__).parents[2] / "docs" / "doctor.md").read_text()
    for group in GROUPS:
        assert any(probe.group == group for probe in PROBES)
        assert group in shown._TITLES
        assert f"| `{group}` |" in page


def test_what_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "72")
    monkeypatch.setattr(sys, "stdout", io.StringIO())  # no terminal
    findings = (
        Finding("disk", "room", "wrong", "no room " * 20, "a command that is " + "long " * 30),
        Finding("shm", "folder", "ok", "a \x1b[31mstranger's name", "never shown"),
        Finding("disk", "writing", "warning", "slow", "fix"),
    )
    text = shown.show(Report(worst=worst(findings), node="here", version="1", seconds=0.2, findings=findings))
    assert "\x1b" not in text
    assert text.index("SHARED MEMORY") < text.index("DISK")
    assert "never shown" not in text
    fixes = [line for line in text.splitlines() if "→" in line]
    assert fixes[0].count("long") == 30, "in one piece, to be copied"
    assert all(len(line) <= 72 for line in text.splitlines() if "→" not in line)
    assert text.splitlines()[-1] == "1 wrong, 1 to look at, 1 fine in 0.2 s"
