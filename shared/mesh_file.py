"""Reading mesh.yaml from disk: YAML, `${NAME}` filled in from the environment, profiles from files beside it."""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import yaml

from schemas.errors import BadRequest, NotFound
from schemas.mesh_file import MeshPlan, plan_from_mapping
from shared.profile_file import load_profile
from shared.urls import MASK, scrub

_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
_MAX_BYTES = 1 << 20  # a mesh of thousands of cameras is smaller
_MAX_VALUES = _MAX_BYTES  # a value takes a byte at least; only aliases of aliases make more out of such a file
_MAX_DEPTH = 16  # streams, name, renditions, name, field: five; an alias of what it lies in has no end


def load_mesh_file(path: Path, environ: Mapping[str, str] | None = None) -> MeshPlan:
    """The plan that the file stands for.

    Raises:
        NotFound: there is no such file, or it uses a variable that is not set.
        BadRequest: it is not YAML, or a field is wrong; names the line or the path, never what was filled in.
    """
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise BadRequest(f"{path}: larger than {_MAX_BYTES} bytes; this is no mesh.yaml")
        document = yaml.safe_load(path.read_text())
    except OSError as error:
        raise NotFound(f"{path}: {error.strerror}") from None
    except RecursionError:
        raise BadRequest(f"{path}: nested too deep; this is no mesh.yaml") from None
    except (yaml.YAMLError, ValueError) as error:  # ValueError: bad UTF-8, or a date like 2026-99-99
        mark = getattr(error, "problem_mark", None)
        where = f" line {mark.line + 1}" if mark else ""
        raise BadRequest(f"{path}{where}: not YAML: {scrub(getattr(error, 'problem', None) or str(error))}") from None
    filler = _Filler(os.environ if environ is None else environ, path)
    try:
        return plan_from_mapping(_with_profiles(filler.fill(document), path.parent))
    except BadRequest as error:
        raise BadRequest(filler.hide(error.message)) from None


def _with_profiles(document: Any, folder: Path) -> Any:
    """The document with `profile: night.json` of a stream replaced by what is in that file; what the stream says
    itself wins.

    Raises:
        NotFound, BadRequest: name the stream and the file.
    """
    streams = document.get("streams") if isinstance(document, dict) else None
    if not isinstance(streams, dict):
        return document
    return {**document, "streams": {name: _with_profile(name, entry, folder) for name, entry in streams.items()}}


def _with_profile(name: object, entry: Any, folder: Path) -> Any:
    if not isinstance(entry, dict) or "profile" not in entry:
        return entry
    given = entry["profile"]
    if not isinstance(given, str):
        raise BadRequest(f"streams.{name}.profile: write the name of a JSON file, for example night.json")
    try:
        profile = load_profile(folder / Path(given).expanduser())
    except NotFound as error:
        raise NotFound(f"streams.{name}.profile: {error.message}") from None
    except BadRequest as error:
        raise BadRequest(f"streams.{name}.profile: {error.message}") from None
    own = {key: value for key, value in entry.items() if key != "profile"}
    return {**msgspec.to_builtins(profile), **own}


class _Filler:
    """Fills variables into strings after parsing, so that a password cannot change the file's structure."""

    def __init__(self, environ: Mapping[str, str], path: Path) -> None:
        self._environ = environ
        self._path = path
        self._filled: set[str] = set()
        self._values = 0

    def fill(self, value: Any, depth: int = 0) -> Any:
        """A copy of a parsed value with `${NAME}` replaced.

        Raises:
            NotFound: a variable is not set.
            BadRequest: aliases make it endless, or huge.
        """
        self._values += 1
        if depth > _MAX_DEPTH or self._values > _MAX_VALUES:
            raise BadRequest(f"{self._path}: nested too deep, or an alias (*name) that holds itself")
        if isinstance(value, str):
            return _VARIABLE.sub(self._one, value)
        if isinstance(value, dict):
            return {key: self.fill(item, depth + 1) for key, item in value.items()}
        if isinstance(value, list):
            return [self.fill(item, depth + 1) for item in value]
        return value

    def hide(self, text: str) -> str:
        """An error's text without what was filled in, whichever field it was written into, and without passwords."""
        for value in sorted(self._filled, key=len, reverse=True):
            for form in (value, repr(value)[1:-1]):
                text = text.replace(form, MASK)
        return scrub(text)

    def _one(self, match: re.Match[str]) -> str:
        if match[1] not in self._environ:
            raise NotFound(f"{self._path}: ${{{match[1]}}} is not set in the environment")
        value = self._environ[match[1]]
        if value:
            self._filled.add(value)
        return value
