"""A process's one connection to the mesh: made at the first call, kept over restarts of the bus, ended at exit.

For modules that stand in for a vendor's: their functions know no connection, so there is one for all of them.
"""

import atexit
import contextlib
import os
import threading
from collections.abc import Callable

from schemas.errors import Unavailable
from shared.clients.sync_mesh import Mesh


class ProcessConnection:
    """One per such module."""

    def __init__(self, name: str) -> None:
        """`name`: of the module, shown to whoever looks at the bus."""
        self._name = name
        self._connecting = threading.Lock()
        self._open: contextlib.ExitStack | None = None
        self._mesh: Mesh | None = None
        self._pid = 0
        self._before_close: list[Callable[[], None]] = []

    def mesh(self) -> Mesh:
        """The connection.

        Raises:
            Unavailable: there is no NATS server, or this process was forked from one that is connected.
            InvalidValue: a setting that is none.
        """
        self.check_process()
        with self._connecting:
            if self._mesh is None:
                stack = contextlib.ExitStack()
                self._mesh = stack.enter_context(Mesh.connect(name=self._name))
                atexit.unregister(self.close)
                atexit.register(self.close)
                self._open, self._pid = stack, os.getpid()
            return self._mesh

    def check_process(self) -> None:
        """Refuse what would wait for threads that a forked process does not have.

        Raises:
            Unavailable: this process was forked from one that is connected.
        """
        if self._mesh is not None and self._pid != os.getpid():
            raise Unavailable(
                "this process was forked from one that uses the mesh, whose pictures it must not touch; start it with "
                'multiprocessing.set_start_method("spawn")'
            )

    def before_close(self, work: Callable[[], None]) -> None:
        """Call `work` whenever a connection ends, before it does."""
        self._before_close.append(work)

    def close(self) -> None:
        """End the connection; the next call makes another one. Called at exit."""
        if self._open is None or self._mesh is None or self._pid != os.getpid():
            return
        for work in self._before_close:
            work()
        with self._connecting:
            stack, found, self._mesh = self._open, self._mesh, None
        if found is not None:
            stack.close()
