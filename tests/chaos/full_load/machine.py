"""A machine beside the mesh: an output pulsed ten times a second, an input that tells ten lines a second."""

import asyncio
import contextlib
import json
import time
from pathlib import Path
from typing import Final

from schemas.errors import MeshError, Unavailable
from schemas.subjects import command, events_like
from shared.bus import Bus, Message
from tests.chaos.full_load.flows import Flow

SIGNAL, INPUT = "do1", "di1"
PERIOD_SECONDS: Final = 0.1
KEEP_SECONDS: Final = 0.5
"""Longer than a period: while the mesh is well the output is on all the time."""
LATE_SECONDS: Final = 1.0
"""An output that is on for longer than that behind its keep time is not safe."""
_REPLY_SECONDS: Final = 1.0
_LOOK_SECONDS: Final = 0.02
_SERVICE: Final = "io-signal"
_ON: Final = "1"


class Output:
    """What a device sees of its line: a control file."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @property
    def is_on(self) -> bool:
        return self._path.read_text().strip() == _ON

    def off_after(self, seconds: float) -> float | None:
        """How long until it is seen off, if it is; None: not within `seconds`."""
        began = time.monotonic()
        while time.monotonic() - began < seconds:
            if not self.is_on:
                return time.monotonic() - began
            time.sleep(_LOOK_SECONDS)
        return None


class Machine:
    """Pulses the output, sends lines to the input, and looks at the output all the time."""

    def __init__(self, bus: Bus, output: Path, input_port: int, slowness: float, hold: Path) -> None:
        """`hold`: while this file is there, no pulses are given."""
        self._bus, self._output, self._input_port = bus, Output(output), input_port
        self._hold = hold
        self._late_seconds = LATE_SECONDS * slowness
        self.pulses, self.lines = Flow(PERIOD_SECONDS * 6), Flow(PERIOD_SECONDS * 6)
        """Half a second without one is a pause that a machine would notice."""
        self.wrong: list[str] = []
        self._on_until = time.monotonic()
        self._unknown = False
        """A command was given whose fate nobody told: it may be done at any moment."""

    async def pulse(self) -> None:
        """For ever."""
        body = json.dumps({"signal": SIGNAL}).encode()
        while True:
            began = time.monotonic()
            if self._hold.exists():
                await asyncio.sleep(_LOOK_SECONDS)
                continue
            try:
                await self._bus.request_raw(command(_SERVICE, "on"), body, _REPLY_SECONDS)
            except Unavailable:
                self._unknown = self._unknown or time.monotonic() - began >= _REPLY_SECONDS * 0.9
            except MeshError:  # refused: off-mode, a device that fails
                pass
            else:
                self._unknown = False
                self._on_until = time.monotonic() + KEEP_SECONDS
                self.pulses.arrive()
            await asyncio.sleep(max(0.0, began + PERIOD_SECONDS - time.monotonic()))

    async def look(self) -> None:
        """For ever: nothing stays on longer than it was told to."""
        told = False
        while True:
            late = time.monotonic() - self._on_until - self._late_seconds
            stays = self._output.is_on and not self._unknown and late > 0
            if stays and not told:
                self.wrong.append(f"the output is still on {late + self._late_seconds:.2f} s after its keep time")
            told = stays
            await asyncio.sleep(_LOOK_SECONDS)

    async def tell(self) -> None:
        """For ever: a line on the input each period; events of it are arrivals."""

        def heard(_: Message) -> None:
            self.lines.arrive()

        await self._bus.subscribe(events_like(f"{_SERVICE}.{INPUT}.*"), heard)
        number = 0
        while True:
            with contextlib.suppress(OSError):  # its service is away
                _, writer = await asyncio.open_connection("127.0.0.1", self._input_port)
                try:
                    while True:
                        writer.write(f"part {number}\n".encode())
                        await writer.drain()
                        number += 1
                        await asyncio.sleep(PERIOD_SECONDS)
                finally:
                    writer.close()
            await asyncio.sleep(PERIOD_SECONDS)
