"""What makes a rule one that can work: its pattern, its durations, the places of its templates. No I/O."""

import re
from collections.abc import Iterator
from typing import Any, Final

from schemas.errors import InvalidValue
from schemas.ids import check_id, split_compound_id
from schemas.signal_resources import Action, RuleSpec, check_rule_actions
from schemas.subjects import PREFIX, SERVICES

_EVENTS: Final = f"{PREFIX}.evt."
_ANY: Final = "*"
_TOKENS: Final = 3
_COMMAND: Final = re.compile(r"[a-z0-9-]+(\.[a-z0-9-]+){1,2}")
_MAX_DEPTH: Final = 16  # of a command's fields: the deepest there are have six
TEMPLATE: Final = re.compile(r"\{event\.([^{}]*)\}")
_PATH: Final = re.compile(
    r"(service|id|event|node|at_ns|state|error\.(code|message)|detail(\.[A-Za-z0-9_-]{1,64}){1,8})"
)

Pattern = tuple[str, str, str]
"""Service, id and event; `*` for any."""


def pattern_of(when: str, field: str = "when") -> Pattern:
    """`io-signal.di1.edge`, or the whole subject -> its three parts.

    Raises:
        InvalidValue: it is none.
    """
    tokens = when.removeprefix(_EVENTS).split(".")
    fix = "write <service>.<id>.<event>, * for any of one, for example io-signal.di1.edge"
    if len(tokens) != _TOKENS:
        raise InvalidValue(field, when, fix)
    for token in tokens:
        if token == _ANY:
            continue
        try:
            split_compound_id(token) if "--" in token and token is tokens[1] else check_id(token)
        except InvalidValue:
            raise InvalidValue(field, when, fix) from None
    return tokens[0], tokens[1], tokens[2]


def check_rule(spec: RuleSpec, path: str = "") -> None:
    """Refuse what can never work.

    Raises:
        InvalidValue: names the field, the value and the fix.
    """
    pattern_of(spec.when, f"{path}when")
    check_rule_actions(spec, path)
    for number, action in enumerate(spec.do):
        _check_action(action, f"{path}do.{number}")


def _check_action(action: Action, path: str) -> None:
    if action.pulse is not None and (action.signal is None or not action.on):
        raise InvalidValue(f"{path}.pulse", action.pulse, "it is of a signal that is set: leave on: false out")
    if action.command is None:
        if action.given:
            raise InvalidValue(f"{path}.given", tuple(action.given), "leave it out: it is of command only")
        return
    if not _COMMAND.fullmatch(action.command) or action.command.partition(".")[0] not in SERVICES:
        fix = f"write <service>.<verb> or <service>.<id>.<verb>, of one of {', '.join(SERVICES)}"
        raise InvalidValue(f"{path}.command", action.command, fix)
    for where, text in texts_in(action.given, f"{path}.given"):
        for match in TEMPLATE.finditer(text):
            if not _PATH.fullmatch(match[1]):
                fix = (
                    "there are event.service, id, event, node, at_ns, state, error.code, error.message and detail.NAME"
                )
                raise InvalidValue(where, match[0], fix)


def texts_in(value: Any, path: str, depth: int = 0) -> Iterator[tuple[str, str]]:
    """Every text in the fields of a command, with where it is.

    Raises:
        InvalidValue: they are nested without end.
    """
    if depth > _MAX_DEPTH:
        raise InvalidValue(path, "…", f"fields lie at most {_MAX_DEPTH} deep in one another")
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from texts_in(item, f"{path}.{key}", depth + 1)
    elif isinstance(value, list | tuple):
        for number, item in enumerate(value):
            yield from texts_in(item, f"{path}.{number}", depth + 1)
