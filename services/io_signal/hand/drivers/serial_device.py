"""Serial devices as files: which may be opened, how they are set and locked, and what is wrong with them."""

import errno
import fcntl
import os
import stat
import termios
from contextlib import suppress
from pathlib import Path
from typing import Final

import serial

from services.io_signal.hand.drivers.base import DeviceError
from services.io_signal.signals.address_options import SerialOptions
from services.io_signal.signals.addresses import SerialAddress

_PARITIES: Final = {"none": serial.PARITY_NONE, "even": serial.PARITY_EVEN, "odd": serial.PARITY_ODD}
_TTY_DRIVERS: Final = Path("/proc/tty/drivers")
_SERIAL_KINDS: Final = ("serial", "pty:slave")


def open_device(address: SerialAddress, roots: tuple[Path, ...]) -> serial.Serial:
    """In a thread: opening a device asks its driver, and that may take its time.

    Raises:
        DeviceError: it is not there, no serial device, outside of `roots`, or in use.
    """
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
        raise DeviceError(f"{address} cannot be opened: {reason_of(error)}") from None
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
        raise DeviceError(f"{address} cannot be opened: {reason_of(error)}") from None
    except (ValueError, termios.error) as error:
        raise DeviceError(f"{address} cannot be set to {shown_settings(options)}: {error}") from None
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


def close_device(device: serial.Serial) -> None:
    with suppress(OSError, termios.error):
        fcntl.ioctl(device.fileno(), termios.TIOCNXCL)  # a pty keeps it for whoever opens it next
    with suppress(OSError):
        device.close()


def shown_settings(options: SerialOptions) -> str:
    return f"baud={options.baud}&parity={options.parity}&stop={options.stop}&bits={options.bits}"


def reason_of(error: OSError) -> str:
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
