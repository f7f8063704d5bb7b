"""How values are written in nats-server's configuration."""

from pathlib import Path

from schemas.errors import InvalidValue


def quoted(value: str | Path) -> str:
    """In quotes, where a number would be one otherwise.

    Raises:
        InvalidValue: there is no way to write it.
    """
    text = str(value)
    if any(character in text for character in '"\\') or not text.isprintable():
        raise InvalidValue("path", text, "nats-server's configuration cannot have it; rename it")
    return f'"{text}"'
