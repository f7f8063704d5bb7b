"""How a supervised process comes to be."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol

from shared.parent import end_with_parent
from shared.service import READY_FD_VARIABLE


class Process(Protocol):
    """One that runs, or has."""

    @property
    def pid(self) -> int: ...

    @property
    def returncode(self) -> int | None:
        """Negative: of the signal that ended it; None: it runs."""
        ...

    async def wait(self) -> int: ...

    def send_signal(self, signal: int, /) -> None:
        """Raises: ProcessLookupError: it has ended."""
        ...

    def kill(self) -> None:
        """Raises: ProcessLookupError: it has ended."""
        ...


Start = Callable[[Mapping[str, str], int, int], Awaitable[Process]]
"""Begin one with this environment, its standard error, and a pipe into which it writes a line when it is ready. It has
a session of its own and ends with the launcher, whatever that ends of. Raises OSError: no process or memory left."""


def executed(*command: str) -> Start:
    """Of any program."""

    async def start(environment: Mapping[str, str], stderr: int, ready: int) -> Process:
        return await asyncio.create_subprocess_exec(
            *command,
            env={**environment, READY_FD_VARIABLE: str(ready)},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=stderr,
            pass_fds=(ready,),
            start_new_session=True,  # Ctrl-C is for the launcher, which ends its children in order
            preexec_fn=end_with_parent,
        )

    return start
