"""The disk of the data folder: room, inodes, and how fast it really writes."""

import os
import tempfile
import time
from collections.abc import Iterator

from services.cli.doctor.finding import Finding, Level
from services.cli.doctor.machine import Machine, existing

_LEAST_BYTES = 512 << 20  # below that no recording begins, and the bus has little left
_WISHED_BYTES = 2 << 30  # half an hour of four cameras, beside what the bus may keep
_WISHED_INODES = 10_000  # stills and segments are files of their own
_TRIED_BYTES = 8 << 20
_BLOCK_BYTES = 1 << 20
_LEAST_BYTES_PER_SECOND = 10e6  # sixteen cameras at 4 Mbit/s are 8 MB/s
_ELSEWHERE = "or set FRAMEMESH_DATA_DIR to another disk"


def room(machine: Machine) -> Iterator[Finding]:
    folder = existing(machine.settings.data_dir)
    status = os.statvfs(folder)
    free = status.f_bavail * status.f_frsize
    level: Level = "wrong" if free < _LEAST_BYTES else "warning" if free < _WISHED_BYTES else "ok"
    text = f"{free / (1 << 30):.1f} GiB free in {machine.settings.data_dir}"
    yield Finding(
        "disk", "room", level, text, f"du -xh --max-depth=2 {folder} | sort -h | tail; make room, {_ELSEWHERE}"
    )
    if status.f_files:  # some file systems have no fixed number
        level = "warning" if status.f_favail < _WISHED_INODES else "ok"
        text = f"{status.f_favail} files more can be made"
        yield Finding(
            "disk", "inodes", level, text, f"du -x --inodes --max-depth=2 {folder} | sort -n | tail; {_ELSEWHERE}"
        )


def speed(machine: Machine) -> Iterator[Finding]:
    """A small file without a name, so that nothing can stay, is written and flushed to the disk."""
    folder = existing(machine.settings.data_dir)
    if not os.access(folder, os.W_OK | os.X_OK):
        user = os.environ.get("USER") or str(os.getuid())
        text = f"{folder} is not ours to write"
        yield Finding("disk", "writing", "wrong", text, f"sudo install -d -o {user} {machine.settings.data_dir}")
        return
    block = os.urandom(_BLOCK_BYTES)  # some disks pack what is all alike
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            began = time.monotonic()
            for _ in range(_TRIED_BYTES // _BLOCK_BYTES):
                file.write(block)
            file.flush()
            os.fsync(file.fileno())
            per_second = _TRIED_BYTES / max(time.monotonic() - began, 1e-6)
    except OSError as error:
        text = f"{_TRIED_BYTES >> 20} MiB could not be written in {folder}: {error.strerror}"
        yield Finding("disk", "writing", "wrong", text, f"df -h {folder}; make room, {_ELSEWHERE}")
        return
    level: Level = "ok" if per_second >= _LEAST_BYTES_PER_SECOND else "warning"
    text = f"{per_second / 1e6:.0f} MB/s with fsync; sixteen cameras of 4 Mbit/s write 8 MB/s"
    yield Finding("disk", "writing", level, text, f"record on a faster disk: {_ELSEWHERE.removeprefix('or ')}")
