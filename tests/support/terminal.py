"""A program in a terminal: a real pty, whose screen can be read."""

import fcntl
import os
import pty
import re
import select
import signal
import struct
import termios
from typing import Self

import pyte

from tests.support.pace import Patience

_READ_BYTES = 65_536
_PRIVATE = re.compile(rb"\x1b\[[>=?][\d;]*[a-tv-zA-Z]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1bP[^\x1b]*\x1b\\")
"""Questions to newer terminals, which this one would print."""
_MODES = re.compile(rb"\x1b\[\?[\d;]*[hl]")


class Terminal:
    """Use as a context manager; at its end the program is killed if it still runs."""

    def __init__(self, command: list[str], environment: dict[str, str], columns: int = 80, rows: int = 24) -> None:
        self._screen = pyte.Screen(columns, rows)
        self._stream = pyte.ByteStream(self._screen)
        self.written = b""
        """All that the program has written."""
        self.pid, self._handle = pty.fork()
        if self.pid == 0:
            # Those who run tests beside one another say a size, which would hold whatever the terminal's is.
            kept = {name: value for name, value in environment.items() if name not in ("COLUMNS", "LINES")}
            os.execvpe(command[0], command, {**kept, "TERM": "xterm-256color"})  # noqa: S606  # a test's own program
        self.resize(columns, rows)

    def resize(self, columns: int, rows: int) -> None:
        """As by dragging a window's corner."""
        self._screen.resize(rows, columns)
        fcntl.ioctl(self._handle, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def press(self, keys: str) -> None:
        os.write(self._handle, keys.encode())

    def text(self) -> str:
        return "\n".join(line.rstrip() for line in self._screen.display)

    def wait_for(self, pattern: str, seconds: float = 10.0, *, gone: bool = False) -> str:
        """Until the screen has it, or with `gone` has it no more; returns the screen."""
        patience = Patience(seconds)
        while not patience.is_over():
            self._read()
            if bool(re.search(pattern, self.text())) is not gone:
                return self.text()
        raise AssertionError(f"{'still' if gone else 'no'} {pattern!r} within {patience.seconds} s:\n{self.text()}")

    def wait_end(self, seconds: float = 10.0) -> int:
        """Its exit status."""
        patience = Patience(seconds)
        while not patience.is_over():
            self._read()
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.pid = 0
                return os.waitstatus_to_exitcode(status)
        raise AssertionError(f"it has not ended:\n{self.text()}")

    def _read(self) -> None:
        if not select.select([self._handle], [], [], 0.1)[0]:
            return
        try:
            data = os.read(self._handle, _READ_BYTES)
        except OSError:  # the program has ended
            return
        self.written += data
        self._stream.feed(_PRIVATE.sub(b"", _MODES.sub(b"", data)))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.pid:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        os.close(self._handle)
