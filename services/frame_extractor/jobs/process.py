"""The process of one job, seen from the worker: started, heard, ended."""

import asyncio
import contextlib
import logging
import os
import signal
import sys
from collections import deque
from collections.abc import Callable

from schemas.extraction import FailureKind
from services.frame_extractor.jobs.memory import MemoryBudget
from services.frame_extractor.jobs.wire import (
    ALIVE,
    END,
    GO,
    LENGTH_BYTES,
    MAX_MESSAGE_BYTES,
    SILENCE_STATUS,
    Advanced,
    Failed,
    Finished,
    Opened,
    Order,
    Said,
    message,
    out_of_memory,
    said_decoder,
)
from services.frame_extractor.storage.counts import StorageFigures
from shared.parent import killed_with_parent
from shared.tasks import end_tasks, start_task
from shared.urls import scrub

log = logging.getLogger(__name__)

_MODULE = "services.frame_extractor.jobs.keeper"
_LAST_LINES = 5
_LINE_CHARACTERS = 300
_END_SECONDS = 2.0
_BEAT_SHARE = 0.2  # of the silence that ends a process: four beats may be late
_MEMORY_SIGNAL = signal.SIGKILL  # of the kernel, to whom memory has run out
# What libraries say that are given no memory, where that is not Python's own MemoryError.
_MEMORY_TEXTS = (
    "can't start new thread",
    "failed to map segment",
    "Cannot allocate memory",
    "Resource temporarily unavailable",
    "bad_alloc",
    "MemoryError",
)


class JobFailed(Exception):
    """A job's process could not do it."""

    def __init__(self, kind: FailureKind, message: str, may_pass: bool = True) -> None:
        super().__init__(message)
        self.kind, self.message, self.may_pass = kind, message, may_pass


class JobProcess:
    """One process, for one job after the other; see `keeper`."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.idle = True
        """It waits for a job; one that has not ended in its own words leaves it as it is, to be ended."""
        self.storage = StorageFigures()
        """What reading and writing took of the job that has ended."""
        self._last_lines: deque[str] = deque(maxlen=_LAST_LINES)
        self._memory_bytes = 0
        self._listener = asyncio.create_task(self._listen(), name="job-process-log")

    @classmethod
    async def start(cls) -> "JobProcess":
        """Raises:
        OSError: no process or memory left.
        """
        return cls(
            await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                _MODULE,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                start_new_session=True,
                preexec_fn=killed_with_parent,
            )
        )

    @property
    def alive(self) -> bool:
        return self._process.returncode is None

    @property
    def pid(self) -> int:
        return self._process.pid

    async def run(
        self, order: Order, memory: MemoryBudget, deadline_seconds: float, advanced: Callable[[Advanced], None]
    ) -> Finished:
        """Do one job. The time that it waits for memory does not count.

        Raises:
            JobFailed: it could not be done, took too long, or the process died of it.
        """
        self._memory_bytes, self.storage = order.memory_bytes, StorageFigures()
        self.idle = False
        self._last_lines.clear()
        try:
            async with asyncio.timeout(deadline_seconds) as deadline:
                await self._say(message(order))
                said = await self._hear()
                if isinstance(said, Opened):
                    deadline.reschedule(None)
                    async with memory.share(said.needs_bytes):
                        deadline.reschedule(asyncio.get_running_loop().time() + deadline_seconds)
                        await self._say(GO)
                        beating = start_task(self._beat(order.silence_seconds * _BEAT_SHARE), "job-process-beat")
                        try:
                            while isinstance(said := await self._hear(), Advanced):
                                advanced(said)
                        finally:
                            await end_tasks(beating)
        except TimeoutError:
            raise JobFailed(
                "timeout",
                f"not done within {deadline_seconds:g} s; take fewer pictures, a part of the video, or raise "
                "FRAMEMESH_FRAME_EXTRACTOR_JOB_SECONDS",
            ) from None
        self.idle = isinstance(said, Finished | Failed)
        if isinstance(said, Finished | Failed):
            self.storage = said.storage
            await self._say(END)
        if isinstance(said, Finished):
            return said
        if isinstance(said, Failed):
            raise JobFailed(said.kind, said.message, said.may_pass)
        raise JobFailed("internal", f"the job's process said {type(said).__name__} out of turn")

    async def end(self) -> None:
        """Kill it, if it still is; nothing it does then is of use to anybody."""
        if self.alive:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
        try:
            async with asyncio.timeout(_END_SECONDS):
                await self._process.wait()
                await self._listener
        except TimeoutError:
            log.error("the process %d of a job does not end", self._process.pid)
            self._listener.cancel()

    async def _say(self, data: bytes) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(data)
            await self._process.stdin.drain()
        except OSError:  # it has died: what it said last, or how it died, is heard next
            log.debug("process %d hears no more", self._process.pid)

    async def _beat(self, every_seconds: float) -> None:
        """Tell it that its worker is there, whether the bus is or not: it ends by itself when nothing is heard."""
        while True:
            await self._say(ALIVE)
            await asyncio.sleep(every_seconds)

    async def _hear(self) -> Said:
        assert self._process.stdout is not None
        try:
            length = int.from_bytes(await self._process.stdout.readexactly(LENGTH_BYTES), "big")
            if length > MAX_MESSAGE_BYTES:
                raise JobFailed("internal", f"the job's process said {length} bytes at once")
            return said_decoder.decode(await self._process.stdout.readexactly(length))
        except (asyncio.IncompleteReadError, OSError):
            raise await self._death() from None

    async def _death(self) -> JobFailed:
        """It is gone, without a word: what of."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_END_SECONDS):
                await self._process.wait()
                await self._listener
        status = self._process.returncode
        if status is None:
            return JobFailed("internal", "the job's process closed its mouth and lives on")
        if status == SILENCE_STATUS:
            return JobFailed("internal", "its worker stood still for so long that the job was given up")
        how = f"exit status {status}"
        if status < 0:
            with contextlib.suppress(ValueError):
                how = signal.Signals(-status).name
        last = f": {scrub(self._last_lines[-1])}" if self._last_lines else ""
        if self._memory_bytes and any(text in line for text in _MEMORY_TEXTS for line in self._last_lines):
            # Not with the same video and the same limit: it does not pass by itself.
            return JobFailed("internal", out_of_memory(self._memory_bytes), may_pass=False)
        hint = ""
        if status == -_MEMORY_SIGNAL:
            hint = (
                "; if this machine has no memory left, lower FRAMEMESH_FRAME_EXTRACTOR_PARALLEL_JOBS or _MEMORY_BYTES"
            )
        return JobFailed("internal", f"the job's process died of {how}{hint}{last}")

    async def _listen(self) -> None:
        assert self._process.stderr is not None
        while True:
            try:
                line = await self._process.stderr.readline()
            except ValueError:  # longer than the reader's limit: the rest follows
                continue
            if not line:
                return
            text = line.decode(errors="replace").rstrip()[:_LINE_CHARACTERS]
            self._last_lines.append(text)
            log.info("process %d: %s", self._process.pid, scrub(text))
