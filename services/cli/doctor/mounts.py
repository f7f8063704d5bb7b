"""What kind of file system a folder lies on, read from the kernel's own list."""

import os
from pathlib import Path
from typing import NamedTuple

_LIST = Path("/proc/self/mountinfo")
_ESCAPED = {r"\040": " ", r"\011": "\t", r"\012": "\n", r"\134": "\\"}


class Mount(NamedTuple):
    point: str
    kind: str
    """`tmpfs`, `ext4`, …"""


def mount_of(folder: Path) -> Mount | None:
    """The mount that the folder lies on; None: the kernel does not tell."""
    path = os.path.realpath(folder)
    found: Mount | None = None
    try:
        lines = _LIST.read_text().splitlines()
    except OSError:
        return None
    for line in lines:
        before, _, after = line.partition(" - ")
        fields = before.split()
        if len(fields) < 5 or not after:
            continue
        point = fields[4]
        for escape, letter in _ESCAPED.items():
            point = point.replace(escape, letter)
        inside = path == point or path.startswith(point.rstrip("/") + "/")
        if inside and (found is None or len(point) >= len(found.point)):  # of equal ones the later hides the earlier
            found = Mount(point, after.split()[0])
    return found
