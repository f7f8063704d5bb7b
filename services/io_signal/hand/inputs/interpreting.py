"""From what a device delivers to the value that the input is set up for."""

import math
import re
from typing import Final

from schemas.signal_resources import EventDetail, InputSpec
from services.io_signal.hand.drivers.base import Reading
from services.io_signal.patterns import compile_pattern

_ON: Final = frozenset(("1", "on", "true", "high", "yes"))
_OFF: Final = frozenset(("0", "off", "false", "low", "no"))
_WHOLE: Final = re.compile(r"[+-]?[0-9]{1,19}")
_NUMBER: Final = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]{1,3})?")
_LARGEST: Final = 2**63 - 1  # what readers of JSON take for a whole number
VALUE_GROUP: Final = "value"


class Interpreter:
    """Knows the spec's `value`, `polarity` and `pattern`."""

    def __init__(self, spec: InputSpec) -> None:
        """Raises:
        InvalidValue: `pattern` is no regular expression.
        """
        self._kind, self._inverted = spec.value, spec.polarity == "active-low"
        self._pattern = compile_pattern(spec.pattern, "pattern") if spec.pattern is not None else None
        self._group: int | str = VALUE_GROUP if self._pattern and VALUE_GROUP in self._pattern.groupindex else 0

    def value(self, reading: Reading) -> EventDetail:
        """None: the line does not match, or is no such value."""
        given = reading.value
        if isinstance(given, str):
            found = self._matched(given)
            if found is None:
                return None
            given = found
        if self._kind == "text":
            return given if isinstance(given, str) else str(given)
        if self._kind == "number":
            return _number(given)
        level = _level(given)
        return level if level is None else level != self._inverted

    def _matched(self, line: str) -> str | None:
        if self._pattern is None:
            return line
        found = self._pattern.search(line)
        return found.group(self._group) if found is not None else None


def _level(given: bool | float | int | str) -> bool | None:
    if not isinstance(given, str):
        return bool(given)
    word = given.strip().lower()
    return True if word in _ON else False if word in _OFF else None


def _number(given: bool | float | int | str) -> int | float | None:
    if isinstance(given, str):
        text = given.strip()
        if _WHOLE.fullmatch(text):
            given = int(text)
        elif _NUMBER.fullmatch(text):
            given = float(text)
        else:
            return None
    if isinstance(given, bool):
        return int(given)
    return given if math.isfinite(given) and abs(given) <= _LARGEST else None
