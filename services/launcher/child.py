"""A supervised process: started, heard, restarted with backoff, ended."""

import asyncio
import contextlib
import logging
import os
import re
import signal
import sys
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping

from services.launcher.starting import Process, Start
from shared.service import RESTARTS_VARIABLE

log = logging.getLogger(__name__)

# A killed service needs 0.1 s to be ready, 0.5-0.9 s without the fork server, and shall be back within two seconds,
# also when it is killed three times in a row. One that cannot live is left more and more time.
_RESTART_DELAYS_SECONDS = (0.0, 0.1, 0.3, 1.0, 2.0, 5.0, 10.0)
_STABLE_AFTER_SECONDS = 10.0
_LAST_LINES = 1000  # for who asks for its log; a mesh's take 2 MB
_LINE_CHARACTERS = 2000  # kept of one
_TERMINATE_SECONDS = 10.0
_LAST_WORDS_SECONDS = 0.2
_CANNOT_BE_STARTED = 127  # as a shell says it
_REFUSAL = re.compile(r"[a-z0-9-]+: error (\d{3}): (.+)")  # as `shared.service.run_service` says it


class Child:
    """One process that shall always run."""

    def __init__(
        self,
        name: str,
        start: Start,
        environment: Mapping[str, str],
        on_ready: Callable[[bytes], None] | None = None,
    ) -> None:
        """`on_ready`: called with the line that the process writes when it is ready, after every start; None: it writes
        none, and what cannot start is tried again all the same."""
        self.name = name
        self._start = start
        self._environment = environment
        self._on_ready = on_ready
        self._process: Process | None = None
        self._task: asyncio.Task[None] | None = None
        self._stopping = False
        self.last_lines: deque[str] = deque(maxlen=_LAST_LINES)
        self.lines_told = 0
        """How many there have been, those that are no longer kept among them."""
        self.spoke = asyncio.Event()
        """Set at its next line; of the line after that there is another one."""
        self.ready = asyncio.Event()
        """Set while the process that runs now is ready."""
        self.started_ns = 0
        """CLOCK_REALTIME, of its last start."""
        self.exited_at_start: asyncio.Future[object] = asyncio.get_running_loop().create_future()
        """Set to the exit status when the very first start fails: what cannot start at all is not restarted."""
        self.refusal: tuple[int, str] | None = None
        """Code and text of the service's own reason not to start, while it has never been ready."""
        self._ever_ready = False
        self._restarting = False
        self.restarts = 0

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process and self._process.returncode is None else None

    @property
    def failed(self) -> bool:
        """It could not even start, and is left alone."""
        return self.exited_at_start.done()

    @property
    def stopped(self) -> bool:
        return self._stopping

    async def restart(self) -> None:
        """Ask it to end, or make it; it is started again at once, and counted."""
        if self.pid is not None:
            self._restarting = True
            await self._end()
            self.ready.clear()  # the one that has ended was

    def start(self) -> None:
        self._task = asyncio.create_task(self._supervise(), name=f"child {self.name}")

    async def stop(self) -> None:
        """Ask it to end, wait, then make it."""
        self._stopping = True
        await self._end()
        if self._task:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _end(self) -> None:
        process = self._process
        if process and process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGTERM)
            try:
                await asyncio.wait_for(process.wait(), _TERMINATE_SECONDS)
            except TimeoutError:
                log.error("%s does not end; killing it", self.name)
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
                await process.wait()

    async def _supervise(self) -> None:
        attempt = 0
        while True:
            started = time.monotonic()
            status, was_ready = await self._run_once()
            self._ever_ready = self._ever_ready or was_ready
            if self._stopping:
                return
            if self._on_ready and not self._ever_ready:
                if not self.exited_at_start.done():
                    self.exited_at_start.set_result(status)
                return
            if time.monotonic() - started > _STABLE_AFTER_SECONDS:
                attempt = 0
            delay = _RESTART_DELAYS_SECONDS[min(attempt, len(_RESTART_DELAYS_SECONDS) - 1)]
            self.restarts += 1
            if self._restarting:  # somebody wants it so
                self._restarting = False
                continue
            attempt += 1
            log.warning(
                "%s ended (%s); starting it again%s", self.name, _say(status), f" in {delay} s" if delay else ""
            )
            await asyncio.sleep(delay)

    async def _run_once(self) -> tuple[int, bool]:
        """Start it and wait for its end: (exit status, whether it became ready)."""
        self.ready.clear()
        self.started_ns = time.time_ns()
        (errors, stderr), (readiness, ready) = os.pipe(), os.pipe()
        environment = {**self._environment, RESTARTS_VARIABLE: str(self.restarts)}
        try:
            process = self._process = await self._start(environment, stderr, ready)
        except OSError as error:  # no process or memory left: counts as a failed start, and is tried again
            log.error("%s cannot be started: %s", self.name, error)
            os.close(errors)
            os.close(readiness)
            return _CANNOT_BE_STARTED, False
        finally:
            os.close(stderr)
            os.close(ready)
        listener = asyncio.create_task(self._listen(errors))
        waiting = asyncio.create_task(self._wait_ready(readiness))
        status = await process.wait()
        self.ready.clear()
        # Its last words; not its end of file, which a process of its own that outlives it may hold back.
        await asyncio.wait({listener}, timeout=_LAST_WORDS_SECONDS)
        listener.cancel()
        return status, await waiting

    async def _wait_ready(self, descriptor: int) -> bool:
        async with _reading(descriptor) as reader:
            line = await reader.readline()
        if line:
            self.ready.set()
            if self._on_ready:
                self._on_ready(line)
        return bool(line)

    async def _listen(self, descriptor: int) -> None:
        """Pass its log on, and keep the last lines."""
        async with _reading(descriptor) as reader:
            await self._pass_on(reader)

    async def _pass_on(self, reader: asyncio.StreamReader) -> None:
        while True:
            try:
                line = await reader.readline()
            except ValueError:  # a line longer than the reader's limit: the rest of it follows
                continue
            if not line:
                return
            text = line.decode(errors="replace").rstrip()
            self.last_lines.append(text[:_LINE_CHARACTERS])
            self.lines_told += 1
            self.spoke.set()
            self.spoke = asyncio.Event()
            if not self._ever_ready and (found := _REFUSAL.fullmatch(text)):
                self.refusal = int(found[1]), found[2]  # whoever started it says so, once
                continue
            print(text, file=sys.stderr, flush=True)  # noqa: T201


@contextlib.asynccontextmanager
async def _reading(descriptor: int) -> AsyncIterator[asyncio.StreamReader]:
    """A pipe's lines; it is closed at the end."""
    reader = asyncio.StreamReader()
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(descriptor, "rb", 0)
    )
    try:
        yield reader
    finally:
        transport.close()


def _say(status: int) -> str:
    if status < 0:
        with contextlib.suppress(ValueError):
            return signal.Signals(-status).name
    return f"exit status {status}"
