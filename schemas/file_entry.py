"""What an entry of a file that people write stands for."""

from typing import Any, TypeVar

import msgspec

from schemas.errors import BadRequest

_EntryT = TypeVar("_EntryT")


def read_entry(value: Any, kind: type[_EntryT], path: str) -> _EntryT:
    """`value`, as YAML has it, as the type that it shall have.

    Raises:
        BadRequest: names the path of the offending field and the fix.
    """
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        text, _, inside = str(error).partition(" - at `$")
        raise BadRequest(f"{path}{inside.rstrip('`')}: {text}") from None
