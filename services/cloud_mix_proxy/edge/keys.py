"""Access keys: a file of `name: <access key>:<secret key>` lines (YAML), a list of them where an old one is still good.

robot: AKLTROBOT1:4f9c2d718a534f60b1ce2d5c0c1f7a10
studio: [AKLTSTUDIO2:new-secret-of-the-studio, AKLTSTUDIO1:old-secret-of-the-studio]
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NamedTuple

from schemas.errors import BadRequest, InvalidValue
from shared.door.key_file import read_named_keys

MAX_KEYS: Final = 1_024  # a list that a person keeps
MIN_SECRET_CHARACTERS: Final = 16
LOCAL_OWNER: Final = "local"
"""Whose tasks are those that come where there are no keys."""
SETTINGS_OWNER: Final = "main"
"""Whose tasks are those of the key in the settings."""
_PAIR: Final = re.compile(rf"([A-Za-z0-9._=+-]{{4,128}}):([\x21-\x7e]{{{MIN_SECRET_CHARACTERS},512}})", re.ASCII)
_PAIR_RULE: Final = (
    "<access key>:<secret key>, the first of 4 to 128 letters, digits and . _ = + -, the second of "
    f"{MIN_SECRET_CHARACTERS} to 512 visible ASCII characters"
)
_WHAT: Final = "access keys file"


class Key(NamedTuple):
    """What belongs to an access key."""

    secret: str
    owner: str
    """Name: of several keys of one owner all have the same tasks."""

    def __repr__(self) -> str:
        return f"Key(owner={self.owner!r})"


@dataclass(frozen=True)
class AccessKeys:
    """By access key, which is no secret; secrets are only compared by what they sign."""

    of: Mapping[str, Key] = field(default_factory=dict, repr=False)

    def secret(self, access_key: str) -> str | None:
        found = self.of.get(access_key)
        return found.secret if found else None

    def owner(self, access_key: str) -> str:
        return self.of[access_key].owner


def read_keys(path: Path | None, access_key: str = "", secret_key: str = "") -> AccessKeys:
    """The keys of the file, and the one of the settings.

    Raises:
        NotFound: there is no such file.
        BadRequest: others may read or change it, or it is malformed; names the line, never a secret.
        InvalidValue: what the settings have is no key.
    """
    found: dict[str, Key] = {}
    if access_key or secret_key:
        if not _PAIR.fullmatch(f"{access_key}:{secret_key}") or ":" in access_key:
            raise InvalidValue("access_key", access_key, f"give it and secret_key, as in {_PAIR_RULE}")
        found[access_key] = Key(secret_key, SETTINGS_OWNER)
    if path is not None:
        _read_file(path, found)
    if len(found) > MAX_KEYS:
        raise BadRequest(f"{_WHAT} {str(path)!r}: give at most {MAX_KEYS} keys")
    return AccessKeys(found)


def _read_file(path: Path, found: dict[str, Key]) -> None:
    for name, text, line in read_named_keys(path, _WHAT, "<access key>:<secret key>", (LOCAL_OWNER, SETTINGS_OWNER)):
        pair = _PAIR.fullmatch(text)
        if pair is None:
            raise BadRequest(f"{line}: the key of {name} must be {_PAIR_RULE}")
        access_key, secret = pair.groups()
        if access_key in found:
            raise BadRequest(f"{line}: access key {access_key} is there already")
        found[access_key] = Key(secret, name)
