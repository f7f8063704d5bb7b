"""Names of things: streams, renditions, outputs, nodes. Built and validated here, never inline."""

import re
from typing import Annotated

from msgspec import Meta

from schemas.errors import InvalidValue

# `--` joins the parts of a compound id (`cam0--main`), so no single id may contain it or touch it.
# `(?!\n)`: Python's `$` would let a trailing newline through into a subject or a file name.
ID_PATTERN = r"^(?!.*--)[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$(?!\n)"
COMPOUND_SEPARATOR = "--"
ID_RULE = "1-63 of a-z, 0-9 and single hyphens, starting and ending with a letter or digit"
_ID = re.compile(ID_PATTERN)

Id = Annotated[
    str,
    Meta(
        pattern=ID_PATTERN,
        description=ID_RULE,
        examples=["cam0"],
    ),
]


def check_id(value: str, field: str = "id") -> str:
    """Return `value` when it is a valid id.

    Raises:
        InvalidValue: names the field, the value and the rule.
    """
    if not _ID.match(value):
        raise InvalidValue(field, value, f"use {ID_RULE}")
    return value


def compound_id(stream: str, name: str) -> str:
    """Id of something that belongs to a stream: rendition `cam0--main`, output `cam0--archive`."""
    return f"{check_id(stream, 'stream')}{COMPOUND_SEPARATOR}{check_id(name, 'name')}"


def split_compound_id(compound: str) -> tuple[str, str]:
    """The (stream, name) of a compound id.

    Raises:
        InvalidValue: when it is not two valid ids joined by `--`.
    """
    stream, separator, name = compound.partition(COMPOUND_SEPARATOR)
    if not separator:
        raise InvalidValue("id", compound, "give <stream>--<name>, for example cam0--main")
    return check_id(stream, "stream"), check_id(name, "name")


def id_from_hostname(hostname: str) -> str:
    """A valid node id made of a host name: `Edge_Box.local` -> `edge-box`."""
    short = hostname.split(".", 1)[0].lower()
    cleaned = re.sub(r"[^a-z0-9]+", "-", short).strip("-")[:63].strip("-")
    return cleaned or "node"
