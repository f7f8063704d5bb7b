"""The units: what systemd's own tools say of them, and whether services really run within what they allow."""

import asyncio
import contextlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from ops.systemd_units import FOLDER, files, unit_name
from schemas.service_table import SERVICE_TABLE, ServiceEntry
from schemas.subjects import command
from services.launcher.bundled_nats import nats_server_program
from shared import notify
from shared.bus import Bus
from shared.settings import Settings, load_settings
from tests.support.nats import NatsServer
from tests.support.peers import free_port, wait_until
from tests.support.restricted import STATE, USER, restricted, why_not

pytestmark = pytest.mark.integration

# 0: nothing is exposed, 10: everything; a unit without a line of hardening has 9.6.
_WORST_EXPOSURE = 2.0
_WAIT_SECONDS = 40.0

needs_systemd = pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd-analyze is not installed")


@pytest.fixture(scope="module")
def units(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As they are, with programs that are there."""
    folder = tmp_path_factory.mktemp("units")
    for name, text in files(sys.executable, nats_server_program()).items():
        path = folder / (f"{Path(name).stem}.d/secure.conf" if name.startswith("secure/") else name)
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    return folder


@needs_systemd
def test_systemd_finds_nothing_to_complain_of(units: Path) -> None:
    there = [*sorted(units.glob("*.service")), units / "framemesh.target"]
    assert len(there) == len(SERVICE_TABLE) + 2
    done = subprocess.run(["systemd-analyze", "verify", *there], capture_output=True, text=True, timeout=30)
    assert len(list(units.glob("*.service.d/secure.conf"))) == len(SERVICE_TABLE) + 1
    ours = [line for line in done.stderr.splitlines() if str(units) in line or "framemesh" in line]
    assert (done.returncode, ours) == (0, [])


@needs_systemd
def test_little_is_exposed(units: Path) -> None:
    for unit in sorted(units.glob("*.service")):
        done = subprocess.run(
            ["systemd-analyze", "security", "--offline=true", f"--threshold={int(_WORST_EXPOSURE * 10)}", unit],
            capture_output=True,
            text=True,
            timeout=30,
        )
        assert done.returncode == 0, f"{unit.name}: {done.stdout.splitlines()[-1:]}{done.stderr}"


@pytest.mark.skipif(not shutil.which("systemd-sysusers"), reason="systemd-sysusers is not installed")
def test_users_and_folders_are_made(tmp_path: Path) -> None:
    root = tmp_path / "root"
    for folder, source in (("sysusers.d", "framemesh.sysusers"), ("tmpfiles.d", "framemesh.tmpfiles")):
        (root / "usr/lib" / folder).mkdir(parents=True)
        shutil.copy(FOLDER / source, root / "usr/lib" / folder / "framemesh.conf")
    (root / "etc").mkdir()
    subprocess.run(["systemd-sysusers", f"--root={root}"], check=True, capture_output=True, timeout=20)
    users = {line.split(":")[0]: line.split(":") for line in (root / "etc/passwd").read_text().splitlines()}
    groups = {line.split(":")[0] for line in (root / "etc/group").read_text().splitlines()}
    named = {
        group
        for entry in SERVICE_TABLE
        for line in files()[unit_name(entry)].splitlines()
        if line.startswith("SupplementaryGroups=")
        for group in line.partition("=")[2].split()
    }
    assert users["framemesh"][5] == "/var/lib/framemesh"
    assert users["framemesh"][6].endswith("nologin")
    assert {"framemesh", "framemesh-nats", *named} <= groups, "a unit with a group that is missing does not start"
    done = subprocess.run(
        ["systemd-tmpfiles", f"--root={root}", "--create"], capture_output=True, text=True, timeout=20
    )
    assert done.returncode == 0, done.stderr
    frames = (root / "dev/shm/framemesh").stat()
    assert (frames.st_mode & 0o7777, frames.st_uid) == (0o2770, int(users["framemesh"][2]))


def test_the_environment_is_one_that_services_take() -> None:
    lines = [line for line in files()["framemesh.env"].splitlines() if line and not line.startswith("#")]
    settings = load_settings(Settings, "capture", dict(line.split("=", 1) for line in lines))
    assert settings.data_dir == Path("/var/lib/framemesh")
    assert settings.shm_dir == Path("/dev/shm/framemesh")


def test_the_bus_takes_its_configuration() -> None:
    done = subprocess.run(
        [nats_server_program(), "-t", "-c", str(FOLDER / "nats.conf")], capture_output=True, text=True, timeout=20
    )
    assert done.returncode == 0, done.stderr


@contextlib.contextmanager
def started(entry: ServiceEntry, environment: dict[str, str], state: Path) -> Iterator[Callable[[], bool]]:
    """The service by its unit's ExecStart; yields whether it has told systemd that it is ready."""
    unit = files(sys.executable)[unit_name(entry)].splitlines()
    arguments = next(line for line in unit if line.startswith("ExecStart=")).partition("=")[2].split()
    own = {
        f"{entry.environment_prefix}METRICS_PORT": str(free_port()),
        **({f"{entry.environment_prefix}HTTP_PORT": str(free_port())} if entry.http_port else {}),
        **({f"{entry.environment_prefix}UDP_PORT": "0"} if entry.udp_port else {}),
        **({f"{entry.environment_prefix}RTSP_PORT": "0"} if entry.rtsp_port else {}),
    }
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as line:
        line.bind("")  # the kernel gives it a name that needs no file
        line.setblocking(False)
        name = line.getsockname()
        assert isinstance(name, bytes)
        environment = {**environment, **own, notify.VARIABLE: "@" + name[1:].decode()}
        process = restricted(arguments, environment, state, writes_code="MemoryDenyWriteExecute=yes" not in unit)

        said: list[str] = []

        def hear() -> None:
            with contextlib.suppress(BlockingIOError):
                while True:
                    said.append(line.recv(64).decode())

        def is_ready() -> bool:
            assert process.poll() is None, f"{entry.name} has ended"
            hear()
            return notify.READY in said

        try:
            yield is_ready
            status = dict(row.split(":\t", 1) for row in Path(f"/proc/{process.pid}/status").read_text().splitlines())
            assert status["Uid"].split() == [str(USER)] * 4
            assert int(status["CapEff"], 16) == int(status["CapBnd"], 16) == 0
            assert status["NoNewPrivs"].strip() == "1"
            hear()  # the kernel keeps ten words, and the rest is lost
            process.terminate()
            assert process.wait(20) == 0, entry.name
            hear()
            assert {notify.ALIVE, notify.STOPPING} <= set(said), "its watchdog hears of it"
        finally:
            process.kill()
            process.wait()


@pytest.mark.skipif(os.getuid() != 0 or bool(why_not()), reason=why_not() or "it takes root to give up rights")
def test_services_run_within_what_their_units_allow(tmp_path: Path) -> None:
    """All seven, with a picture that is made, encoded and recorded."""
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(NatsServer())
        shm = Path(tempfile.mkdtemp(prefix="framemesh-test-units-", dir="/dev/shm"))
        stack.callback(shutil.rmtree, shm, ignore_errors=True)
        shm.chmod(0o2770)  # as tmpfiles make it; a service itself may not
        os.chown(shm, USER, USER)
        environment = {
            "PATH": os.environ["PATH"],
            "FRAMEMESH_NATS_URL": server.url,
            "FRAMEMESH_SHM_DIR": str(shm),
            "FRAMEMESH_DATA_DIR": str(STATE),
            "FRAMEMESH_NODE": "unit",
            "FRAMEMESH_LOG": "warning",
        }
        state = tmp_path / "state"
        (state / "media").mkdir(parents=True)
        os.chown(state / "media", USER, USER)  # by StateDirectory
        waiting = {entry.name: stack.enter_context(started(entry, environment, state)) for entry in SERVICE_TABLE}

        def all_ready() -> bool:
            for name in [name for name, is_ready in waiting.items() if is_ready()]:
                del waiting[name]
            return not waiting

        wait_until(all_ready, _WAIT_SECONDS, "every service says that it is ready")
        states = asyncio.run(make_a_recording(server.url))
        assert (states["capture"], states["publisher"]) == ("live", "running")
        wait_until(lambda: recorded_bytes(state) > 0, _WAIT_SECONDS, "the recording grows")


def recorded_bytes(state: Path) -> int:
    return sum(path.stat().st_size for path in state.joinpath("media").rglob("*.mp4"))


async def make_a_recording(url: str) -> dict[str, str]:
    """The states of its parts."""
    bus = await Bus.connect(url, name="test", timeout_seconds=5)
    requests = (
        ("capture", {"stream": "cam0", "source": "test://?size=384x216&fps=15"}),
        ("hw-encode", {"stream": "cam0", "rendition": "main", "always": True, "encoder": "software"}),
        ("publisher", {"stream": "cam0", "output": "archive", "to": "file://cam0.mp4"}),
    )
    try:
        states = {}
        for service, request in requests:
            body = msgspec.json.encode({**request, "wait_s": 20})
            reply = msgspec.json.decode(await bus.request_raw(command(service, "start"), body, 30))
            states[service] = reply["actual"]["state"]
        return states
    finally:
        await bus.drain()
