"""A device that speaks Modbus: one connection for all signals and inputs that are behind it."""

import asyncio
import logging
from typing import Final

from pymodbus.exceptions import ModbusException
from pymodbus.framer import FramerBase, FramerRTU, FramerSocket
from pymodbus.pdu import DecodePDU, ModbusPDU

from services.io_signal.hand.drivers.base import DeviceError, Limits
from services.io_signal.hand.drivers.modbus_wire import SerialWire, TcpWire, Wire
from services.io_signal.hand.drivers.sharing import Shared
from services.io_signal.hand.drivers.turns import Turns
from services.io_signal.signals.addresses import SerialAddress, TcpAddress

# Frames and messages are the library's; its client is not used: it sees the end of a connection only when the time of
# a request is over, connects again by itself, and takes what is no Modbus for an error of the program.
logging.getLogger("pymodbus").setLevel(logging.CRITICAL)

_LAST_TRANSACTION: Final = 0xFFFF
_LONGEST_FRAME_BYTES: Final = 260  # Modbus Messaging on TCP/IP V1.0b, 4.1
_SHOWN_BYTES: Final = 16
_MOST_UNASKED_BYTES: Final = 4_096  # late answers are a few; what talks without being asked is no such device
_UNANSWERED_BEFORE_DROPPED: Final = 2  # one may be a unit that is gone behind a gateway that is not
_EXCEPTIONS: Final = {
    1: "it does not know this function",
    2: "it has no such coil or register",
    3: "it does not take this value",
    4: "it has failed",
    5: "it needs more time",
    6: "it is busy",
    8: "its memory has failed",
    10: "the gateway has no way to this unit",
    11: "the unit does not answer its gateway",
}
ILLEGAL_ADDRESS: Final = 2


class ModbusRefusal(DeviceError):
    """The device answered with an exception."""

    def __init__(self, message: str, exception: int) -> None:
        super().__init__(message)
        self.exception = exception


class ModbusLink:
    """Belongs to the event loop. Made by `take_link`."""

    def __init__(self, address: TcpAddress | SerialAddress, limits: Limits) -> None:
        """Raises:
        DeviceError: the serial line is in use with other settings.
        """
        self.address = address
        self._turns = Turns()
        self._framer: FramerBase
        self._wire: Wire
        if isinstance(address, TcpAddress):
            self._framer = FramerSocket(DecodePDU(False))
            self._wire = TcpWire(address, limits, self._take, self._lose)
        else:
            self._framer = FramerRTU(DecodePDU(False))
            self._wire = SerialWire(address, limits, self._take, self._lose)
        self._held = b""
        self._request: ModbusPDU | None = None
        self._answer: asyncio.Future[ModbusPDU] | None = None
        self._transaction = 0
        self._unanswered = 0
        self._quiet_since_seconds = 0.0
        self._unasked_bytes = 0

    async def open(self) -> None:
        """Connect, where that is not so.

        Raises:
            BadRequest: it may not be reached.
            DeviceError: it cannot be reached.
        """
        async with self._turns.turn(command=False):
            await self._wire.open()

    async def ask(self, request: ModbusPDU, *, command: bool) -> ModbusPDU:
        """The answer to a request; until it is there or the caller's time is over. Commands go before polls.

        Raises:
            DeviceError: it cannot be reached, says what is no answer, or answers with an exception (`ModbusRefusal`).
        """
        async with self._turns.turn(command):
            await self._wire.open()
            await self._keep_silence()
            self._transaction = self._transaction % _LAST_TRANSACTION + 1
            request.transaction_id = self._transaction
            self._held, self._request, self._unasked_bytes = b"", request, 0
            answer = self._answer = asyncio.get_running_loop().create_future()
            try:
                await self._wire.write(self._framer.buildFrame(request))
                found: ModbusPDU = await answer
            except asyncio.CancelledError:
                self._note_silence()
                raise
            finally:
                self._request = self._answer = None
                answer.cancel()
        self._unanswered = 0
        if found.isError():
            meant = _EXCEPTIONS.get(found.exception_code, "it refuses")
            where = f"unit {request.dev_id} at {self.address}"
            raise ModbusRefusal(f"{where}: {meant} (exception {found.exception_code})", found.exception_code)
        if found.function_code != request.function_code:
            raise DeviceError(f"{self.address} answers another question than was asked")
        return found

    async def close(self) -> None:
        await self._wire.close()

    async def _keep_silence(self) -> None:
        """So that devices on a serial line see where a frame begins."""
        now = asyncio.get_running_loop().time()
        left = self._quiet_since_seconds + self._wire.silence_seconds - now
        if left > 0:
            await asyncio.sleep(left)

    def _note_silence(self) -> None:
        """Nothing came: a connection whose other end has gone may never say so."""
        self._unanswered += 1
        if self._unanswered >= _UNANSWERED_BEFORE_DROPPED:
            self._unanswered = 0
            self._wire.drop()

    def _take(self, data: bytes) -> None:
        self._quiet_since_seconds = asyncio.get_running_loop().time()
        if self._request is None or self._answer is None or self._answer.done():
            self._unasked_bytes += len(data)  # too late, or never asked for
            if self._unasked_bytes > _MOST_UNASKED_BYTES:
                self._unasked_bytes = 0
                self._wire.drop()
            return
        self._held += data
        if self._is_strange():
            self._refuse_garbage()
            return
        try:
            used, found = self._framer.handleFrame(self._held, self._request.dev_id, self._request.transaction_id)
        except (ModbusException, ValueError, IndexError):
            self._refuse_garbage()
            return
        if found is not None:
            self._answer.set_result(found)
            return
        self._held = self._held[used:]

    def _is_strange(self) -> bool:
        """What the framer would wait behind for ever."""
        if len(self._held) > _LONGEST_FRAME_BYTES:
            return True
        protocol = self._held[2:4]  # MBAP header: after the transaction's number, 0 means Modbus
        return isinstance(self.address, TcpAddress) and any(protocol)

    def _refuse_garbage(self) -> None:
        shown = self._held[:_SHOWN_BYTES].hex(" ")
        self._held = b""
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(DeviceError(f"{self.address} says what is no Modbus: {shown}"))
        self._wire.drop()

    def _lose(self, error: DeviceError) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(error)


_links: Final[Shared[ModbusLink]] = Shared()


def take_link(address: TcpAddress | SerialAddress, limits: Limits) -> ModbusLink:
    """The connection to a device; `leave_link` for each user.

    Raises:
        DeviceError: its serial line is in use with other settings.
    """
    there = _links.find(str(address))
    if there is not None and there.address != address:
        raise DeviceError(f"{address} is in use with other settings; give all of its users the same")
    return _links.take(str(address), lambda: ModbusLink(address, limits))


async def leave_link(link: ModbusLink) -> None:
    await _links.leave(str(link.address))
