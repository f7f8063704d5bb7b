"""The launcher's fork server: what it starts is as a process of its own is, and does not need it any more."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from services.launcher.forked import ForkedProcess, ForkServer
from services.launcher.starting import Process
from tests.support.mesh import FORK_SERVER, RunningMesh
from tests.support.pace import patience
from tests.support.processes import children, command

pytestmark = pytest.mark.integration

_REFUSED = {"FRAMEMESH_LOG": "loud"}
_NO_BUS = {"FRAMEMESH_NATS_URL": "nats://127.0.0.1:9", "FRAMEMESH_CAPTURE_METRICS_PORT": "0"}


@pytest.fixture
async def server() -> AsyncIterator[ForkServer]:
    running = ForkServer(answer_seconds=3.0, bury_seconds=0.1)
    running.start()
    await _until(running, there=True)
    yield running
    await running.close()


async def _until(server: ForkServer, there: bool) -> None:
    async with patience(20):
        while (server._connection is not None) != there:
            await asyncio.sleep(0.01)


async def _start(server: ForkServer, environment: dict[str, str]) -> tuple[Process, int]:
    """capture, and where to read what it says."""
    (errors, stderr), (readiness, ready) = os.pipe(), os.pipe()
    try:
        return await server.service("services.capture")({**os.environ, **environment}, stderr, ready), errors
    finally:
        for descriptor in (stderr, readiness, ready):
            os.close(descriptor)


async def _said(errors: int, line: bool = False) -> str:
    """Everything, to its end; or the next line of those that come one by one."""

    def read() -> str:
        with open(errors, "rb", buffering=0, closefd=not line) as file:
            return (file.readline() if line else file.read()).decode()

    return await asyncio.to_thread(read)


def _exists(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


def _shown(pid: int) -> tuple[list[str], str]:
    """Command line and name."""
    return command(pid), Path(f"/proc/{pid}/comm").read_text().strip()


def _server_pid(server: ForkServer) -> int:
    [pid] = [child for child in children(os.getpid()) if "services.launcher.fork_server" in command(child)]
    return pid


def _settings(folder: Path) -> dict[str, str]:
    return {**_NO_BUS, "FRAMEMESH_SHM_DIR": str(folder / "shm"), "FRAMEMESH_DATA_DIR": str(folder / "data")}


async def test_a_copy_ends_as_a_process_of_its_own_does(server: ForkServer) -> None:
    process, errors = await _start(server, _REFUSED)
    assert isinstance(process, ForkedProcess)
    async with patience(10):
        assert await process.wait() == 2
    assert process.returncode == 2
    assert (await _said(errors)).startswith("capture: error 400: FRAMEMESH_LOG 'loud'")
    with pytest.raises(ProcessLookupError):
        process.kill()


async def test_a_copy_shows_what_it_is_and_is_ended_by_signals(server: ForkServer, tmp_path: Path) -> None:
    for number, status in ((signal.SIGTERM, 0), (signal.SIGKILL, -signal.SIGKILL)):
        process, errors = await _start(server, {**_settings(tmp_path), "FRAMEMESH_NODE": number.name.lower()})
        async with patience(20):
            assert "no NATS server yet" in await _said(errors, line=True)  # by then it listens to signals
            assert _shown(process.pid) == ([sys.executable, "-m", "services.capture"], "capture")
            assert os.getsid(process.pid) == process.pid
            process.send_signal(number)
            assert await process.wait() == status
        os.close(errors)


async def test_without_its_fork_server_a_copy_goes_on_and_the_next_service_starts(
    server: ForkServer, tmp_path: Path
) -> None:
    process, errors = await _start(server, _settings(tmp_path))
    os.kill(_server_pid(server), signal.SIGKILL)
    async with patience(10):
        await _until(server, there=False)
        other, said = await _start(server, _REFUSED)
        assert not isinstance(other, ForkedProcess)
        assert await other.wait() == 2
        assert process.returncode is None
        process.kill()
        await process.wait()
    assert not _exists(process.pid)
    await _until(server, there=True)
    async with patience(20):
        again, more = await _start(server, _REFUSED)
        assert isinstance(again, ForkedProcess)
        await again.wait()
    for descriptor in (errors, said, more):
        os.close(descriptor)


async def test_a_fork_server_that_hangs_is_started_anew(server: ForkServer) -> None:
    hangs = _server_pid(server)
    os.kill(hangs, signal.SIGSTOP)
    process, errors = await _start(server, _REFUSED)
    assert not isinstance(process, ForkedProcess)
    async with patience(20):
        assert await process.wait() == 2
        while _exists(hangs):
            await asyncio.sleep(0.01)
    assert (await _said(errors)).count("FRAMEMESH_LOG") == 1, "it was not started twice"


async def test_what_is_too_much_for_an_order_starts_without(server: ForkServer) -> None:
    process, errors = await _start(server, {**_REFUSED, **{f"A{number}": "x" * 50_000 for number in range(5)}})
    assert not isinstance(process, ForkedProcess)
    async with patience(10):
        assert await process.wait() == 2
    os.close(errors)
    other, errors = await _start(server, _REFUSED)
    assert isinstance(other, ForkedProcess), "it goes on"
    async with patience(10):
        assert await other.wait() == 2
    os.close(errors)


async def test_a_start_that_nobody_waits_for_any_more_leaves_no_process(server: ForkServer, tmp_path: Path) -> None:
    pid = _server_pid(server)
    os.kill(pid, signal.SIGSTOP)
    starting = asyncio.create_task(_start(server, _settings(tmp_path)))
    while not server._forked:
        await asyncio.sleep(0)
    starting.cancel()
    os.kill(pid, signal.SIGCONT)
    with pytest.raises(asyncio.CancelledError):
        await starting
    assert children(pid) == []


async def test_copies_end_with_the_launcher(server: ForkServer, tmp_path: Path) -> None:
    """Whose only trace is the pipe that it alone can write; also of a copy whose fork server has gone before."""
    first, errors = await _start(server, {**_settings(tmp_path), "FRAMEMESH_NODE": "first"})
    second, more = await _start(server, {**_settings(tmp_path), "FRAMEMESH_NODE": "second"})
    os.kill(_server_pid(server), signal.SIGKILL)
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, server._life_writes)  # as its end would
    os.close(null)
    async with patience(10):
        await asyncio.gather(first.wait(), second.wait())
    for descriptor in (errors, more):
        os.close(descriptor)


def test_a_pipe_that_nobody_writes_any_more_ends_who_comes_too_late() -> None:
    program = (
        "import os; from shared.parent import end_with_pipe; reads, writes = os.pipe(); end_with_pipe(reads); "
        "print('first', flush=True); reads, writes = os.pipe(); os.close(writes); end_with_pipe(reads); print('second')"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (-signal.SIGTERM, "first\n")


async def test_adopted_processes_are_buried(server: ForkServer) -> None:
    shell = await asyncio.create_subprocess_exec("sh", "-c", "sleep 0.3 & echo $!", stdout=subprocess.PIPE)
    pid = int((await shell.communicate())[0])
    assert pid in children(os.getpid())
    async with patience(10):
        while _exists(pid):
            await asyncio.sleep(0.01)


def _kill_and_wait(mesh: RunningMesh, program: str) -> int:
    """Until another one of it runs; returns the process id of the one that was killed."""
    killed = mesh.kill(program)
    mesh.wait_for(lambda: mesh.pids().get(program, killed) != killed, 10, f"another {program}")
    return killed


def test_a_mesh_goes_on_without_its_fork_server() -> None:
    with RunningMesh("--source", "test://") as mesh:
        mesh.wait_for(lambda: (mesh.actual("streams", "cam0") or {}).get("state") == "live", 10, "the stream")
        before = mesh.pids()
        killed = _kill_and_wait(mesh, FORK_SERVER)
        after = mesh.pids()
        assert {**after, FORK_SERVER: killed} == before
        for service in ("capture", "io-signal"):
            _kill_and_wait(mesh, service)
        mesh.wait_for(lambda: (mesh.actual("streams", "cam0") or {}).get("state") == "live", 10, "the stream")
        assert mesh.stop() == []


def test_it_is_not_begun_where_a_copy_would_lack_a_thread() -> None:
    program = (
        "import sys, threading; from services.launcher.fork_server import main; "
        "threading.Thread(target=threading.Event().wait, daemon=True).start(); sys.argv[1:] = ['0', '0']; main()"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert "has begun a thread" in done.stderr


def test_a_command_line_is_cut_where_there_is_no_room() -> None:
    program = (
        "from shared.process_title import set_command; set_command('short', '-m', 'a.name_of_it'); "
        "show = lambda: print(open('/proc/self/cmdline').read().replace(chr(0), ' ').rstrip()); show(); "
        "set_command('x' * 5000); show()"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    first, second = done.stdout.split("\n")[:2]
    assert first == "short -m a.name_of_it"
    assert second == "x" * len(second)
    assert len(second) == len(f"{sys.executable} -c {program}")
