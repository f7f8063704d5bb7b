"""Limits of the container or unit that we run in; rings count to the memory of who writes them."""

import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

from services.cli.doctor.finding import Finding, Level
from services.cli.doctor.machine import Machine
from services.cli.doctor.shm import needs_of

_MARKS = (Path("/.dockerenv"), Path("/run/.containerenv"))
_BESIDE_RINGS_BYTES = 512 << 20  # seven services at rest take some 450 MiB
_LEAST_CORES = 1.0


def limits(machine: Machine) -> Iterator[Finding]:
    """CPU, and whether it is one."""
    inside = in_container()
    yield Finding("containers", "container", "ok", "we run in one" if inside else "none: this is the host itself")
    cores = _cores(machine.cgroup)
    here = len(os.sched_getaffinity(0))
    usable = min(here, cores) if cores else here
    level: Level = "warning" if usable < _LEAST_CORES else "ok"
    text = f"{usable:g} of {os.cpu_count()} cores" + (f", limited to {cores:g}" if cores else "")
    yield Finding(
        "containers", "processors", level, text, "give it a core at least: cpus: 2 (compose), CPUQuota=200% (systemd)"
    )


async def memory(machine: Machine) -> AsyncIterator[Finding]:
    if not machine.services:  # whose rings and work count elsewhere
        return
    limit = _memory_bytes(machine.cgroup)
    if limit is None:
        total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        yield Finding("containers", "memory", "ok", f"no limit below the machine's {total / (1 << 30):.1f} GiB")
        return
    needs = needs_of(machine, await machine.look())
    wanted = _BESIDE_RINGS_BYTES + (needs.bytes if needs else 0)
    text = f"limited to {limit >> 20} MiB; rings and services need {wanted >> 20} MiB, all in one"
    fix = f"mem_limit: {wanted >> 20}m (compose), MemoryMax={wanted >> 20}M (systemd)"
    yield Finding("containers", "memory", "ok" if limit >= wanted else "warning", text, fix)


def in_container() -> bool:
    return any(mark.exists() for mark in _MARKS) or "KUBERNETES_SERVICE_HOST" in os.environ


def _memory_bytes(cgroup: Path) -> int | None:
    """Version 2, then 1; None: no limit that is smaller than any machine."""
    for name in ("memory.max", "memory/memory.limit_in_bytes"):
        text = _read(cgroup / name)
        if text.isdecimal() and int(text) < 1 << 50:  # version 1 says `none` with a number near 2**63
            return int(text)
    return None


def _cores(cgroup: Path) -> float | None:
    quota, _, period = _read(cgroup / "cpu.max").partition(" ")
    if not quota:
        quota, period = _read(cgroup / "cpu/cpu.cfs_quota_us"), _read(cgroup / "cpu/cpu.cfs_period_us")
    if quota.isdecimal() and period.isdecimal() and int(period):
        return int(quota) / int(period)
    return None


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""
