"""Who holds a port, read from /proc."""

import os
from pathlib import Path
from typing import Final, Literal, NamedTuple

Kind = Literal["tcp", "udp"]
_LISTENING: Final = {"tcp": "0A", "udp": "07"}  # include/net/tcp_states.h; UDP that is bound counts as closed
_PROC = Path("/proc")
_PORT, _STATE, _INODE = 1, 3, 9  # columns of /proc/net/tcp; the port is the end of the address


class Holder(NamedTuple):
    """A process; `pid` 0: another user's, or in another container."""

    pid: int
    program: str


def holder_of(port: int, kind: Kind) -> Holder:
    """Of a port that is taken."""
    inodes = {inode for name in (kind, f"{kind}6") for inode in _inodes(_PROC / "net" / name, port, kind)}
    for pid in (int(path.name) for path in _PROC.iterdir() if path.name.isdecimal()):
        if inodes & _sockets(pid):
            return Holder(pid, _program(pid))
    return Holder(0, "another user's program")


def _inodes(path: Path, port: int, kind: Kind) -> list[str]:
    try:
        lines = path.read_text().splitlines()[1:]
    except OSError:
        return []
    rows = [line.split() for line in lines]
    wanted = f"{port:04X}"
    return [row[_INODE] for row in rows if row[_PORT].endswith(f":{wanted}") and row[_STATE] == _LISTENING[kind]]


def _sockets(pid: int) -> set[str]:
    """Inodes of its sockets; none of a process that is not ours to look at."""
    found = set()
    try:
        for descriptor in (_PROC / str(pid) / "fd").iterdir():
            target = os.readlink(descriptor)
            if target.startswith("socket:["):
                found.add(target[8:-1])
    except OSError:
        pass  # it has ended, or is another user's: what was seen counts
    return found


def _program(pid: int) -> str:
    """`services.capture` of our own; else the name. Never its arguments: they may hold passwords."""
    try:
        words = (_PROC / str(pid) / "cmdline").read_bytes().decode(errors="replace").split("\0")
        if "-m" in words and (module := words[words.index("-m") + 1]).startswith("services."):
            return module
        return (_PROC / str(pid) / "comm").read_text().strip()
    except (OSError, IndexError):
        return "a process that has just ended"
