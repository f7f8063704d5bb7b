"""This end of a mix's process: started, told what to show, heard, ended."""

import asyncio
from collections.abc import Callable
from typing import Final

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
from shared.line_child import LineChild
from shared.tasks import end_tasks, start_task

_WRITE_SECONDS: Final = 5.0  # 128 MB of still pictures take one; a process that takes nothing for longer hangs
_END_SECONDS: Final = 2.0  # to give its ring and its demand back
_LOOK_SECONDS: Final = 0.5
_SILENT_SECONDS: Final = 5.0  # it reports every second; on a busy machine, or with large pictures to decode, late


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
        name = f"the process of {setup.mix}"
        self._child = LineChild(name, MODULE, self._hear, max_line_bytes=MAX_LINE_BYTES, end_seconds=_END_SECONDS)
        self.ended, self.kill = self._child.ended, self._child.kill
        self._writing = asyncio.Lock()
        self._watching: asyncio.Task[None] | None = None
        self._silent_looks = 0
        self.why = ""
        """It was killed here for this."""

    @property
    def runs(self) -> bool:
        return self._child.runs

    @property
    def pid(self) -> int | None:
        return self._child.pid

    @property
    def last_line(self) -> str:
        """Of its standard error: why it has ended."""
        return self._child.last_line

    async def start(self) -> None:
        """Raises:
        Unavailable: no more processes.
        """
        await self._child.start()
        await self.send(self._setup)

    async def send(self, *messages: ToMixer) -> None:
        """Hand messages over, in order.

        Raises:
            Unavailable: it takes nothing; it has ended, or is killed for it.
        """
        stdin = self._child.stdin
        async with self._writing:
            try:
                async with asyncio.timeout(_WRITE_SECONDS):
                    for message in messages:
                        stdin.write(line(message))
                        await stdin.drain()
            except OSError as error:  # TimeoutError too
                self.kill()
                raise Unavailable(f"the process of {self._setup.mix} takes nothing: {type(error).__name__}") from None

    async def stop(self) -> None:
        """Let it end in order; kill it when that takes too long."""
        try:
            await self._child.stop()
        finally:
            if self._watching is not None:
                self._watching.cancel()
        if self._watching is not None:
            await end_tasks(self._watching)

    def _hear(self, text: bytes) -> None:
        self._silent_looks = 0
        self._heard(read_by_service(text))
        if self._watching is None:  # its start may take long; from its first word on it reports
            self._watching = start_task(self._watch(), f"watch {self._setup.mix} {self.pid}")

    async def _watch(self) -> None:
        """Kill it when it stands still: nobody else would, and its picture would stay for ever."""
        # Counted in looks: a service that slept itself has missed nothing.
        while self._silent_looks < self._most_silent_looks:
            self._silent_looks += 1
            await asyncio.sleep(_LOOK_SECONDS)
        silent_seconds = self._most_silent_looks * _LOOK_SECONDS
        self.why = f"the mix's process said nothing for {silent_seconds:g} s and was killed"
        self.kill()


def why_it_ended(code: int, last_line: str) -> str:
    """In words, for people."""
    if code == EXIT_CANNOT_START and last_line:
        return last_line
    return f"the mix's process was ended by signal {-code}" if code < 0 else f"the mix's process ended with code {code}"
