"""A serial device: opened once, for this process alone, and read and written by its file descriptor in the loop."""

import asyncio
import fcntl
import os
import termios
from collections.abc import Callable
from contextlib import suppress
from typing import Final

import serial

from services.io_signal.hand.drivers.base import DeviceError, Limits
from services.io_signal.hand.drivers.serial_device import close_device, open_device, reason_of, shown_settings
from services.io_signal.hand.drivers.sharing import Shared
from services.io_signal.hand.drivers.turns import Turns
from services.io_signal.signals.addresses import SerialAddress

_READ_BYTES: Final = 4_096  # a tty hands over no more at once
_INT_BYTES: Final = bytes(4)  # what TIOCOUTQ fills in

TakeBytes = Callable[[bytes], None]
TakeLoss = Callable[[DeviceError], None]


class SerialLine:
    """A line that is shared by all signals and inputs of its device. Made by `take_line`."""

    def __init__(self, address: SerialAddress, limits: Limits) -> None:
        self.address, self.turns = address, Turns()
        self._roots = limits.serial_roots
        self._serial: serial.Serial | None = None
        self._opening: asyncio.Future[serial.Serial] | None = None
        self._listeners: dict[object, tuple[TakeBytes, TakeLoss]] = {}
        self._left = False
        self._gone: DeviceError | None = None

    @property
    def is_open(self) -> bool:
        return self._serial is not None

    async def open(self) -> None:
        """Nothing where it is open.

        Raises:
            DeviceError: it is not there, no serial device, outside the folders that are allowed, or in use.
        """
        if self._serial is not None:
            return
        # A driver may hang in open(2): whoever comes next waits for the same call, and no more threads are lost.
        if self._opening is None or self._opening.done():
            self._opening = asyncio.ensure_future(asyncio.to_thread(open_device, self.address, self._roots))
            self._opening.add_done_callback(self._have)
        await asyncio.shield(self._opening)

    def listen(self, take: TakeBytes, lost: TakeLoss) -> Callable[[], None]:
        """Hand over what comes in, and tell when the device is gone; until the function returned is called."""
        mine = object()
        self._listeners[mine] = (take, lost)
        return lambda: self._listeners.pop(mine, None) and None

    async def write(self, data: bytes) -> None:
        """Send `data`; returns once the driver has nothing of it left but what its own FIFO holds.

        What a cancelled call has not sent is thrown away: it must not come out after a later command.

        Raises:
            DeviceError: the device is gone, or not open.
        """
        try:
            while data:
                data = data[self._wrote(data) :]
                if data:
                    await self._room()
            while waiting := self._waiting_bytes():  # noqa: ASYNC110
                # Nothing tells when a tty has sent what it holds, but a call that blocks.
                await asyncio.sleep(waiting * self.address.options.character_seconds)
        except asyncio.CancelledError:
            if self._serial is not None:
                with suppress(termios.error):
                    termios.tcflush(self._serial.fileno(), termios.TCOFLUSH)
            raise

    async def close(self) -> None:
        self._left = True
        device = self._detach()
        if device is not None:
            # The kernel waits here for what is still to be sent, up to 30 s.
            await asyncio.shield(asyncio.to_thread(close_device, device))

    def _have(self, opening: "asyncio.Future[serial.Serial]") -> None:
        if opening.cancelled() or opening.exception() is not None:
            return
        if self._left:
            asyncio.get_running_loop().run_in_executor(None, close_device, opening.result())
            return
        self._serial = opening.result()
        asyncio.get_running_loop().add_reader(self._serial.fileno(), self._read)

    def _detach(self) -> serial.Serial | None:
        device, self._serial = self._serial, None
        if device is not None:
            loop = asyncio.get_running_loop()
            loop.remove_reader(device.fileno())
            loop.remove_writer(device.fileno())
        return device

    def _descriptor(self) -> int:
        if self._serial is None:
            raise self._gone or DeviceError(f"{self.address} is not open")
        return int(self._serial.fileno())

    def _read(self) -> None:
        descriptor = self._descriptor()
        try:
            data = os.read(descriptor, _READ_BYTES)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            self._lose(reason_of(error))
            return
        if not data:  # ready, and nothing to read: unplugged
            self._lose("it was unplugged")
            return
        for take, _ in tuple(self._listeners.values()):
            take(data)

    def _wrote(self, data: bytes) -> int:
        descriptor = self._descriptor()
        try:
            return os.write(descriptor, data)
        except (BlockingIOError, InterruptedError):
            return 0
        except OSError as error:
            raise self._lose(reason_of(error)) from None

    async def _room(self) -> None:
        loop, descriptor = asyncio.get_running_loop(), self._descriptor()
        ready = asyncio.Event()
        loop.add_writer(descriptor, ready.set)
        stop = self.listen(lambda data: None, lambda error: ready.set())  # the next write tells of the loss
        try:
            await ready.wait()
        finally:
            stop()
            if self._serial is not None:  # else its number may be another file's by now
                loop.remove_writer(descriptor)

    def _waiting_bytes(self) -> int:
        descriptor = self._descriptor()
        try:
            return int.from_bytes(fcntl.ioctl(descriptor, termios.TIOCOUTQ, _INT_BYTES), "little")
        except OSError as error:
            raise self._lose(reason_of(error)) from None

    def _lose(self, reason: str) -> DeviceError:
        """Let go of a device that is gone, and tell those who listen."""
        told = self._gone = DeviceError(f"{self.address} is gone: {reason}")
        device = self._detach()
        if device is not None:
            # Closing what was unplugged may take its time too.
            asyncio.get_running_loop().run_in_executor(None, close_device, device)
        for _, lost in tuple(self._listeners.values()):
            lost(told)
        return told


_lines: Final[Shared[SerialLine]] = Shared()


def take_line(address: SerialAddress, limits: Limits) -> SerialLine:
    """The line of a device, which all its users must want alike; `leave_line` for each of them.

    Raises:
        DeviceError: another signal or input has it with other settings.
    """
    there = _lines.find(address.device)
    if there is not None and there.address != address:
        raise DeviceError(
            f"{address} is in use with {shown_settings(there.address.options)}; give all of its users the same"
        )
    return _lines.take(address.device, lambda: SerialLine(address, limits))


async def leave_line(line: SerialLine) -> None:
    await _lines.leave(line.address.device)
