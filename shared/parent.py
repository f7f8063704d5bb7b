"""Processes that end with the one that started them, however that one ends: kill -9 leaves nobody behind."""

import contextlib
import ctypes
import fcntl
import os
import signal
from pathlib import Path

_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36  # linux/prctl.h
_F_SETSIG = 10  # fcntl.h
_libc = ctypes.CDLL(None)  # loaded before any fork: a forked child may only call it


def end_with_parent(number: signal.Signals = signal.SIGTERM) -> None:
    """Have the kernel send this process `number` when the thread that started it ends.

    Fit for `preexec_fn`: one system call, no Python locks. The thread must live as long as the process is needed.
    """
    _libc.prctl(_PR_SET_PDEATHSIG, number)


def killed_with_parent() -> None:
    """As `end_with_parent`, for a program that has nothing to finish."""
    end_with_parent(signal.SIGKILL)


def end_with_pipe(descriptor: int, number: signal.Signals = signal.SIGTERM) -> None:
    """Have the kernel send this process `number` when nobody can write that pipe any more.

    For a process whose parent is not the one it shall end with; `descriptor` itself may be closed afterwards.
    """
    # Opened anew: who is told belongs to an opened file, and a descriptor that was handed on shares that.
    own = os.open(f"/proc/self/fd/{descriptor}", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    fcntl.fcntl(own, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(own, _F_SETSIG, number)
    fcntl.fcntl(own, fcntl.F_SETFL, fcntl.fcntl(own, fcntl.F_GETFL) | os.O_ASYNC)
    with contextlib.suppress(BlockingIOError):  # somebody can
        os.read(own, 1)
        os.kill(os.getpid(), number)  # the last one went before this was set


def adopt_orphans(adopt: bool = True) -> None:
    """Have the kernel make this process the parent of those below it whose own has ended; it waits for them then."""
    _libc.prctl(_PR_SET_CHILD_SUBREAPER, int(adopt))


def ended_children() -> set[int]:
    """Those of this process that have ended and that nobody has waited for yet."""
    own = f"/proc/{os.getpid()}/task"
    found = set()
    for thread in os.listdir(own):
        with contextlib.suppress(OSError):  # it has ended
            for child in Path(own, thread, "children").read_text().split():
                if Path("/proc", child, "stat").read_text().rpartition(")")[2].split()[0] == "Z":
                    found.add(int(child))
    return found
