"""Files of keys: lines of `name: key` (YAML), a list of keys where an old one of the name is still good for a while.

What a key is, each API says itself; here is what their files have in common.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import yaml

from schemas.errors import BadRequest, InvalidValue
from schemas.ids import check_id
from shared.private_file import read_private


class NamedKey(NamedTuple):
    """One key of a file, not looked at yet."""

    name: str
    """Whose it is."""
    text: str
    """Empty: it is no text."""
    line: str
    """The file and its line, for errors; nothing of the key is in it."""

    def __repr__(self) -> str:
        return f"NamedKey(name={self.name!r}, line={self.line!r})"


def read_named_keys(path: Path, what: str, key_form: str, reserved: tuple[str, ...]) -> Iterator[NamedKey]:
    """The keys, in the order of the file.

    Args:
        what: names the file in errors.
        key_form: how a key is written, for errors.
        reserved: names of what comes without a key of the file.

    Raises:
        NotFound: there is none.
        BadRequest: others may read or change it, or it is malformed; names the line, never a key.
    """
    where = f"{what} {str(path)!r}"
    lines = f"write lines of name: {key_form}"
    text = read_private(path, what)
    try:
        # The nodes, not the values: a key of digits stays text, and a name that is there twice is seen.
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        raise BadRequest(f"{where}: not YAML{f' in line {mark.line + 1}' if mark else ''}") from None
    except (UnicodeDecodeError, RecursionError):
        raise BadRequest(f"{where}: not YAML; {lines}") from None
    if root is None:
        return
    if not isinstance(root, yaml.MappingNode):
        raise BadRequest(f"{where}: {lines}")
    names: set[str] = set()
    for name_node, value in root.value:
        line = f"{where}, line {name_node.start_mark.line + 1}"
        if not isinstance(name_node, yaml.ScalarNode):
            raise BadRequest(f"{line}: {lines}")
        name = _checked(name_node.value, line, reserved)
        if name in names:
            raise BadRequest(f"{line}: {name} is there twice; write several keys of one name as [new, old]")
        names.add(name)
        for node in value.value if isinstance(value, yaml.SequenceNode) else [value]:
            yield NamedKey(name, node.value if isinstance(node, yaml.ScalarNode) else "", line)


def _checked(text: str, line: str, reserved: tuple[str, ...]) -> str:
    try:
        name = check_id(text, "name")
    except InvalidValue as error:
        # Whoever wrote `key: name` finds no key in the log.
        raise BadRequest(f"{line}: a name must be {error.fix.removeprefix('use ')}") from None
    if name in reserved:
        raise BadRequest(f"{line}: {name} is the name of what comes without a key of this file; choose another one")
    return name
