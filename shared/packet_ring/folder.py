"""The packet rings in a node's folder of rings: their names, and those whose writer is gone."""

import contextlib
import os
import re
import secrets
from pathlib import Path
from typing import NamedTuple

from schemas.ids import compound_id
from shared.kernel_locks import is_write_locked
from shared.packet_ring.layout import WRITER_LOCK_OFFSET
from shared.ring.errors import BadRing
from shared.ring.file import TEMPORARY_SUFFIX
from shared.ring.folder import open_ring

_SUFFIX = ".pring"
_NAME = re.compile(r"(?P<id>[a-z0-9-]{4,128})\.(?P<run>\d{1,20})\.[0-9a-f]{16}\.pring\Z")
_TEMPORARY_NAME = re.compile(rf"\.[a-z0-9-]{{4,128}}\.\d{{1,20}}\.[0-9a-f]{{16}}\.pring{re.escape(TEMPORARY_SUFFIX)}\Z")


class NamedRing(NamedTuple):
    run: int
    name: str


def new_name(stream: str, rendition: str, run: int) -> str:
    """A name that no ring had before: `<stream>--<rendition>.<run>.<random>.pring`."""
    return f"{compound_id(stream, rendition)}.{run}.{secrets.token_hex(8)}{_SUFFIX}"


def rings_of(folder: Path, stream: str, rendition: str) -> list[NamedRing]:
    """The rendition's rings by name, the oldest run first."""
    wanted = compound_id(stream, rendition)
    found = [match for match in map(_NAME.match, _names(folder)) if match is not None and match["id"] == wanted]
    return sorted(NamedRing(int(match["run"]), match[0]) for match in found)


def renditions_of(folder: Path, stream: str) -> list[str]:
    """The renditions of a stream that have a ring here."""
    ids = {match["id"] for match in map(_NAME.match, _names(folder)) if match is not None}
    return sorted(rendition for owner, _, rendition in (one.partition("--") for one in ids) if owner == stream)


def writers_of(folder: Path, stream: str, rendition: str) -> int:
    """How many of the rendition's rings have a writer that lives."""
    found = 0
    for named in rings_of(folder, stream, rendition):
        try:
            fd = open_ring(folder, named.name, os.O_RDONLY)
        except (OSError, BadRing):  # gone, another user's, or no file
            continue
        try:
            found += is_write_locked(fd, WRITER_LOCK_OFFSET)
        finally:
            os.close(fd)
    return found


def sweep(folder: Path) -> list[str]:
    """Remove the packet rings whose writer is gone; returns their names.

    Safe at any time for whoever may write there: a ring is named only after its writer has locked it, and names are
    never used twice. Readers keep what they have open.
    """
    removed: list[str] = []
    for name in _names(folder):
        if not (_NAME.match(name) or _TEMPORARY_NAME.match(name)):
            continue
        try:
            fd = open_ring(folder, name, os.O_RDONLY)
        except (OSError, BadRing):  # gone, another user's, or no file
            continue
        try:
            if not is_write_locked(fd, WRITER_LOCK_OFFSET):
                with contextlib.suppress(FileNotFoundError):  # somebody else swept it
                    os.unlink(folder / name)
                    removed.append(name)
        finally:
            os.close(fd)
    return removed


def _names(folder: Path) -> list[str]:
    try:
        return os.listdir(folder)
    except FileNotFoundError:  # nobody has written a ring on this node yet
        return []
