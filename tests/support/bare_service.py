"""One service and nothing else, on a bus that is there."""

import contextlib
import os
import select
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import msgspec

from schemas.resources import Presence
from schemas.service_table import BY_NAME
from shared.service import READY_FD_VARIABLE
from tests.support.peers import free_port

_READY_SECONDS = 40.0
_STOP_SECONDS = 10.0


@contextlib.contextmanager
def bare_service(service: str, nats_url: str, node: str = "test", **settings: str) -> Iterator[Presence]:
    """`settings`: by their names in upper case. Ready when the block begins, ended with it."""
    entry = BY_NAME[service]
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory(dir="/dev/shm") as shm:
        environment = {
            **{key: value for key, value in os.environ.items() if not key.startswith("FRAMEMESH_")},
            "FRAMEMESH_NATS_URL": nats_url,
            "FRAMEMESH_NODE": node,
            "FRAMEMESH_DATA_DIR": folder,
            "FRAMEMESH_SHM_DIR": f"{shm}/rings",
            f"{entry.environment_prefix}METRICS_PORT": str(free_port()),
            **{f"FRAMEMESH_{name}": value for name, value in settings.items()},
        }
        reading, writing = os.pipe()
        log = Path(folder) / "log"
        with log.open("wb") as file:
            process = subprocess.Popen(
                [sys.executable, "-m", entry.module],
                env={**environment, READY_FD_VARIABLE: str(writing)},
                pass_fds=(writing,),
                stdout=file,
                stderr=file,
            )
        os.close(writing)
        try:
            with os.fdopen(reading, "rb") as ready:
                assert select.select([ready], [], [], _READY_SECONDS)[0], f"{service} is not ready"
                line = ready.readline()
            assert line, f"{service} did not start:\n{log.read_text()[-2000:]}"
            yield msgspec.json.decode(line, type=Presence)
        finally:
            process.terminate()
            try:
                process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
