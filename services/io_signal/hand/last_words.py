"""What a hand does after its service has died: left in a file, for the next one to tell."""

import logging
import os
from pathlib import Path
from typing import Final

from services.io_signal.hand.protocol import FromHand, Output, line
from shared.standard_lines import StandardLines

log = logging.getLogger(__name__)

_MOST: Final = 1_024  # outputs there are at most


class LastWords:
    """Tells the service what happens, and notes it once nobody listens."""

    def __init__(self, lines: StandardLines, path: Path) -> None:
        self._lines, self._path = lines, path
        self._noted: list[Output] | None = None

    def tell(self, message: FromHand) -> None:
        if self._noted is None:
            self._lines.tell(message)
        elif isinstance(message, Output) and message.changed and len(self._noted) < _MOST:
            self._noted.append(message)

    def service_has_gone(self) -> None:
        self._noted = []

    def write(self) -> None:
        """Blocks; nothing where nothing was done."""
        if not self._noted:
            return
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o750)
            handle = os.open(self._path, flags, 0o640)
            try:
                os.write(handle, b"".join(map(line, self._noted)))
            finally:
                os.close(handle)
        except OSError as error:
            log.warning("%s: %s", self._path, error.strerror)
