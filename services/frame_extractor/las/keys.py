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

import yaml

from schemas.errors import BadRequest, InvalidValue
from schemas.ids import check_id
from shared.tokens import read_private

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
    where = f"{_WHAT} {str(path)!r}"
    text = read_private(path, _WHAT)
    try:
        # The nodes, not the values: a key of digits stays text, and a name that is there twice is seen.
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        raise BadRequest(f"{where}: not YAML{f' in line {mark.line + 1}' if mark else ''}") from None
    except (UnicodeDecodeError, RecursionError):
        raise BadRequest(f"{where}: not YAML; write lines of name: key") from None
    if root is None:
        return ApiKeys()
    if not isinstance(root, yaml.MappingNode):
        raise BadRequest(f"{where}: write lines of name: key")
    entries: list[tuple[bytes, str]] = []
    names: set[str] = set()
    for name_node, value in root.value:
        line = f"{where}, line {name_node.start_mark.line + 1}"
        name = _name(name_node, line)
        if name in names:
            raise BadRequest(f"{line}: {name} is there twice; write several keys of one name as [new, old]")
        names.add(name)
        for key in _keys(value, f"{line}: the key of {name}"):
            digest = hashlib.sha256(key.encode()).digest()
            if any(digest == known for known, _ in entries):
                raise BadRequest(f"{line}: this key is there already")
            entries.append((digest, name))
    if len(entries) > MAX_KEYS:
        raise BadRequest(f"{where}: give at most {MAX_KEYS} keys")
    return ApiKeys(tuple(entries))


def _name(node: yaml.Node, line: str) -> str:
    if not isinstance(node, yaml.ScalarNode):
        raise BadRequest(f"{line}: write lines of name: key")
    try:
        name = check_id(node.value, "name")
    except InvalidValue as error:
        # Whoever wrote `key: name` finds no key in the log.
        raise BadRequest(f"{line}: a name must be {error.fix.removeprefix('use ')}") from None
    if name in _OWN_NAMES:
        raise BadRequest(f"{line}: {name} is the name of jobs without a key; choose another one")
    return name


def _keys(node: yaml.Node, line: str) -> list[str]:
    found = node.value if isinstance(node, yaml.SequenceNode) else [node]
    if not all(isinstance(one, yaml.ScalarNode) and _KEY.fullmatch(one.value) for one in found):
        raise BadRequest(f"{line} must have {MIN_KEY_CHARACTERS} to 512 visible ASCII characters")
    return [one.value for one in found]
