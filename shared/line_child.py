"""A process of a service's own that it speaks with in lines: started, heard, ended, killed.

The other end is `shared.standard_lines`. Its standard input ends with the service, and is what tells it to end.
"""

import asyncio
import contextlib
import logging
import os
import sys
from collections import deque
from collections.abc import Callable
from typing import Final

import msgspec

from schemas.errors import Unavailable
from shared.service import READY_FD_VARIABLE
from shared.tasks import end_tasks, start_task

log = logging.getLogger(__name__)

_KILL_SECONDS: Final = 2.0
_LAST_LINES: Final = 20
_STDERR_READ_BYTES: Final = 64 << 10


class LineChild:
    """One process; made anew for every start."""

    def __init__(
        self,
        name: str,
        module: str,
        heard: Callable[[bytes], None],
        *,
        max_line_bytes: int,
        end_seconds: float,
        outlives: bool = False,
    ) -> None:
        """
        Args:
            name: what people know it by: `the hand`.
            heard: takes each line that it says, in the event loop. What it cannot read ends the process.
            end_seconds: the process may take to end in order.
            outlives: it has something to do when the service is gone: whoever ends the service's group does not end it,
                and its log does not go through the service.
        """
        self._name, self._module, self._heard = name, module, heard
        self._max_line_bytes, self._end_seconds, self._outlives = max_line_bytes, end_seconds, outlives
        self._process: asyncio.subprocess.Process | None = None
        self._readers: list[asyncio.Task[None]] = []
        self._last_lines: deque[str] = deque(maxlen=_LAST_LINES)
        self._killed = False

    @property
    def runs(self) -> bool:
        return self._process is not None and self._process.returncode is None and not self._killed

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    @property
    def last_line(self) -> str:
        """Of its standard error: why it has ended."""
        return self._last_lines[-1] if self._last_lines else ""

    @property
    def stdin(self) -> asyncio.StreamWriter:
        """Raises:
        Unavailable: it was not started, or has ended.
        """
        stdin = self._process.stdin if self._process is not None else None
        if stdin is None or stdin.is_closing():
            raise Unavailable(f"{self._name} has ended; it is started again")
        return stdin

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
                self._module,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=None if self._outlives else asyncio.subprocess.PIPE,
                env=environment,
                limit=self._max_line_bytes,
                start_new_session=self._outlives,
            )
        except OSError as error:
            raise Unavailable(f"{self._name} cannot be started: {error.strerror}") from None
        assert self._process.stdout is not None
        self._readers = [start_task(self._listen(self._process.stdout), f"lines of {self._name} {self.pid}")]
        if self._process.stderr is not None:
            self._readers.append(
                start_task(self._keep_lines(self._process.stderr), f"stderr of {self._name} {self.pid}")
            )

    async def ended(self) -> int:
        """Wait for its end; the exit code, negative for a signal."""
        assert self._process is not None  # start() has set it
        code = await self._process.wait()
        await asyncio.wait(self._readers, timeout=_KILL_SECONDS)  # what it said last
        return code

    def kill(self) -> None:
        self._killed = True
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()

    async def stop(self) -> None:
        """Let it end in order; kill it when that takes too long."""
        process = self._process
        if process is None:
            return
        if process.stdin is not None:
            process.stdin.close()
        try:
            async with asyncio.timeout(self._end_seconds):
                await process.wait()
        except TimeoutError:
            log.warning("%s does not end and is killed", self._name)
            self.kill()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_KILL_SECONDS):
                    await process.wait()
        finally:
            if process.returncode is None:  # whoever waited was told to hurry
                self.kill()
            for reader in self._readers:
                reader.cancel()
        await end_tasks(*self._readers)

    async def _listen(self, stream: asyncio.StreamReader) -> None:
        try:
            while text := await stream.readline():
                self._heard(text)
        except (msgspec.DecodeError, ValueError) as error:  # ValueError: a line without end
            log.error("%s speaks in riddles and is ended: %s", self._name, error)
            self.kill()

    async def _keep_lines(self, stream: asyncio.StreamReader) -> None:
        while data := await stream.read(_STDERR_READ_BYTES):
            text = data.decode(errors="replace")
            self._last_lines.extend(one for one in text.splitlines() if one.strip())
            sys.stderr.write(text)
