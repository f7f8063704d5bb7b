"""What is written to devices that take texts."""

import re
from typing import Final

from schemas.signal_resources import SignalSpec
from services.io_signal.hand.protocol import Switch

_ESCAPE: Final = re.compile(r"\\(n|r|t|\\|x[0-9a-fA-F]{2})")
_PLACE: Final = re.compile(r"\{(signal|type|stream|sequence)\}")
_LETTERS: Final = {"n": "\n", "r": "\r", "t": "\t", "\\": "\\"}
_ASCII: Final = 0x80
_ESCAPED_BYTES: Final = 0xDC00  # where `surrogateescape` (PEP 383) keeps bytes that are no text


def unescaped(text: str) -> str:
    """With `\\n`, `\\r`, `\\t`, `\\\\` and `\\xNN` as what they mean; a byte above 127 goes out as that one byte."""
    return _ESCAPE.sub(_meant, text)


def _meant(match: re.Match[str]) -> str:
    found = match[1]
    if found[0] != "x":
        return _LETTERS[found]
    value = int(found[1:], 16)
    return chr(value if value < _ASCII else _ESCAPED_BYTES + value)


def text_for(spec: SignalSpec, on: bool, switch: Switch | None) -> str:
    """What a device is sent for on or off; empty where it takes no text."""
    if spec.mode in ("gpio", "modbus"):
        return ""
    given = spec.on_text if on else spec.off_text
    if given is None:
        if spec.mode == "io":
            return "1" if on == (spec.polarity == "active-high") else "0"
        given = ("ON {signal}" if on else "OFF {signal}") + "\\n"
    values = {
        "signal": spec.signal,
        "type": (switch.kind if switch else "") or spec.type or "",
        "stream": (switch.stream if switch else "") or (spec.streams[0] if spec.streams else ""),
        "sequence": "" if switch is None or switch.sequence is None else str(switch.sequence),
    }
    # Names and numbers alone are filled in, so nothing of a command becomes an escape.
    return unescaped(_PLACE.sub(lambda match: values[match[1]], given))
