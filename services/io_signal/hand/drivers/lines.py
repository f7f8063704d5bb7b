"""Lines out of what comes in pieces."""

from typing import Final

LONGEST_LINE_BYTES: Final = 1_024  # as `Line` of what is sent


class LineSplitter:
    """Cuts bytes at line ends (`\\n`, `\\r` or both); a line that is too long is left out whole."""

    def __init__(self, longest_bytes: int = LONGEST_LINE_BYTES) -> None:
        self._longest = longest_bytes
        self._held = bytearray()
        self._is_too_long = False
        self.too_long = 0
        """Lines left out."""

    def take(self, data: bytes) -> list[str]:
        """The lines that end within `data`; what is not UTF-8 shows as `�`. Empty ones are left out."""
        *ended, rest = (self._held + data.replace(b"\r", b"\n")).split(b"\n")
        self._held = bytearray()
        found = [text for line in ended if (text := self._ended(line))]
        if len(rest) > self._longest:
            self._is_too_long = True
        elif not self._is_too_long:
            self._held = bytearray(rest)
        return found

    def _ended(self, line: bytes | bytearray) -> str:
        if self._is_too_long or len(line) > self._longest:
            self._is_too_long = False
            self.too_long += 1
            return ""
        return line.decode(errors="replace")
