"""One process of the hand, from its start to its end."""

import asyncio
import contextlib
import logging
import os
import sys
from collections.abc import Callable
from typing import Final

import msgspec

from schemas.errors import Unavailable
from services.io_signal.hand.protocol import MAX_LINE_BYTES, MODULE, FromHand, Setup, ToHand, line, read_by_service
from shared.service import READY_FD_VARIABLE
from shared.tasks import end_tasks, start_task

log = logging.getLogger(__name__)

_END_SECONDS: Final = 4.0  # for devices that do not answer to come to their safe states
_KILL_SECONDS: Final = 2.0
_MOST_UNSENT_BYTES: Final = 1 << 20  # a hand that takes nothing for so long stands still


class HandChild:
    """Made anew for every start."""

    def __init__(self, setup: Setup, heard: Callable[[FromHand], None]) -> None:
        """`heard` takes what it says, in the event loop."""
        self._setup, self._heard = setup, heard
        self._process: asyncio.subprocess.Process | None = None
        self._reader: asyncio.Task[None] | None = None

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    async def start(self) -> None:
        """Raises:
        Unavailable: no more processes.
        """
        # The pipe to the launcher is the service's own.
        environment = {name: value for name, value in os.environ.items() if name != READY_FD_VARIABLE}
        try:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                MODULE,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                env=environment,
                limit=MAX_LINE_BYTES,
                start_new_session=True,  # whoever ends the service's group does not end what makes its outputs safe
            )
        except OSError as error:
            raise Unavailable(f"the hand cannot be started: {error.strerror}") from None
        self._reader = start_task(self._listen(), f"hand {self._process.pid}")
        self.send(self._setup)

    def send(self, message: ToHand) -> None:
        """Hand a message over; never waits.

        Raises:
            Unavailable: it takes nothing.
        """
        stdin = self._process.stdin if self._process is not None else None
        if stdin is None or stdin.is_closing():
            raise Unavailable("the hand has ended; it is started again")
        if stdin.transport.get_write_buffer_size() > _MOST_UNSENT_BYTES:
            raise Unavailable("the hand takes nothing; it is replaced")
        stdin.write(line(message))

    async def ended(self) -> int:
        """Wait for its end; the exit code, negative for a signal."""
        assert self._process is not None  # start() has set it
        code = await self._process.wait()
        if self._reader is not None:
            await asyncio.wait({self._reader}, timeout=_KILL_SECONDS)  # what it said last
        return code

    def kill(self) -> None:
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()

    async def stop(self) -> None:
        """Let it bring its outputs to their safe states and end; kill it when that takes too long."""
        process = self._process
        if process is None:
            return
        if process.stdin is not None:
            process.stdin.close()
        try:
            async with asyncio.timeout(_END_SECONDS):
                await process.wait()
        except TimeoutError:
            log.warning("the hand does not end and is killed")
            self.kill()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_KILL_SECONDS):
                    await process.wait()
        if self._reader is not None:
            await end_tasks(self._reader)

    async def _listen(self) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        try:
            while text := await self._process.stdout.readline():
                self._heard(read_by_service(text))
        except (msgspec.DecodeError, ValueError) as error:  # ValueError: a line without end
            log.error("the hand speaks in riddles and is ended: %s", error)
            self.kill()
