"""What this user may have: open files, processes, priority for machines' outputs."""

import os
import resource
from collections.abc import Iterator
from pathlib import Path

from services.cli.doctor.finding import Finding, Level
from services.cli.doctor.machine import Machine

_LEAST_FILES = 512  # sixteen streams with their renditions and rings
_WISHED_FILES = 1024  # some hundred viewers more
_LEAST_PROCESSES = 512  # of all of this user: a mesh with its threads has some 150
_HAND_NICENESS = -10  # what the process that drives outputs asks for
_LOWEST_NICENESS = 20  # RLIMIT_NICE counts from here, getrlimit(2)
_CAP_SYS_NICE = 23
_STATUS = Path("/proc/self/status")


def files(_machine: Machine) -> Iterator[Finding]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    level: Level = "wrong" if soft < _LEAST_FILES else "warning" if soft < _WISHED_FILES else "ok"
    fix = f"ulimit -n {max(_WISHED_FILES, 65_536 if hard >= 65_536 else hard)}"
    if hard < _WISHED_FILES:
        fix = "echo '* - nofile 65536' | sudo tee /etc/security/limits.d/framemesh.conf; then log in again"
    yield Finding("limits", "open files", level, f"{soft} for each process (at most {hard})", fix)
    soft, hard = resource.getrlimit(resource.RLIMIT_NPROC)
    if soft == resource.RLIM_INFINITY or os.getuid() == 0:
        yield Finding("limits", "processes", "ok", "as many as there is room for")
    else:
        level = "warning" if soft < _LEAST_PROCESSES else "ok"
        yield Finding("limits", "processes", level, f"{soft}, threads included", "ulimit -u 4096")


def priority(machine: Machine) -> Iterator[Finding]:
    if not machine.runs("io-signal"):
        return
    soft, _ = resource.getrlimit(resource.RLIMIT_NICE)
    lowest = -_LOWEST_NICENESS if soft == resource.RLIM_INFINITY else _LOWEST_NICENESS - soft
    if lowest <= _HAND_NICENESS or _may_be_nice():
        yield Finding("limits", "priority", "ok", "io-signal may put its outputs before everything else")
        return
    yield Finding(
        "limits",
        "priority",
        "warning",
        "io-signal may not put its outputs before encoders: pulses are later on a busy machine",
        "echo '* - nice -10' | sudo tee /etc/security/limits.d/framemesh-nice.conf; then log in again"
        " (containers: cap_add: [SYS_NICE])",
    )


def _may_be_nice() -> bool:
    for line in _STATUS.read_text().splitlines():
        if line.startswith("CapEff:"):
            return bool(int(line.split()[1], 16) >> _CAP_SYS_NICE & 1)
    return False
