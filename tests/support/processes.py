"""Processes as /proc shows them."""

from collections.abc import Iterator
from pathlib import Path


def children(pid: int) -> list[int]:
    """Of all threads of a process: a child belongs to the one that started it. None where it has ended."""
    found = []
    try:
        for task in Path(f"/proc/{pid}/task").iterdir():
            found += [int(child) for child in (task / "children").read_text().split()]
    except OSError:
        return []
    return found


def below(pid: int) -> Iterator[int]:
    """All processes that descend from one."""
    for child in children(pid):
        yield child
        yield from below(child)


def command(pid: int) -> list[str]:
    """The words of its command line; none where it has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().rstrip("\0").split("\0")
    except OSError:
        return []
