"""API keys: a file of `name: key` lines (YAML), a list of keys where an old one is still good for a while.

robot: 4f9c2d71-8a53-4f60-b1ce-2d5c0c1f7a10
studio: [new-key-of-the-studio, old-key-of-the-studio]
"""

import hashlib
import hmac
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from schemas.errors import BadRequest
from shared.door.key_file import read_named_keys

MAX_KEYS: Final = 256  # every one is compared with what comes
MIN_KEY_CHARACTERS: Final = 16
_KEY: Final = re.compile(rf"[\x21-\x7e]{{{MIN_KEY_CHARACTERS},512}}")
_OWN_NAMES: Final = ("mesh", "local")
"""Owners of jobs that come over the bus, and of those that come where no keys are asked for."""
_WHAT: Final = "API keys file"


@dataclass(frozen=True)
class ApiKeys:
    """(SHA-256 of the key, name of its owner), in no order that matters."""

    entries: tuple[tuple[bytes, str], ...] = ()

    def find(self, key: str) -> str | None:
        """Whose it is. Takes as long for a key that is nearly right as for any other."""
        digest = hashlib.sha256(key.encode(errors="surrogateescape")).digest()
        found = None
        for known, name in self.entries:
            if hmac.compare_digest(known, digest):
                found = name
        return found


def read_api_keys(path: Path) -> ApiKeys:
    """Read the file.

    Raises:
        NotFound: there is none.
        BadRequest: others may read or change it, or it is malformed; names the line, never a key.
    """
    entries: list[tuple[bytes, str]] = []
    for name, key, line in read_named_keys(path, _WHAT, "key", _OWN_NAMES):
        if not _KEY.fullmatch(key):
            rule = f"must have {MIN_KEY_CHARACTERS} to 512 visible ASCII characters"
            raise BadRequest(f"{line}: the key of {name} {rule}")
        digest = hashlib.sha256(key.encode()).digest()
        if any(digest == known for known, _ in entries):
            raise BadRequest(f"{line}: this key is there already")
        entries.append((digest, name))
    if len(entries) > MAX_KEYS:
        raise BadRequest(f"{_WHAT} {str(path)!r}: give at most {MAX_KEYS} keys")
    return ApiKeys(tuple(entries))
