"""A process that has imported every service, and gives each a copy of itself to run in.

Imports are most of what the start of a service costs: a copy is there in milliseconds, and all of them share one
memory for what was imported. It is safe because this process has one thread and nothing open but its connection to the
launcher; what a service begins, it begins in its copy. Copies go on without this process, and end with the launcher.

Run by the launcher: `python -m services.launcher.fork_server CONNECTION LIFE`, two descriptors.
"""

import contextlib
import importlib
import os
import select
import signal
import socket
import sys
import traceback
from typing import Final

from schemas.service_table import SERVICE_TABLE
from services.launcher.fork_wire import MAX_BYTES, Copied, Ended, Order, encode, read_order
from shared.parent import end_with_pipe, killed_with_parent
from shared.process_title import set_command
from shared.quick_start import quick_start
from shared.service import READY_FD_VARIABLE

_DESCRIPTORS: Final = 2  # that come with an order
_FAILED: Final = 1


def main_module(module: str) -> str:
    """Where a service's `main` is, which runs it and does not return."""
    return f"{module}.__main__"


class ForkServer:
    """Serves one launcher, until that has gone."""

    def __init__(self, connection: socket.socket, life: int) -> None:
        """`life`: the end to read of a pipe that the launcher alone can write."""
        self._connection, self._life = connection, life
        self._copies: dict[int, int] = {}
        """Numbers of orders by process id."""
        self._wakes, self._wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)

    def serve(self) -> None:
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(self._wake, warn_on_full_buffer=False)
        look = select.poll()
        look.register(self._connection, select.POLLIN)
        look.register(self._wakes, select.POLLIN)
        while True:
            for number, _ in look.poll():
                if number == self._wakes:
                    os.read(self._wakes, MAX_BYTES)
                    self._tell_ended()
                elif not self._take_order():
                    return

    def _take_order(self) -> bool:
        """False: the launcher has gone."""
        data, descriptors, _, _ = socket.recv_fds(self._connection, MAX_BYTES, _DESCRIPTORS, socket.MSG_CMSG_CLOEXEC)
        if not data:
            return False
        order = read_order(data)
        pid = os.fork()
        if pid == 0:
            self._be_copy(order, *descriptors)
        self._copies[pid] = order.number
        for descriptor in descriptors:
            os.close(descriptor)
        return True

    def _tell_ended(self) -> None:
        for pid, number in list(self._copies.items()):
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                del self._copies[pid]
                with contextlib.suppress(BrokenPipeError):
                    self._connection.send(encode(Ended(number, os.waitstatus_to_exitcode(status))))

    def _be_copy(self, order: Order, stderr: int, ready: int) -> None:
        """Does not return."""
        status = _FAILED
        try:
            os.dup2(stderr, sys.stderr.fileno())
            os.close(stderr)
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            os.setsid()  # Ctrl-C is for the launcher, which ends its children in order
            end_with_pipe(self._life)
            os.close(self._life)
            os.close(self._wakes)
            os.close(self._wake)
            self._connection.send(encode(Copied(order.number, os.getpid())))
            self._connection.close()
            os.environ.clear()
            os.environ.update(order.environment, **{READY_FD_VARIABLE: str(ready)})
            set_command(sys.executable, "-m", order.module)
            sys.modules[main_module(order.module)].main()
            status = 0
        except BaseException:  # whatever it is, this copy must not go on as the fork server
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(status)


def main() -> None:
    killed_with_parent()
    connection, life = (int(argument) for argument in sys.argv[1:])
    with quick_start():
        for entry in SERVICE_TABLE:
            with contextlib.suppress(ModuleNotFoundError):  # its extra is not installed
                importlib.import_module(main_module(entry.module))
    if len(os.listdir("/proc/self/task")) > 1:
        sys.exit("something that was imported has begun a thread, and a copy would be without it")
    ForkServer(socket.socket(fileno=connection), life).serve()


if __name__ == "__main__":
    main()
