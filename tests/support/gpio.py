"""A GPIO chip for processes that are started with `fake_gpio.c` preloaded: a fake kernel boundary, nothing above it."""

import ctypes
import mmap
import os
import shutil
import struct
import subprocess
import time
from ctypes import c_char, c_uint32, c_uint64
from pathlib import Path

import pytest

SOURCE = Path(__file__).with_name("fake_gpio.c")
LINES = 8
_BUILD_SECONDS = 60
# struct gpio_v2_line_event: instant, kind, line, its number among all events and among those of the line.
_EVENT = struct.Struct("=QIIII24x")
_RISING, _FALLING = 1, 2

_CAN_BUILD = shutil.which("gcc") and Path("/usr/include/linux/gpio.h").exists()
needs_gcc = pytest.mark.skipif(
    not _CAN_BUILD and not os.environ.get("CI"), reason="gcc and linux/gpio.h are not there; ops/test-programs.sh"
)

# enum gpio_v2_line_flag
ACTIVE_LOW, INPUT, OUTPUT, PULL_UP, REALTIME = 1 << 1, 1 << 2, 1 << 3, 1 << 8, 1 << 11
BOTH_EDGES = 1 << 4 | 1 << 5


class Line(ctypes.Structure):
    """struct line of fake_gpio.c"""

    flags: int
    changed_ns: int
    pin: int
    changes: int
    consumer: bytes
    _fields_ = (
        ("flags", c_uint64),
        ("changed_ns", c_uint64),
        ("pin", c_uint32),
        ("changes", c_uint32),
        ("consumer", c_char * 32),
    )


class _Chip(ctypes.Structure):
    _fields_ = (("plugged", c_uint32), ("unused", c_uint32), ("line", Line * LINES))


class FakeChip:
    """/dev/gpiochip0 with eight lines."""

    def __init__(self, folder: Path) -> None:
        self._library, self._state = folder / "fake_gpio.so", folder / "gpiochip0"
        subprocess.run(
            ["gcc", "-shared", "-fPIC", "-O2", "-Wall", "-Werror", "-o", str(self._library), str(SOURCE), "-ldl"],
            check=True,
            timeout=_BUILD_SECONDS,
        )
        self._state.write_bytes(bytes(ctypes.sizeof(_Chip)))
        with self._state.open("r+b") as file:
            self._chip = _Chip.from_buffer(mmap.mmap(file.fileno(), 0))
        self._chip.plugged = 1
        self._numbers = [0] * LINES
        self._pipes = []
        for number in range(LINES):
            os.mkfifo(f"{self._state}.{number}")
            self._pipes.append(os.open(f"{self._state}.{number}", os.O_RDWR | os.O_NONBLOCK))

    @property
    def environment(self) -> dict[str, str]:
        return {"LD_PRELOAD": str(self._library), "FAKE_GPIO_STATE": str(self._state)}

    def line(self, number: int) -> Line:
        found: Line = self._chip.line[number]
        return found

    def plug(self, there: bool) -> None:
        self._chip.plugged = there

    def edge(self, number: int, level: bool, lost: int = 0) -> int:
        """An input changes; the instant that the kernel gives it. `lost`: so many before it found no room."""
        self.line(number).pin = level
        self._numbers[number] += 1 + lost
        at_ns = time.time_ns()
        count = self._numbers[number]
        os.write(self._pipes[number], _EVENT.pack(at_ns, _RISING if level else _FALLING, number, count, count))
        return at_ns

    def close(self) -> None:
        for pipe in self._pipes:
            os.close(pipe)
