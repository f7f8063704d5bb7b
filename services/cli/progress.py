"""A bar on a terminal: how far something is."""

import shutil
import sys
from typing import Self

_MOST_CHARACTERS = 40  # of the bar itself
_TEXT_CHARACTERS = 30  # beside it


class Progress:
    """Use as a context, which takes the bar away at its end; without a terminal nothing is shown."""

    def __init__(self, shown: bool = True) -> None:
        self._shown = shown and sys.stderr.isatty()
        self._drawn = False

    def show(self, done: int, expected: int | None) -> None:
        if self._shown:
            self._draw(bar(done, expected, shutil.get_terminal_size().columns))

    def say(self, text: str) -> None:
        """A line that stays."""
        if self._shown:
            self._draw(text)
            sys.stderr.write("\n")
            self._drawn = False

    def _draw(self, text: str) -> None:
        sys.stderr.write(f"\r\x1b[K{text}")
        sys.stderr.flush()
        self._drawn = True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._drawn:
            self._draw("")


def bar(done: int, expected: int | None, columns: int) -> str:
    """One line no longer than the terminal."""
    if not expected:
        return f"{done} pictures"[:columns]
    width = max(0, min(_MOST_CHARACTERS, columns - _TEXT_CHARACTERS))
    filled = width * min(done, expected) // expected
    text = f"{done}/{expected} pictures {100 * done // expected:3d} %"
    return f"{'█' * filled}{'░' * (width - filled)} {text}"[:columns]
