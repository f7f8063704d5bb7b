"""How people write a mix: in mesh.yaml and on the command line."""

import re
from typing import Any, Final
from urllib.parse import urlsplit

from msgspec import Struct

from schemas.errors import BadRequest
from schemas.file_entry import read_entry
from schemas.mix_resources import MixInput, MixLogo, MixSpec, MixText, check_mix

_NO_NAME: Final = re.compile(r"[^a-z0-9]+")
_NAME_CHARACTERS: Final = 24  # a mix's name stands before it, and 63 are all there are
_ENTRIES: Final = {"inputs": MixInput, "logos": MixLogo, "texts": MixText}


def mix_from_mapping(name: str, raw: Any, path: str) -> MixSpec:
    """The mix that an entry stands for: its fields, and inputs as sources alone or with fields of their own.

    Raises:
        BadRequest: names the path of the offending field and the fix. Values of inputs are not shown: passwords are
            filled in by now.
    """
    if not isinstance(raw, dict):
        raise BadRequest(f"{path}: write a mapping with inputs, for example {{inputs: [mesh://cam0]}}")
    given = dict(raw)
    given["inputs"] = inputs_from(given.get("inputs"), f"{path}.inputs")
    for key, kind in _ENTRIES.items():
        if isinstance(entries := given.get(key), list):
            given[key] = [_convert(entry, kind, f"{path}.{key}.{number}") for number, entry in enumerate(entries)]
    spec: MixSpec = _convert({**given, "mix": name}, MixSpec, path)
    check_mix(spec, f"{path}.")
    return spec


def inputs_from(raw: Any, path: str) -> list[Any]:
    """Inputs with names, of entries that may be sources alone: `mesh://cam0` is input `cam0`.

    Raises:
        BadRequest: it is no list of them.
    """
    if not isinstance(raw, list) or not raw:
        raise BadRequest(f"{path}: write a list of sources, for example [mesh://cam0, file://clip.mp4]")
    entries = [{"source": entry} if isinstance(entry, str) else entry for entry in raw]
    taken = {entry["input"] for entry in entries if isinstance(entry, dict) and "input" in entry}
    named = []
    for number, entry in enumerate(entries):
        if not isinstance(entry, dict) or "input" in entry:
            named.append(entry)
            continue
        name = input_name(str(entry.get("source", "")), number)
        # The same source a second time, or two files of one name.
        name = next(one for one in (name, *(f"{name}-{again}" for again in range(2, 99))) if one not in taken)
        taken.add(name)
        named.append({"input": name, **entry})
    return named


def input_name(source: str, number: int) -> str:
    """A name for an input that was given none: of a stream its own, of a file that of the file."""
    try:
        parts = urlsplit(source)
    except ValueError:  # a bracket that is not closed: refused later on
        return f"input-{number + 1}"
    last = parts.path.rstrip("/").rpartition("/")[2] if parts.path.strip("/") else parts.netloc.rpartition("@")[2]
    name = _NO_NAME.sub("-", last.rpartition(".")[0].lower() or last.lower()).strip("-")
    if parts.scheme == "mesh":
        return last
    return name[:_NAME_CHARACTERS].strip("-") or f"input-{number + 1}"


def _convert(value: Any, kind: Any, path: str) -> Any:
    if isinstance(value, Struct):
        return value
    return read_entry(value, kind, path)
