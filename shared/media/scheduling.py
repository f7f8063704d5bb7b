"""Keep libraries from taking the machine: SVT-AV1, run as root, gives its threads the highest real-time priority.

A few such encoders leave nothing for anybody else, the bus and the kernel's own threads included, and children that
are started from such a thread inherit it.
"""

import contextlib
import os
from collections.abc import Iterator

_REAL_TIME = frozenset((os.SCHED_FIFO, os.SCHED_RR))
_OURS = "/proc/self/task"


@contextlib.contextmanager
def usual_scheduling() -> Iterator[None]:
    """Threads of this process that become real-time ones within the block are ordinary ones after it."""
    before = real_time_threads()
    try:
        yield
    finally:
        for thread in real_time_threads() - before:
            with contextlib.suppress(ProcessLookupError):  # it has ended
                os.sched_setscheduler(thread, os.SCHED_OTHER, os.sched_param(0))


def real_time_threads() -> set[int]:
    """Ids of this process's threads that run before everybody else's."""
    found = set()
    for name in os.listdir(_OURS):
        with contextlib.suppress(ProcessLookupError):
            if os.sched_getscheduler(int(name)) in _REAL_TIME:
                found.add(int(name))
    return found
