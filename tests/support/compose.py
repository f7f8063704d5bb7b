"""The mesh of compose.yaml as `docker compose up` starts it, under a name and on ports of its own."""

import contextlib
import json
import os
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from schemas.service_table import SERVICE_TABLE
from services.launcher.ports import free_port
from tests.support.made_once import CACHE
from tests.support.pace import Patience

ROOT = Path(__file__).parents[2]
SERVICES = tuple(entry.name for entry in SERVICE_TABLE)
NEEDS_DOCKER = "FRAMEMESH_TEST_NEEDS_DOCKER"
_IMAGES_SECONDS = 900.0  # from a machine without docker, beside other tests
_PLUGINS = CACHE / "images" / "docker-config"
_POLL_SECONDS = 0.1
_TCP_PORTS = ("HTTP", "RTSP", "NATS", "MIX", "EXTRACTOR", "PROMETHEUS", "GRAFANA")


def images() -> None:
    """Have docker, and the images of this working tree tagged `test`; skips the test where that cannot be."""
    try:
        done = subprocess.run(
            [str(ROOT / "tests/support/stand_in_images.sh")], capture_output=True, text=True, timeout=_IMAGES_SECONDS
        )
        problem = "" if done.returncode == 0 else done.stderr.strip()[-1500:]
    except subprocess.TimeoutExpired:
        problem = f"no images within {_IMAGES_SECONDS:g} s"
    if problem and os.environ.get(NEEDS_DOCKER):
        pytest.fail(f"{NEEDS_DOCKER} is set, and there is no docker: {problem}")
    if problem:
        pytest.skip(f"needs docker: {problem}")


def docker(*arguments: str, environment: dict[str, str] | None = None, seconds: float = 60.0) -> str:
    """What docker says.

    Raises:
        AssertionError: it failed; with its last words.
    """
    environ = {**os.environ, **(environment or {})}
    if _PLUGINS.is_dir():
        environ.setdefault("DOCKER_CONFIG", str(_PLUGINS))
    done = subprocess.run(
        ["docker", *arguments], env=environ, cwd=ROOT, capture_output=True, text=True, timeout=seconds
    )
    assert done.returncode == 0, f"docker {' '.join(arguments)}: {done.stderr[-2000:]}"
    return done.stdout


class Stack:
    """What runs."""

    def __init__(self) -> None:
        self.project = f"framemesh-test-{os.getpid()}-{time.monotonic_ns() % 1_000_000}"
        self.ports = {name: free_port("127.0.0.1") for name in (*_TCP_PORTS, "UDP")}
        self.environment = {
            "COMPOSE_PROJECT_NAME": self.project,
            "FRAMEMESH_VERSION": "test",
            **{f"FRAMEMESH_{name}_PORT": str(port) for name, port in self.ports.items()},
        }
        self.frames = Path(f"/var/lib/docker/volumes/{self.project}_frames/_data")

    def compose(self, *arguments: str, seconds: float = 120.0, **environment: str) -> str:
        return docker("compose", *arguments, environment={**self.environment, **environment}, seconds=seconds)

    def url(self, port: str, path: str = "/") -> str:
        return f"http://127.0.0.1:{self.ports[port]}{path}"

    def get(self, port: str, path: str) -> Any:
        with urllib.request.urlopen(self.url(port, path), timeout=5) as response:
            return json.load(response)

    def answers(self, port: str, path: str = "/") -> bool:
        """Whether there is an HTTP server yet."""
        try:
            with urllib.request.urlopen(self.url(port, path), timeout=5):
                return True
        except OSError:
            return False

    def containers(self) -> list[dict[str, Any]]:
        """As `docker inspect` has those that run."""
        found = docker("ps", "--quiet", "--filter", f"label=com.docker.compose.project={self.project}").split()
        inspected: list[dict[str, Any]] = json.loads(docker("inspect", *found)) if found else []
        return inspected

    def container(self, service: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(docker("inspect", f"{self.project}-{service}-1"))[0]
        return found

    def health(self) -> dict[str, str]:
        """By service."""
        return {service_of(one): one["State"].get("Health", {}).get("Status", "none") for one in self.containers()}

    def left(self) -> list[str]:
        """What of it there still is: containers, networks, volumes, and its shared memory."""
        label = f"label=com.docker.compose.project={self.project}"
        found = docker("ps", "--all", "--quiet", "--filter", label).split()
        found += docker("network", "ls", "--quiet", "--filter", label).split()
        found += docker("volume", "ls", "--quiet", "--filter", label).split()
        return found + [line for line in Path("/proc/mounts").read_text().splitlines() if self.project in line]


def service_of(container: dict[str, Any]) -> str:
    return str(container["Config"]["Labels"]["com.docker.compose.service"])


def until(holds: Callable[[], bool], what: str, seconds: float) -> float:
    """Seconds until it held."""
    began, patience = time.monotonic(), Patience(seconds)
    while not holds():
        assert not patience.is_over(), f"not within {seconds:g} s: {what}"
        time.sleep(_POLL_SECONDS)
    return time.monotonic() - began


@contextlib.contextmanager
def stack(**environment: str) -> Iterator[Stack]:
    """`up` with nothing set but its name, its ports and these; at its end nothing of it is left."""
    images()
    running = Stack()
    try:
        running.compose("up", "--detach", "--no-build", seconds=180, **environment)
        yield running
    finally:
        running.compose("--profile", "*", "down", "--volumes", "--timeout", "5", "--remove-orphans")
    assert running.left() == []
