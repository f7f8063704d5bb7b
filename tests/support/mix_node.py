"""Capture and the owner of mixes, of one node or more, beside a real nats-server: a mesh for mixes alone."""

import asyncio
import contextlib
import http.server
import io
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Self

from PIL import Image

from schemas.errors import MeshError
from schemas.subjects import PREFIX
from shared.bus import Bus
from tests.support.mesh import CallFailed
from tests.support.nats import NatsServer
from tests.support.pace import Patience
from tests.support.peers import free_port
from tests.support.processes import children, command

_READY_SECONDS = 20.0
_REPLY_SECONDS = 5.0
_POLL_SECONDS = 0.05
_MIX_PROCESS = "services.cloud_mix_proxy.mixer"


class MixNode:
    """One node; its services are killed and started again at will."""

    def __init__(self, nats: NatsServer, folder: Path, shm_dir: Path, node: str, **settings: str) -> None:
        """`settings`: of cloud-mix-proxy."""
        self.nats, self.node, self.data_dir, self.shm_dir = nats, node, folder / node, shm_dir / node
        self.media_dir = self.data_dir / "media"
        self.media_dir.mkdir(parents=True)
        self.log = folder / f"{node}.log"
        self.environment = {
            **{key: value for key, value in os.environ.items() if not key.startswith("FRAMEMESH_")},
            "FRAMEMESH_NATS_URL": nats.url,
            "FRAMEMESH_NODE": node,
            "FRAMEMESH_SHM_DIR": str(self.shm_dir),
            "FRAMEMESH_DATA_DIR": str(self.data_dir),
            "FRAMEMESH_CAPTURE_FILE_ROOTS": str(self.media_dir),
            "FRAMEMESH_CLOUD_MIX_PROXY_FILE_ROOTS": str(self.media_dir),
            "FRAMEMESH_CLOUD_MIX_PROXY_HTTP_PORT": "0",
            **{f"FRAMEMESH_CLOUD_MIX_PROXY_{key.upper()}": value for key, value in settings.items()},
        }
        self._services: dict[str, subprocess.Popen[bytes]] = {}

    @classmethod
    @contextlib.contextmanager
    def running(cls, nats: NatsServer, node: str = "test", **settings: str) -> Iterator[Self]:
        with (
            tempfile.TemporaryDirectory(prefix="framemesh-test-", dir="/dev/shm") as shm,
            tempfile.TemporaryDirectory(prefix="framemesh-test-") as folder,
        ):
            made = cls(nats, Path(folder), Path(shm), node, **settings)
            try:
                made.start("capture", "cloud_mix_proxy")
                yield made
            finally:
                made.stop()

    def start(self, *services: str) -> None:
        """All at once; returns when they are ready."""
        waiting = []
        for service in services:
            reads, writes = os.pipe()
            environment = {
                **self.environment,
                "FRAMEMESH_READY_FD": str(writes),
                "FRAMEMESH_METRICS_PORT": str(free_port()),
            }
            with self.log.open("ab") as log:
                command = [sys.executable, "-m", f"services.{service}"]
                self._services[service] = subprocess.Popen(command, env=environment, pass_fds=[writes], stderr=log)
            os.close(writes)
            waiting.append((service, reads))
        for service, reads in waiting:
            with open(reads) as ready:
                assert ready.readline(), f"{service} did not start:\n{self.log.read_text()[-2000:]}"

    def kill(self, service: str = "cloud_mix_proxy") -> None:
        self._services[service].kill()
        self._services[service].wait()

    def stop(self) -> None:
        for process in self._services.values():
            process.send_signal(signal.SIGTERM)
        for process in self._services.values():
            try:
                process.wait(_READY_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    @property
    def pid(self) -> int:
        """Of cloud-mix-proxy."""
        return self._services["cloud_mix_proxy"].pid

    def mixers(self) -> list[int]:
        """The processes of its mixes."""
        return [pid for pid in children(self.pid) if _MIX_PROCESS in command(pid)]

    # -- commands ----------------------------------------------------------------------------------------------

    def call(self, subject: str, **request: Any) -> Any:
        """The reply of a command.

        Raises:
            CallFailed: the mesh answered with an error.
        """
        seconds = request.get("wait_s", 5) + _REPLY_SECONDS

        async def ask() -> bytes:
            bus = await Bus.connect(self.nats.url, name="test", timeout_seconds=_REPLY_SECONDS)
            try:
                return await bus.request_raw(f"{PREFIX}.cmd.{subject}", json.dumps(request).encode(), seconds)
            finally:
                await bus.drain()

        try:
            return json.loads(asyncio.run(ask()))
        except MeshError as error:
            reply = json.loads(error.reply) if error.reply else None
            raise CallFailed(error.code, error.message, reply) from error

    def mix(self, mix: str) -> dict[str, Any]:
        """What is said of it; empty while nobody says anything."""
        return self.call("cloud-mix-proxy.get", mix=mix)["actual"] or {}

    def streams(self) -> set[str]:
        return {entry["spec"]["stream"] for entry in self.call("capture.list")["streams"]}

    def wait_for(self, what: Callable[[], Any], seconds: float = 10.0) -> Any:
        """Ask until it is true; returns its value."""
        waiting = Patience(seconds)
        while not (value := what()):
            assert not waiting.is_over(), self.log.read_text()[-2000:]
            time.sleep(_POLL_SECONDS)
        return value


class PictureServer:
    """Serves one picture under every name but `/broken…`; and under `/silent…` nothing, until it ends."""

    def __init__(self) -> None:
        picture = io.BytesIO()
        Image.new("RGB", (64, 36), (255, 0, 0)).save(picture, "png")
        self.asked = 0
        ended = self._ended = threading.Event()
        server = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                server.asked += 1
                if self.path.startswith("/silent"):
                    ended.wait(_READY_SECONDS)
                    return
                data = b"no picture" if self.path.startswith("/broken") else picture.getvalue()
                self.send_response(200)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_: Any) -> None:
                """Nothing."""

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    def url(self, path: str, userinfo: str = "") -> str:
        return f"http://{userinfo}127.0.0.1:{self._server.server_address[1]}{path}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def end(self) -> None:
        """From now on nobody is there."""
        if self._thread.is_alive():
            self._ended.set()
            self._server.shutdown()
            self._server.server_close()
            self._thread.join(5)
