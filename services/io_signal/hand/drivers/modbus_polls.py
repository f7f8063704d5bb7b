"""Reading the inputs of a device again and again: those that lie side by side in one request."""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from services.io_signal.hand.drivers.base import DeviceError, Limits
from services.io_signal.hand.drivers.modbus_link import (
    ILLEGAL_ADDRESS,
    ModbusLink,
    ModbusRefusal,
    leave_link,
    take_link,
)
from services.io_signal.hand.drivers.modbus_tables import Range, range_of, ranges
from services.io_signal.hand.drivers.sharing import Shared
from services.io_signal.signals.addresses import ModbusAddress, SerialAddress, TcpAddress
from shared.tasks import end_tasks, set_within, start_task

_ANSWER_SECONDS: Final = 0.3  # a unit that is gone holds up all others on its line for so long

TakeWords = Callable[[Sequence[int], int], None]


@dataclass(eq=False)
class Member:
    """One input among those that are read together."""

    address: ModbusAddress
    take: TakeWords
    """Called with what it holds and the CLOCK_REALTIME in ns at which the answer came."""
    failed: "asyncio.Future[None]" = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    """Raises what went wrong; the member is read no more then."""


class Polls:
    """Reads what is to be read as often, of one device. Made by `take_polls`."""

    def __init__(self, name: str, address: TcpAddress | SerialAddress, every_seconds: float, limits: Limits) -> None:
        self.name = name
        self._link: ModbusLink = take_link(address, limits)
        self._every_seconds = every_seconds
        self._members: list[Member] = []
        self._ranges: list[Range] = []
        self._alone: set[Member] = set()
        """Those that cannot be read together with others."""
        self._changed = asyncio.Event()
        self._task = start_task(self._run(), f"polls of {address}")

    async def open(self) -> None:
        """Raises: as `ModbusLink.open`."""
        await self._link.open()

    def add(self, member: Member) -> None:
        self._members.append(member)
        self._arrange()

    def remove(self, member: Member) -> None:
        if member in self._members:
            self._members.remove(member)
            self._arrange()

    async def close(self) -> None:
        await end_tasks(self._task)
        await leave_link(self._link)

    def _arrange(self) -> None:
        self._alone.intersection_update(self._members)
        together = [one.address for one in self._members if one not in self._alone]
        self._ranges = ranges(together) + [range_of(one.address) for one in self._alone]
        self._changed.set()

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        next_seconds = loop.time()
        while True:
            if not self._members:
                self._changed.clear()
                await self._changed.wait()
            for one in tuple(self._ranges):
                await self._read(one)
            next_seconds = max(next_seconds + self._every_seconds, loop.time())
            self._changed.clear()
            await set_within(self._changed, next_seconds - loop.time())  # a new one is read at once

    async def _read(self, one: Range) -> None:
        members = [member for member in self._members if one.holds(member.address) and self._is_of(member, one)]
        if not members:  # arranged anew meanwhile
            return
        try:
            async with asyncio.timeout(_ANSWER_SECONDS):
                answer = await self._link.ask(one.request(), command=False)
            at_ns = time.time_ns()
            words = one.raw(answer)
        except ModbusRefusal as error:
            if error.exception == ILLEGAL_ADDRESS and len(members) > 1:
                # What lies between them may not be read, or one of them.
                self._alone.update(members)
                self._arrange()
            else:
                self._fail(members, error)
        except TimeoutError:
            self._fail(members, DeviceError(f"unit {one.unit} at {self._link.address} does not answer"))
        except Exception as error:  # whatever it is, it is told by those whose input it is
            self._fail(members, error)
        else:
            for member in members:
                begin = member.address.number - one.first
                member.take(words[begin : begin + member.address.count], at_ns)

    def _is_of(self, member: Member, one: Range) -> bool:
        return member not in self._alone or one == range_of(member.address)

    def _fail(self, members: Sequence[Member], error: Exception) -> None:
        for member in members:
            self.remove(member)
            if not member.failed.done():
                member.failed.set_exception(error)


_polls: Final[Shared[Polls]] = Shared()


def take_polls(address: ModbusAddress, every_seconds: float, limits: Limits) -> Polls:
    """Those of a device that are read as often; `leave_polls` for each user.

    Raises:
        DeviceError: its serial line is in use with other settings.
    """
    name = f"{address.device} every {every_seconds:g}"
    return _polls.take(name, lambda: Polls(name, address.device, every_seconds, limits))


async def leave_polls(polls: Polls) -> None:
    await _polls.leave(polls.name)
