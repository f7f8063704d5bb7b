"""Cameras, GPIO chips, serial lines, graphics cards: which are there, and which may not be opened."""

import grp
import os
import pwd
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from schemas.service_table import Device
from services.cli.doctor.finding import Finding
from services.cli.doctor.machine import Machine

_PATTERNS: Final[dict[Device, tuple[str, ...]]] = {
    "cameras": ("video[0-9]*",),
    "gpio": ("gpiochip[0-9]*",),
    "serial": ("ttyUSB[0-9]*", "ttyACM[0-9]*", "ttyAMA[0-9]*"),
    "gpu": ("dri/renderD[0-9]*", "nvidia[0-9]*"),
}
_WITHOUT: Final[dict[Device, str]] = {
    "cameras": "no /dev/video*: network cameras need none",
    "gpio": "no /dev/gpiochip*: signals over TCP and Modbus need none",
    "serial": "no serial line: signals over TCP and Modbus need none",
    "gpu": "no graphics card: pictures are encoded in software",
}
_MOST_SHOWN = 8


def devices(machine: Machine) -> Iterator[Finding]:
    for kind in dict.fromkeys(kind for entry in machine.services for kind in entry.devices):
        found = [path for pattern in _PATTERNS[kind] for path in sorted(machine.devices.glob(pattern))]
        closed = [path for path in found if not os.access(path, os.R_OK | os.W_OK)]
        open_ones = [str(path) for path in found if path not in closed]
        if not found:
            yield Finding("devices", kind, "ok", _WITHOUT[kind])
        elif open_ones:
            more = f" and {len(open_ones) - _MOST_SHOWN} more" if len(open_ones) > _MOST_SHOWN else ""
            yield Finding("devices", kind, "ok", ", ".join(open_ones[:_MOST_SHOWN]) + more)
        for path in closed[:_MOST_SHOWN]:
            yield _closed(kind, path)


def _closed(kind: Device, path: Path) -> Finding:
    status = path.stat()
    group, user = _group(status.st_gid), _user()
    mode = stat.filemode(status.st_mode)
    text = f"{path} ({mode}, group {group}) may not be opened by {user}"
    if not status.st_mode & stat.S_IRGRP or not status.st_mode & stat.S_IWGRP or status.st_gid == 0:
        return Finding(
            "devices", kind, "wrong", text, f"sudo setfacl -m u:{user}:rw {path}; or a udev rule for its group"
        )
    if user in _members(status.st_gid):
        return Finding("devices", kind, "wrong", f"{text} yet: it is in that group since its login", f"newgrp {group}")
    return Finding("devices", kind, "wrong", text, f"sudo usermod -aG {group} {user}; then log in again")


def _user() -> str:
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:  # of a container
        return str(os.getuid())


def _group(gid: int) -> str:
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)


def _members(gid: int) -> list[str]:
    try:
        return grp.getgrgid(gid).gr_mem
    except KeyError:
        return []
