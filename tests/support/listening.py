"""What the hand would tell of its inputs, in the process of a test."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

from schemas.signal_resources import InputSpec
from services.io_signal.hand.drivers.base import Limits
from services.io_signal.hand.inputs.ports import InputPorts
from services.io_signal.hand.protocol import InputIs, Taken
from tests.support.pace import patience

_WAIT_SECONDS = 5.0


class Listening:
    """What the hand would tell of its inputs."""

    def __init__(self, limits: Limits | None = None) -> None:
        self.told: list[Taken | InputIs] = []
        self._changed = asyncio.Event()
        self.ports = InputPorts(limits or Limits(), self._tell)

    def _tell(self, message: Taken | InputIs) -> None:
        self.told.append(message)
        self._changed.set()

    @property
    def taken(self) -> list[Taken]:
        return [one for one in self.told if isinstance(one, Taken)]

    @property
    def states(self) -> list[InputIs]:
        return [one for one in self.told if isinstance(one, InputIs)]

    async def until(self, count: int) -> list[Taken]:
        """So many values."""
        async with patience(_WAIT_SECONDS):
            while len(self.taken) < count:
                self._changed.clear()
                await self._changed.wait()
        return self.taken

    async def until_state(self, state: str) -> InputIs:
        async with patience(_WAIT_SECONDS):
            while not self.states or self.states[-1].state != state:
                self._changed.clear()
                await self._changed.wait()
        return self.states[-1]

    async def until_left_out(self, reason: str) -> int:
        async with patience(_WAIT_SECONDS):
            while not self.states or reason not in self.states[-1].dropped:
                self._changed.clear()
                await self._changed.wait()
        return self.states[-1].dropped[reason]

    async def set_up(self, **fields: Any) -> None:
        await self.ports.listen(InputSpec(**{"input": "di1", **fields}))

    async def listen(self, **fields: Any) -> int:
        """Lines on any free port; the port."""
        await self.set_up(**{"mode": "tcp", "address": "tcp://127.0.0.1:0", **fields})
        active = await self.until_state("active")
        return int(active.address.rpartition(":")[2])


@contextlib.asynccontextmanager
async def listening(limits: Limits | None = None) -> AsyncIterator[Listening]:
    inputs = Listening(limits)
    try:
        yield inputs
    finally:
        await inputs.ports.close()
