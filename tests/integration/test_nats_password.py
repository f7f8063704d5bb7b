"""The password in the mesh's NATS URL is shown by nobody."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.nats import NatsServer
from tests.support.peers import free_port, wait_until

pytestmark = [pytest.mark.integration, pytest.mark.timeout(30)]

PASSWORD = "pa55-of-the-bus"


def environment(folder: Path, url: str) -> dict[str, str]:
    return {
        **os.environ,
        "FRAMEMESH_NATS_URL": url,
        "FRAMEMESH_DATA_DIR": str(folder),
        "FRAMEMESH_SHM_DIR": str(folder / "rings"),
        "FRAMEMESH_CAPTURE_METRICS_PORT": str(free_port()),
    }


def test_a_service_that_waits_for_its_server(tmp_path: Path) -> None:
    url = f"nats://mesh:{PASSWORD}@127.0.0.1:{free_port()}"
    log = tmp_path / "log"
    with log.open("wb") as target:
        process = subprocess.Popen(
            [sys.executable, "-m", "services.capture"], env=environment(tmp_path, url), stderr=target
        )
    try:
        wait_until(lambda: "no NATS server yet" in log.read_text(), 10, "it says what it waits for")
        assert PASSWORD not in log.read_text()
        assert "nats://mesh:***@127.0.0.1" in log.read_text()
    finally:
        process.terminate()
        try:
            assert process.wait(10) == 0, "told to end while it waits"
        finally:
            process.kill()


def test_doctor(tmp_path: Path) -> None:
    with NatsServer("--user", "cli", "--pass", PASSWORD) as server:
        url = f"nats://cli:{PASSWORD}@127.0.0.1:{server.port}"
        done = subprocess.run(
            [sys.executable, "-m", "services.cli", "doctor"],
            env=environment(tmp_path, url),
            capture_output=True,
            text=True,
            timeout=30,
        )
    said = done.stdout + done.stderr
    assert "a NATS server answers at nats://cli:***@127.0.0.1" in said
    assert PASSWORD not in said
