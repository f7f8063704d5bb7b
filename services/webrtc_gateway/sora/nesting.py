"""How deeply what one party says is nested that others are told."""

from typing import Any

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
