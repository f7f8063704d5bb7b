"""Pictures of a sample that are too old, or too many, are taken away; nothing else is touched."""

import logging
import os
import re
from pathlib import Path
from typing import Final, NamedTuple

_log = logging.getLogger(__name__)

_MAX_LOOKED_AT: Final = 1_000_000  # pictures of one sample: a week of one each second


class Kept(NamedTuple):
    modified_s: float
    size_bytes: int
    folder: str
    name: str


def take_away(
    root: Path,
    below: str,
    pattern: re.Pattern[str],
    head: str,
    now_s: float,
    keep_s: float | None,
    keep_bytes: int | None,
) -> int:
    """Take away what is too much; returns how many. Blocks. Never follows a link.

    Args:
        below: the folder below `root` that they all lie in.
        head: what stands before the path below `root` in what `pattern` matches.
    """
    kept = _all(root, below, pattern, head)
    kept.sort()
    total = sum(one.size_bytes for one in kept)
    gone = 0
    for one in kept:
        too_old = keep_s is not None and one.modified_s < now_s - keep_s
        if not too_old and (keep_bytes is None or total <= keep_bytes):
            break
        total -= one.size_bytes
        gone += _unlink(root, one)
    return gone


def _all(root: Path, below: str, pattern: re.Pattern[str], head: str) -> list[Kept]:
    found: list[Kept] = []
    for folder, folders, names, fd in os.fwalk(root / below, follow_symlinks=False):
        folders.sort()
        relative = os.path.relpath(folder, root)
        for name in names:
            path = name if relative == "." else f"{relative}/{name}"
            if not pattern.fullmatch(head + path):
                continue
            try:
                about = os.stat(name, dir_fd=fd, follow_symlinks=False)
            except OSError:  # somebody else took it away
                continue
            found.append(Kept(about.st_mtime, about.st_size, relative, name))
        if len(found) >= _MAX_LOOKED_AT:
            _log.warning("more than %d pictures below %s; the others are looked at later", _MAX_LOOKED_AT, root / below)
            break
    return found


def _unlink(root: Path, one: Kept) -> bool:
    try:
        folder = os.open(root / one.folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        os.unlink(one.name, dir_fd=folder)
    except OSError as error:
        _log.info("%s stays: %s", root / one.folder / one.name, error.strerror)
        return False
    finally:
        os.close(folder)
    return True
