"""A serial device: opened once, for this process alone, and read and written by its file descriptor in the loop."""

import asyncio
import errno
import fcntl
import os
import stat
import termios
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

import serial

from services.io_signal.hand.drivers.base import DeviceError, Limits
from services.io_signal.hand.drivers.sharing import Shared
from services.io_signal.hand.drivers.turns import Turns
from services.io_signal.signals.address_options import SerialOptions
from services.io_signal.signals.addresses import SerialAddress

_PARITIES: Final = {"none": serial.PARITY_NONE, "even": serial.PARITY_EVEN, "odd": serial.PARITY_ODD}
_TTY_DRIVERS: Final = Path("/proc/tty/drivers")
_SERIAL_KINDS: Final = ("serial", "pty:slave")
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
            self._opening = asyncio.ensure_future(asyncio.to_thread(_opened, self.address, self._roots))
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
            await asyncio.shield(asyncio.to_thread(_closed, device))

    def _have(self, opening: "asyncio.Future[serial.Serial]") -> None:
        if opening.cancelled() or opening.exception() is not None:
            return
        if self._left:
            asyncio.get_running_loop().run_in_executor(None, _closed, opening.result())
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
            self._lose(_reason(error))
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
            raise self._lose(_reason(error)) from None

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
            raise self._lose(_reason(error)) from None

    def _lose(self, reason: str) -> DeviceError:
        """Let go of a device that is gone, and tell those who listen."""
        told = self._gone = DeviceError(f"{self.address} is gone: {reason}")
        device = self._detach()
        if device is not None:
            # Closing what was unplugged may take its time too.
            asyncio.get_running_loop().run_in_executor(None, _closed, device)
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
            f"{address} is in use with {_settings(there.address.options)}; give all of its users the same"
        )
    return _lines.take(address.device, lambda: SerialLine(address, limits))


async def leave_line(line: SerialLine) -> None:
    await _lines.leave(line.address.device)


def _opened(address: SerialAddress, roots: tuple[Path, ...]) -> serial.Serial:
    """In a thread: opening a device asks its driver, and that may take its time."""
    path = os.path.realpath(address.device)
    if not any(Path(path).is_relative_to(root.resolve()) for root in roots):
        allowed = ", ".join(map(str, roots)) or "none"
        raise DeviceError(
            f"{address} is outside the folders of serial devices ({allowed}); "
            "add its folder to FRAMEMESH_IO_SIGNAL_SERIAL_ROOTS"
        )
    try:
        is_line = _is_serial(os.stat(path))
    except OSError as error:
        raise DeviceError(f"{address} cannot be opened: {_reason(error)}") from None
    if not is_line:
        raise DeviceError(f"{address} is no serial device")
    options = address.options
    try:
        device = serial.Serial(
            path,
            baudrate=options.baud,
            bytesize=options.bits,
            parity=_PARITIES[options.parity],
            stopbits=options.stop,
            timeout=0,
            write_timeout=0,
            exclusive=True,  # an advisory lock, which pyserial, minicom and picocom look at
        )
        # And for those who look at none: every other open fails.
        fcntl.ioctl(device.fileno(), termios.TIOCEXCL)
    except OSError as error:  # pyserial's own errors are OSErrors
        raise DeviceError(f"{address} cannot be opened: {_reason(error)}") from None
    except (ValueError, termios.error) as error:
        raise DeviceError(f"{address} cannot be set to {_settings(options)}: {error}") from None
    return device


def _is_serial(found: os.stat_result) -> bool:
    """Judged without opening it: to open a watchdog's device is to start the watchdog."""
    if not stat.S_ISCHR(found.st_mode):
        return False
    major, minor = os.major(found.st_rdev), os.minor(found.st_rdev)
    for line in _TTY_DRIVERS.read_text().splitlines():
        # Its name may have spaces: from the end they are the type, the minors and the major.
        *_, its_major, minors, kind = line.split()
        first, _, last = minors.partition("-")
        if kind in _SERIAL_KINDS and int(its_major) == major and int(first) <= minor <= int(last or first):
            return True
    return False


def _closed(device: serial.Serial) -> None:
    with suppress(OSError, termios.error):
        fcntl.ioctl(device.fileno(), termios.TIOCNXCL)  # a pty keeps it for whoever opens it next
    with suppress(OSError):
        device.close()


def _settings(options: SerialOptions) -> str:
    return f"baud={options.baud}&parity={options.parity}&stop={options.stop}&bits={options.bits}"


def _reason(error: OSError) -> str:
    known = {
        errno.ENOENT: "there is no such device",
        errno.EACCES: "no permission; add the user to the group of the device, often dialout",
        errno.EPERM: "no permission; add the user to the group of the device, often dialout",
        errno.EAGAIN: "another program has it",  # the lock
        errno.EBUSY: "another program has it",
        errno.EIO: "it was unplugged",
        errno.ENXIO: "it was unplugged",
        errno.ENODEV: "it was unplugged",
    }
    if error.errno is None:
        return str(error)
    return known.get(error.errno, os.strerror(error.errno).lower())
