"""How large and how deeply nested what one party says may be that others are told."""

from typing import Any

import msgspec

from schemas.errors import InvalidValue

MAX_LEVELS = 16  # clients' JSON parsers end their process at 32, what is around it included


def is_too_deep(value: Any) -> bool:
    """Whether decoded JSON has more than MAX_LEVELS of arrays and objects within one another."""
    level = [value]
    for _ in range(MAX_LEVELS + 1):
        level = [
            inner
            for each in level
            if isinstance(each, dict | list)
            for inner in (each.values() if isinstance(each, dict) else each)
        ]
        if not level:
            return False
    return True


def check_told(name: str, value: Any, most_bytes: int) -> None:
    """Raises:
    InvalidValue: it is too large to be told to many, or nested too deeply for clients.
    """
    if is_too_deep(value):
        raise InvalidValue(name, "nested deeply", f"give at most {MAX_LEVELS} levels")
    size_bytes = len(msgspec.json.encode(value))
    if size_bytes > most_bytes:
        raise InvalidValue(name, f"{size_bytes} bytes", f"give at most {most_bytes}")
