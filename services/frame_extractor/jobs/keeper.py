"""The process of a worker that has imported what jobs need, and gives each job a copy of itself to be done in.

A copy is made in milliseconds, where imports take a quarter of a second of CPU. It is safe because this process has
one thread and nothing open: what a job begins, it begins in its copy, and that ends with it. What a copy dies of,
this process dies of as well, so that the worker sees it.
"""

import os
import select
import signal
import sys
import traceback
from collections.abc import Callable

from shared.parent import killed_with_parent
from shared.quick_start import quick_start


def keep(do_one: Callable[[], None]) -> None:
    """Do one job after the other, until the worker closes the connection."""
    killed_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the service, which ends this
    worker = select.poll()
    worker.register(sys.stdin.fileno(), select.POLLIN)
    while all(events == select.POLLIN for _, events in worker.poll()):  # with anything else the worker has gone
        keeper = os.getpid()
        copy = os.fork()
        if copy == 0:
            _be_copy(keeper, do_one)
        _die_likewise(os.waitpid(copy, 0)[1])


def _be_copy(keeper: int, do_one: Callable[[], None]) -> None:
    """Does not return."""
    status = 1
    try:
        killed_with_parent()
        if os.getppid() == keeper:  # it has not died in between
            do_one()
        status = 0
    except BaseException:  # whatever it is, this copy must not go on as the keeper
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(status)  # not held up by a media thread that hangs in a network read


def _die_likewise(status: int) -> None:
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        if number not in (signal.SIGKILL, signal.SIGSTOP):
            signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
    elif code := os.waitstatus_to_exitcode(status):
        os._exit(code)


if __name__ == "__main__":
    with quick_start():
        from services.frame_extractor.jobs.child import main
    keep(main)
