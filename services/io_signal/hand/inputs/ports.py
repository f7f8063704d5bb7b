"""All inputs that the hand listens to."""

import asyncio
from collections.abc import Callable
from functools import partial

from schemas.signal_resources import InputSpec
from services.io_signal.hand import drivers
from services.io_signal.hand.drivers.base import InputDriver, Limits
from services.io_signal.hand.inputs.port import InputPort, Tell


class InputPorts:
    """Opens and closes them, one change of an input after the other; never raises for what a device does."""

    def __init__(
        self, limits: Limits, tell: Tell, make: Callable[[InputSpec, Limits], InputDriver] = drivers.input
    ) -> None:
        self._limits, self._tell, self._make = limits, tell, make
        self._ports: dict[str, InputPort] = {}
        self._changing: dict[str, asyncio.Lock] = {}

    async def listen(self, spec: InputSpec) -> None:
        """Have an input as `spec` says from now on; its state is told, also where nothing changes.

        Raises:
            InvalidValue: the spec can never work; what was before is no more.
        """
        async with self._changing.setdefault(spec.input, asyncio.Lock()):
            before = self._ports.get(spec.input)
            if before is not None and before.spec == spec:
                before.tell_again()
                return
            await self._end(spec.input)
            port = InputPort(spec, partial(self._make, spec, self._limits), self._tell)
            self._ports[spec.input] = port
            port.start()

    async def leave(self, name: str) -> None:
        """Have it no more; nothing where it is not there."""
        async with self._changing.setdefault(name, asyncio.Lock()):
            await self._end(name)

    async def _end(self, name: str) -> None:
        if (port := self._ports.pop(name, None)) is not None:
            await port.close()

    async def close(self) -> None:
        """Let go of all."""
        await asyncio.gather(*(self._end(name) for name in tuple(self._ports)))
