"""More gateways in a running mesh: each a process and a node of its own, on the same bus and packet rings."""

import os
import select
import signal
import subprocess
import sys
from typing import Self

import msgspec

from schemas.resources import Presence
from shared.service import READY_FD_VARIABLE
from tests.support.mesh import RunningMesh
from tests.support.peers import free_port

_READY_SECONDS = 30.0


class AnotherGateway:
    """Use as a context manager; it is killed at the end. `node` has a gateway and nothing else."""

    def __init__(self, mesh: RunningMesh, node: str, **settings: str) -> None:
        """`settings` of the gateway, by their names in upper case."""
        self.node = node
        self._environment = {
            **mesh.environment,
            "FRAMEMESH_NODE": node,
            "FRAMEMESH_WEBRTC_GATEWAY_METRICS_PORT": str(free_port()),
            **{f"FRAMEMESH_WEBRTC_GATEWAY_{name}": value for name, value in settings.items()},
        }
        self._log = mesh.log
        self.url = ""
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> Self:
        reading, writing = os.pipe()
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "services.webrtc_gateway"],
                env={**self._environment, READY_FD_VARIABLE: str(writing)},
                pass_fds=(writing,),
                stdout=log,
                stderr=log,
            )
        os.close(writing)
        with os.fdopen(reading, "rb") as ready:
            assert select.select([ready], [], [], _READY_SECONDS)[0], "the gateway is not ready"
            line = ready.readline()
        assert line, f"the gateway did not start:\n{self._log.read_text()[-3000:]}"
        self.url = msgspec.json.decode(line, type=Presence).http_url
        return self

    def signal(self, number: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def kill(self) -> None:
        """As `kill -9`, also while it is stopped."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.kill()
