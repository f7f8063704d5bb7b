"""The launcher's side of its fork server: services as copies of it, and as processes of their own without it."""

import asyncio
import contextlib
import logging
import os
import signal
import socket
import sys
from collections.abc import Mapping
from typing import Final

from services.launcher.fork_wire import MAX_BYTES, Copied, Order, encode, read_said
from services.launcher.starting import Process, Start, executed
from shared.backoff import Backoff
from shared.parent import adopt_orphans, ended_children, killed_with_parent
from shared.tasks import end_tasks, start_task

log = logging.getLogger(__name__)

_MODULE: Final = "services.launcher.fork_server"
_ANSWER_SECONDS: Final = 20.0  # what it imports takes two seconds of a slow core
_UNKNOWN_STATUS: Final = 255
_BURY_SECONDS: Final = 5.0


class ForkedProcess:
    """See `starting.Process`. Known by its descriptor: its number may be another's as soon as it has ended."""

    def __init__(self) -> None:
        self.copied = asyncio.Event()
        """It runs, or never will."""
        self.pid = 0
        self._descriptor = -1
        self._status: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    @property
    def returncode(self) -> int | None:
        return self._status.result() if self._status.done() else None

    async def wait(self) -> int:
        return await asyncio.shield(self._status)

    def send_signal(self, number: int, /) -> None:
        if self._descriptor < 0:
            raise ProcessLookupError
        signal.pidfd_send_signal(self._descriptor, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def began(self, pid: int) -> None:
        self.pid = pid
        with contextlib.suppress(ProcessLookupError):  # it has ended already: the fork server will say so
            self._descriptor = os.pidfd_open(pid)
        self.copied.set()

    def ended(self, status: int) -> None:
        if self._descriptor >= 0:
            asyncio.get_running_loop().remove_reader(self._descriptor)
            os.close(self._descriptor)
            self._descriptor = -1
        if not self._status.done():
            self._status.set_result(status)
        self.copied.set()

    def watch(self) -> None:
        """Its parent has gone, which would have told of its end."""
        if self._descriptor < 0:
            self.ended(_UNKNOWN_STATUS)
        else:
            asyncio.get_running_loop().add_reader(self._descriptor, self._has_ended)

    def _has_ended(self) -> None:
        status = _UNKNOWN_STATUS
        with contextlib.suppress(ChildProcessError):  # the launcher has adopted it; unless the kernel did not let it
            result = os.waitid(os.P_PIDFD, self._descriptor, os.WEXITED)
            if result is not None:
                status = result.si_status if result.si_code == os.CLD_EXITED else -result.si_status
        self.ended(status)


class ForkServer:
    """Keeps the fork server's process; belongs to the event loop. `start` first, `close` when all services ended."""

    def __init__(self, answer_seconds: float = _ANSWER_SECONDS, bury_seconds: float = _BURY_SECONDS) -> None:
        """
        Args:
            answer_seconds: one that is silent for so long hangs, and is started anew.
            bury_seconds: between two looks for adopted processes that have ended.
        """
        self._answer_seconds, self._bury_seconds = answer_seconds, bury_seconds
        self._connection: socket.socket | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._numbers = 0
        self._forked: dict[int, ForkedProcess] = {}
        # Its copies have none of the launcher for a parent, and end when nobody can write this any more.
        self._life_reads, self._life_writes = os.pipe()

    def start(self) -> None:
        adopt_orphans()  # its copies, when it is killed
        self._tasks = [
            start_task(self._keep(), "fork server"),
            start_task(_bury(self._bury_seconds), "bury adopted processes"),
        ]

    async def close(self) -> None:
        await end_tasks(*self._tasks)
        adopt_orphans(False)
        os.close(self._life_reads)
        os.close(self._life_writes)

    def service(self, module: str) -> Start:
        """How a service starts: `python -m` of that module, or what does the same in a fifth of the time."""
        alone = executed(sys.executable, "-m", module)

        async def start(environment: Mapping[str, str], stderr: int, ready: int) -> Process:
            return await self._fork(module, environment, stderr, ready) or await alone(environment, stderr, ready)

        return start

    async def _fork(self, module: str, environment: Mapping[str, str], stderr: int, ready: int) -> Process | None:
        """None: the fork server cannot just now."""
        connection = self._connection
        if connection is None:
            return None
        self._numbers += 1
        number = self._numbers
        data = encode(Order(number, module, dict(environment)))
        if len(data) > MAX_BYTES:
            return None
        try:
            socket.send_fds(connection, [data], [stderr, ready])
        except OSError as error:  # it has just ended, or too much waits for it
            log.debug("the fork server takes no order: %s", error)
            return None
        forked = self._forked[number] = ForkedProcess()
        try:
            async with asyncio.timeout(self._answer_seconds):
                await forked.copied.wait()
        except asyncio.CancelledError:  # it comes all the same, and nobody would look after it
            with contextlib.suppress(TimeoutError, ProcessLookupError):
                async with asyncio.timeout(self._answer_seconds):
                    await forked.copied.wait()
                    forked.kill()
                    await forked.wait()
            raise
        except TimeoutError:
            log.warning("the fork server hangs, and is started anew")
            if connection is self._connection:
                self._connection = None  # from now on nothing that it says is believed
                connection.shutdown(socket.SHUT_RDWR)
            return None
        return forked if forked.pid else None

    async def _keep(self) -> None:
        """Run it, again and again."""
        backoff = Backoff()
        while True:
            try:
                await self._run(backoff)
            except OSError as error:
                log.warning("the fork server cannot be started: %s", error)
            log.warning("the fork server has ended; services start without it until it is there again")
            await asyncio.sleep(backoff.next_seconds())

    async def _run(self, backoff: Backoff) -> None:
        ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with ours:
            with its:
                process = await asyncio.create_subprocess_exec(
                    *(sys.executable, "-m", _MODULE, str(its.fileno()), str(self._life_reads)),
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=asyncio.subprocess.DEVNULL,
                    pass_fds=(its.fileno(), self._life_reads),
                    start_new_session=True,
                    preexec_fn=killed_with_parent,
                )
            ours.setblocking(False)
            self._connection = ours
            backoff.succeeded()
            gone = asyncio.Event()
            loop = asyncio.get_running_loop()
            loop.add_reader(ours, self._hear, ours, gone)
            try:
                await gone.wait()
            finally:
                loop.remove_reader(ours)
                self._connection = None
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
                await process.wait()
                for number, forked in list(self._forked.items()):
                    forked.watch()
                    del self._forked[number]

    def _hear(self, connection: socket.socket, gone: asyncio.Event) -> None:
        try:
            data = connection.recv(MAX_BYTES)
        except ConnectionResetError:
            data = b""
        if not data:
            gone.set()
            return
        said = read_said(data)
        if isinstance(said, Copied):
            self._forked[said.number].began(said.pid)
        else:
            self._forked.pop(said.number).ended(said.status)


async def _bury(every_seconds: float) -> None:
    """Wait for adopted processes that have ended, as those that a killed service leaves. Who started one waits for it
    at once, so that one which is still there at the next look is nobody's."""
    before: set[int] = set()
    while True:
        await asyncio.sleep(every_seconds)
        before = await asyncio.to_thread(_bury_ended, before)


def _bury_ended(before: set[int]) -> set[int]:
    now = ended_children()
    for pid in now & before:
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)
    return now - before
