"""The images of compose.yaml as a Markdown table: how large, how soon ready, and what they use while they have nothing
to do: `python -m tests.bench.images`, as root.
"""

import json
import time
import urllib.request
from pathlib import Path
from typing import Any

from schemas.service_table import BY_NAME
from tests.support.compose import SERVICES, Stack, docker, stack, until

_SETTLE_SECONDS = 10.0  # encoders have been tried, buckets read
_LOOK_SECONDS = 20.0  # two looks at each one's health
_READY_SECONDS = 30.0
_STARTS = 3


def main() -> None:
    with stack(FRAMEMESH_MESH_FILE="./ops/empty.yaml") as mesh:
        until(lambda: set(mesh.health().values()) == {"healthy"}, "all healthy", 60)
        time.sleep(_SETTLE_SECONDS)
        cpu = _cpu_percent(mesh)
        print("| service | image | its own layers | ready after | idle CPU | RSS |\n|---|---|---|---|---|---|")
        for service in SERVICES:
            rss = _rss_bytes(mesh.container(service))
            ready = sorted(_ready_seconds(mesh, service) for _ in range(_STARTS))[_STARTS // 2]
            size, own = _sizes(service)
            print(
                f"| {service} | {size / 1e6:.0f} MB | {own / 1e6:.0f} MB | {ready:.1f} s "
                f"| {cpu[service]:.1f} % | {rss / 2**20:.0f} MiB |",
                flush=True,
            )


def _sizes(service: str) -> tuple[int, int]:
    """Of all layers, and of those that no other image has."""
    others = {line for other in SERVICES if other != service for line in _history(other)}
    history = _history(service)
    return sum(size for _, size in history), sum(size for by, size in history if (by, size) not in others)


def _history(service: str) -> list[tuple[str, int]]:
    text = docker("history", "--no-trunc", "--human=false", "--format", "{{json .}}", f"framemesh/{service}:test")
    return [(one["CreatedBy"], int(one["Size"])) for one in map(json.loads, text.splitlines())]


def _ready_seconds(mesh: Stack, service: str) -> float:
    """From the start of its process to its /readyz."""
    container = f"{mesh.project}-{service}-1"
    docker("stop", container)
    began = time.monotonic()
    docker("start", container)
    address = _address(mesh.container(service))
    url = f"http://{address}:{BY_NAME[service].metrics_port}/readyz"
    while time.monotonic() - began < _READY_SECONDS:
        try:
            with urllib.request.urlopen(url, timeout=1):
                return time.monotonic() - began
        except OSError:
            time.sleep(0.02)
    raise AssertionError(f"{service} is not ready within {_READY_SECONDS:g} s")


def _address(container: dict[str, Any]) -> str:
    networks: dict[str, dict[str, str]] = container["NetworkSettings"]["Networks"]
    return next(iter(networks.values()))["IPAddress"]


def _cpu_percent(mesh: Stack) -> dict[str, float]:
    """Of one core, with what looks at its health."""
    files = {service: _cgroup(mesh.container(service)["State"]["Pid"]) for service in SERVICES}
    before = {service: _cpu_ns(folder) for service, folder in files.items()}
    began = time.monotonic()
    time.sleep(_LOOK_SECONDS)
    seconds = time.monotonic() - began
    return {service: (_cpu_ns(folder) - before[service]) / seconds / 1e7 for service, folder in files.items()}


def _cgroup(pid: int) -> Path:
    for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if "cpuacct" in controllers.split(","):
            return Path("/sys/fs/cgroup") / controllers / path.lstrip("/")
    return Path("/sys/fs/cgroup") / path.lstrip("/")


def _cpu_ns(folder: Path) -> int:
    if (old := folder / "cpuacct.usage").exists():
        return int(old.read_text())
    return int((folder / "cpu.stat").read_text().split()[1]) * 1000


def _rss_bytes(container: dict[str, Any]) -> int:
    processes = (_cgroup(container["State"]["Pid"]) / "cgroup.procs").read_text().split()
    found = 0
    for process in processes:
        for line in Path(f"/proc/{process}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                found += int(line.split()[1]) * 1024
    return found


if __name__ == "__main__":
    main()
