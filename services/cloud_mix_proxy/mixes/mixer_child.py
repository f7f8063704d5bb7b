"""This end of a mix's process: started, told what to show, heard, ended."""

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
from services.cloud_mix_proxy.mixer.protocol import (
    EXIT_CANNOT_START,
    MAX_LINE_BYTES,
    MODULE,
    FromMixer,
    Setup,
    ToMixer,
    line,
    read_by_service,
)
from shared.service import READY_FD_VARIABLE
from shared.tasks import end_tasks, start_task

log = logging.getLogger(__name__)

_WRITE_SECONDS: Final = 5.0  # 128 MB of still pictures take one; a process that takes nothing for longer hangs
_END_SECONDS: Final = 2.0  # to give its ring and its demand back
_KILL_SECONDS: Final = 2.0
_LOOK_SECONDS: Final = 0.5
_SILENT_SECONDS: Final = 5.0  # it reports every second; on a busy machine, or with large pictures to decode, late
_LAST_LINES: Final = 20
_STDERR_LINE_BYTES: Final = 64 << 10


class MixerChild:
    """One process; made anew for every start."""

    def __init__(
        self, setup: Setup, heard: Callable[[FromMixer], None], silent_seconds: float = _SILENT_SECONDS
    ) -> None:
        """
        Args:
            heard: takes what the process says, in the event loop.
            silent_seconds: without a word for so long it stands still.
        """
        self._most_silent_looks = round(silent_seconds / _LOOK_SECONDS)
        self._setup, self._heard = setup, heard
        self._process: asyncio.subprocess.Process | None = None
        self._readers: list[asyncio.Task[None]] = []
        self._writing = asyncio.Lock()
        self._last_lines: deque[str] = deque(maxlen=_LAST_LINES)
        self._watching: asyncio.Task[None] | None = None
        self._silent_looks = 0
        self._killed = False
        self.why = ""
        """It was killed here for this."""

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
                stderr=asyncio.subprocess.PIPE,
                env=environment,
                limit=MAX_LINE_BYTES,
            )
        except OSError as error:
            raise Unavailable(f"the mix's process cannot be started: {error.strerror}") from None
        name = f"{self._setup.mix} {self._process.pid}"
        self._readers = [start_task(self._listen(), f"mixer {name}"), start_task(self._keep_lines(), f"stderr {name}")]
        await self.send(self._setup)

    async def send(self, *messages: ToMixer) -> None:
        """Hand messages over, in order.

        Raises:
            Unavailable: it takes nothing; it has ended, or is killed for it.
        """
        process = self._process
        assert process is not None  # start() has set it
        assert process.stdin is not None
        async with self._writing:
            try:
                async with asyncio.timeout(_WRITE_SECONDS):
                    for message in messages:
                        process.stdin.write(line(message))
                        await process.stdin.drain()
            except OSError as error:  # TimeoutError too
                self.kill()
                raise Unavailable(f"the process of {self._setup.mix} takes nothing: {type(error).__name__}") from None

    async def ended(self) -> int:
        """Wait for its end; the exit code, negative for a signal."""
        assert self._process is not None
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
            async with asyncio.timeout(_END_SECONDS):
                await process.wait()
        except TimeoutError:
            log.warning("the process of %s does not end and is killed", self._setup.mix)
            self.kill()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_KILL_SECONDS):
                    await process.wait()
        finally:
            if process.returncode is None:  # whoever waited was told to hurry
                self.kill()
            for reader in self._tasks:
                reader.cancel()
        await end_tasks(*self._tasks)

    @property
    def _tasks(self) -> list[asyncio.Task[None]]:
        return [*self._readers, *([self._watching] if self._watching else [])]

    async def _listen(self) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        try:
            while text := await self._process.stdout.readline():
                self._silent_looks = 0
                self._heard(read_by_service(text))
                if self._watching is None:  # its start may take long; from its first word on it reports
                    self._watching = start_task(self._watch(), f"watch {self._setup.mix} {self._process.pid}")
        except (msgspec.DecodeError, ValueError) as error:  # ValueError: a line without end
            log.error("the process of %s speaks in riddles and is ended: %s", self._setup.mix, error)
            self.kill()

    async def _watch(self) -> None:
        """Kill it when it stands still: nobody else would, and its picture would stay for ever."""
        # Counted in looks: a service that slept itself has missed nothing.
        while self._silent_looks < self._most_silent_looks:
            self._silent_looks += 1
            await asyncio.sleep(_LOOK_SECONDS)
        silent_seconds = self._most_silent_looks * _LOOK_SECONDS
        self.why = f"the mix's process said nothing for {silent_seconds:g} s and was killed"
        self.kill()

    async def _keep_lines(self) -> None:
        assert self._process is not None
        assert self._process.stderr is not None
        stream = self._process.stderr
        while data := await stream.read(_STDERR_LINE_BYTES):
            text = data.decode(errors="replace")
            self._last_lines.extend(one for one in text.splitlines() if one.strip())
            sys.stderr.write(text)


def why_it_ended(code: int, last_line: str) -> str:
    """In words, for people."""
    if code == EXIT_CANNOT_START and last_line:
        return last_line
    return f"the mix's process was ended by signal {-code}" if code < 0 else f"the mix's process ended with code {code}"
