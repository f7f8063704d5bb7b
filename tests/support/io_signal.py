"""io-signal alone on a bus of its own: started, killed, asked; and the outputs that hang on it."""

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
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Self

from schemas.errors import MeshError
from schemas.subjects import PREFIX
from shared.bus import Bus
from shared.service import READY_FD_VARIABLE
from tests.support.mesh import CallFailed
from tests.support.nats import NatsServer
from tests.support.pace import Patience
from tests.support.peers import free_port

HAND = "services.io_signal.hand"
_READY_SECONDS = 30.0
_POLL_SECONDS = 0.005
_REPLY_SECONDS = 20.0
_MOST_EVENTS = 1_000


class SignalService:
    """Use as a context manager; `kill` and `start` keep its folders."""

    def __init__(self, nats: NatsServer, node: str = "test", **environment: str) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="framemesh-io-"))
        self.shm_dir = Path(tempfile.mkdtemp(prefix="framemesh-io-", dir="/dev/shm"))
        self.files = self.folder / "io"
        self.files.mkdir()
        self.nats, self.node = nats, node
        self._environment = {
            **{key: value for key, value in os.environ.items() if not key.startswith("FRAMEMESH_")},
            "FRAMEMESH_NATS_URL": nats.url,
            "FRAMEMESH_NODE": node,
            "FRAMEMESH_SHM_DIR": str(self.shm_dir),
            "FRAMEMESH_DATA_DIR": str(self.folder / "data"),
            "FRAMEMESH_IO_SIGNAL_METRICS_PORT": str(free_port()),
            "FRAMEMESH_IO_SIGNAL_FILE_ROOTS": str(self.files),
            **environment,
        }
        self.log = self.folder / "log"
        self.process: subprocess.Popen[bytes] | None = None
        self.metrics_url = ""

    def start(self) -> None:
        read, write = os.pipe()
        environment = {**self._environment, READY_FD_VARIABLE: str(write)}
        try:
            with self.log.open("ab") as log:
                self.process = subprocess.Popen(
                    [sys.executable, "-m", "services.io_signal"],
                    env=environment,
                    stderr=log,
                    stdout=log,
                    pass_fds=(write,),
                    start_new_session=True,
                )
            os.close(write)
            ready = select.select([read], [], [], _READY_SECONDS)[0]
            line = os.read(read, 65_536) if ready else b""
        finally:
            os.close(read)
        if not line:
            raise AssertionError(f"io-signal does not start:\n{self.log.read_text()[-3000:]}")
        self.metrics_url = json.loads(line)["metrics_url"]

    def hands(self) -> list[int]:
        """Process ids of all hands that hold this node's lock, or wait for it."""
        lock = str(self.shm_dir / f".io-signal-hand.{self.node}.lock")
        found = []
        for handle in Path("/proc").glob("[0-9]*"):
            try:
                if HAND.encode() in (handle / "cmdline").read_bytes() and any(
                    os.readlink(link) == lock for link in (handle / "fd").iterdir()
                ):
                    found.append(int(handle.name))
            except OSError:  # it has ended between two looks
                continue
        return found

    def kill(self) -> None:
        """As by kill -9."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        """As its launcher does."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(15)

    def file(self, name: str) -> Path:
        """A control file."""
        path = self.files / name
        path.touch()
        return path

    def output(self, name: str, **fields: Any) -> Path:
        """Set an output up whose control file is made; the file."""
        path = self.file(name)
        self.call("start", signal=name, mode="io", address=f"file://{path}", **fields)
        return path

    def actual(self, name: str) -> Any:
        entries = self.call("list")["signals"]
        return next((entry["actual"] for entry in entries if entry["spec"]["signal"] == name), None)

    def call(self, verb: str, **request: Any) -> Any:
        """Give a command of io-signal; the reply.

        Raises:
            CallFailed: it answered with an error.
        """
        body = json.dumps(request).encode()
        try:
            return json.loads(
                self.ask(lambda bus: bus.request_raw(f"{PREFIX}.cmd.io-signal.{verb}", body, _REPLY_SECONDS))
            )
        except MeshError as error:
            reply = json.loads(error.reply) if error.reply else None
            raise CallFailed(error.code, error.message, reply) from error

    def changes(self, name: str) -> list[dict[str, Any]]:
        """What is kept of an output's changes, the oldest first."""
        _, kept = self.ask(lambda bus: bus.kept_events(0, _MOST_EVENTS))
        events = [json.loads(message.data) for message in kept]
        return [one["detail"] for one in events if (one["id"], one["event"]) == (name, "changed")]

    def ask(self, question: Callable[[Bus], Any]) -> Any:
        async def ask() -> Any:
            bus = await Bus.connect(self.nats.url, name="test", timeout_seconds=_REPLY_SECONDS)
            try:
                return await question(bus)
            finally:
                await bus.drain()

        with ThreadPoolExecutor(1) as elsewhere:  # the caller may have an event loop of its own
            return elsewhere.submit(asyncio.run, ask()).result()

    def wait_for(self, predicate: Callable[[], Any], seconds: float = 10.0, what: str = "condition") -> Any:
        patience = Patience(seconds)
        while not patience.is_over():
            if value := predicate():
                return value
            time.sleep(_POLL_SECONDS)
        raise AssertionError(f"not within {patience.seconds} s: {what}\n{self.log.read_text()[-3000:]}")

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if self.process is not None and self.process.poll() is None:
            self.stop()
        for pid in self.hands():
            os.kill(pid, signal.SIGKILL)
        shutil.rmtree(self.folder, ignore_errors=True)
        shutil.rmtree(self.shm_dir, ignore_errors=True)
