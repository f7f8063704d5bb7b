"""`{event.…}` in the fields of a command: a name is looked up in the event's own fields, and nothing is evaluated."""

from itertools import islice
from typing import Any, Final

from schemas.errors import InvalidValue
from schemas.rule_checks import TEMPLATE

_MAX_CHARACTERS: Final = 65_536  # of one text: the longest field of a command
_MAX_NAMED: Final = 16  # fields in an error, which goes into the rule's state and into an event for each action
_NAME_CHARACTERS: Final = 64


def fill(value: Any, event: dict[str, Any], path: str) -> Any:
    """A copy of `value` with what the event says; a text that is one template alone becomes that value, with its type.

    Raises:
        InvalidValue: the event does not have that field, or the text becomes too long.
    """
    if isinstance(value, str):
        whole = TEMPLATE.fullmatch(value)
        if whole is not None:
            return _found(whole[1], event, path)
        filled = TEMPLATE.sub(lambda match: _shown(_found(match[1], event, path)), value)
        if len(filled) > _MAX_CHARACTERS:
            raise InvalidValue(path, filled, f"{len(filled)} characters; {_MAX_CHARACTERS} are the most")
        return filled
    if isinstance(value, dict):
        return {key: fill(item, event, f"{path}.{key}") for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [fill(item, event, f"{path}.{number}") for number, item in enumerate(value)]
    return value


def _found(name: str, event: dict[str, Any], path: str) -> Any:
    value: Any = event
    for part in name.split("."):
        if not isinstance(value, dict) or part not in value:
            has = _names(value) if isinstance(value, dict) else "none below it"
            raise InvalidValue(path, f"{{event.{name}}}", f"the event does not have it; there is {has}")
        value = value[part]
    return value


def _shown(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict | list):
        raise InvalidValue("template", value, "name one of its fields: this is not a text")
    return str(value)


def _names(fields: dict[str, Any]) -> str:
    shown = [name[:_NAME_CHARACTERS] for name in islice(fields, _MAX_NAMED)]
    return ", ".join([*shown, "…"] if len(fields) > len(shown) else shown) or "nothing"
