"""What is wrong with a request, as a person says it."""

import re
from types import NoneType
from typing import Any, Literal, get_args, get_origin

import msgspec

from schemas.ids import ID_PATTERN, ID_RULE
from schemas.packets import UNREADABLE
from shared.urls import redact

_SHOWN_VALUE_CHARACTERS = 120  # a hostile value must not flood a terminal or a log
MAX_ERROR_CHARACTERS = 2_000  # all fields of the largest request are named in half of it
_STEP = re.compile(r"\.?([A-Za-z0-9_]+)|\[(\d+|\.\.\.)\]")  # of msgspec's paths: `.name`, `[0]`, `[...]` in a mapping
_ANY_KEY = "..."


def explain_decode_error(error: Exception, request: type[Any], data: bytes) -> str:
    """msgspec's text as a person says it: the field, its value, and what is allowed or which fields there are."""
    # Names of fields come from outside as they are; the text becomes a header of the reply.
    return one_line(_explained(error, request, data))


def one_line(text: str, most_characters: int = MAX_ERROR_CHARACTERS) -> str:
    """`text` without what could not be printed, and no longer than that: its beginning and its end."""
    plain = "".join(character if character.isprintable() else " " for character in _cut(text, most_characters))
    return plain.strip()


def _cut(text: str, most_characters: int) -> str:
    if len(text) <= most_characters:
        return text
    half = (most_characters - 1) // 2
    return f"{text[:half]}…{text[-half:]}"


def _explained(error: Exception, request: type[Any], data: bytes) -> str:
    text, _, path = str(error).partition(" - at `$")
    path = path.rstrip("`").removeprefix(".")
    if not isinstance(error, msgspec.ValidationError):
        return f"not JSON: {text}; write an object, for example {_example(request)}"
    kind, value, path = _find(request, _given(data), path)
    if text.startswith("Object "):
        struct = _struct(kind)
        known = sorted(msgspec.structs.fields(struct), key=lambda field: not field.required) if struct else []
        where = f"{path}: " if path else ""
        return f"{where}{text[0].lower()}{text[1:]}; there are {', '.join(field.encode_name for field in known)}"
    if not path:
        return text
    text = text.replace(f"`str` matching regex {ID_PATTERN!r}", f"an id ({ID_RULE})").replace("Expected", "expected")
    if text.startswith("Invalid enum value"):
        text = f"use one of {', '.join(sorted(_literals(kind), key=_natural))}"
    return f"{path} {_shown(value)}: {text}"


def _example(request: type[Any]) -> str:
    return '{"stream":"cam0"}' if "stream" in request.__struct_fields__ else "{}"


def _given(data: bytes) -> Any:
    try:
        return msgspec.json.decode(data)
    except UNREADABLE:  # nothing at all, or nested too deep behind what is wrong
        return None


def _find(kind: Any, value: Any, path: str) -> tuple[Any, Any, str]:
    """The type and the value at msgspec's path, and the path with the key of a mapping's wrong value in it."""
    shown = ""
    for name, index in _STEP.findall(path):
        if name:
            struct = _struct(kind)
            fields = {field.encode_name: field.type for field in msgspec.structs.fields(struct)} if struct else {}
            kind, value = fields.get(name, Any), _item(value, name)
            shown += f".{name}" if shown else name
        elif index == _ANY_KEY:
            kind = next((get_args(part)[1] for part in _parts(kind) if get_origin(part) is dict), Any)
            items = value.items() if isinstance(value, dict) else ()
            key = next((key for key, item in items if not _fits(item, kind)), "")
            value = _item(value, key)
            shown += f".{key}"
        else:
            kind = next((get_args(part)[0] for part in _parts(kind) if get_origin(part) in (tuple, list)), Any)
            value = _item(value, int(index))
            shown += f"[{index}]"
    return kind, value, shown


def _item(value: Any, key: str | int) -> Any:
    # A key that is given twice is read twice, and not the same both times: what is shown may then not be there.
    try:
        return value[key]
    except (LookupError, TypeError):
        return None


def _parts(kind: Any) -> list[Any]:
    """The types that `kind` stands for: of a union, an annotated type."""
    if get_origin(kind) in (Literal, tuple, list, dict) or not get_args(kind):
        return [kind]
    if hasattr(kind, "__metadata__"):
        return _parts(get_args(kind)[0])
    return [part for argument in get_args(kind) if argument is not NoneType for part in _parts(argument)]


def _struct(kind: Any) -> type[msgspec.Struct] | None:
    return next((part for part in _parts(kind) if isinstance(part, type) and issubclass(part, msgspec.Struct)), None)


def _literals(kind: Any) -> set[str]:
    return {str(value) for part in _parts(kind) if get_origin(part) is Literal for value in get_args(part)}


def _natural(text: str) -> tuple[int, str]:
    return (int(text), text) if text.isdigit() else (0, text)


def _fits(value: Any, kind: Any) -> bool:
    try:
        msgspec.convert(value, kind)
    except msgspec.ValidationError:
        return False
    return True


def _shown(value: Any) -> str:
    """The value; not what may hold a secret that could not be told from the rest."""
    if isinstance(value, list | dict):
        return "[…]" if isinstance(value, list) else "{…}"
    text = msgspec.json.encode(redact(value)[0] if isinstance(value, str) else value).decode()
    return text if len(text) <= _SHOWN_VALUE_CHARACTERS else text[: _SHOWN_VALUE_CHARACTERS - 1] + "…"
