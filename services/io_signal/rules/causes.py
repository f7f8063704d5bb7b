"""Which rules have led to an event: they are told with each command, and come back with what it causes."""

import re
from collections.abc import Sequence
from typing import Any, Final

from schemas.errors import InvalidValue
from schemas.events import Event
from schemas.ids import check_id

BY: Final = "rule"
"""Who gives the command, as its event tells it."""
MAX_CHAIN: Final = 4  # rules that led to one another; more than people can follow is a mistake

_WHY: Final = re.compile(r"rules? ([^\s:]+(?: > [^\s:]+)*)(?:: .*)?", re.DOTALL)
_MAX_NAMES: Final = 2 * MAX_CHAIN  # of a list that somebody else has written


def chain_of(event: Event) -> tuple[str, ...]:
    """The rules that led to it, the first first; none for an event that began by itself."""
    cause = event.detail.get("cause")
    if isinstance(cause, list | tuple):
        return _names(cause)
    why = event.detail.get("why")
    match = _WHY.fullmatch(why) if isinstance(why, str) and event.detail.get("by") == BY else None
    if match is None:
        return ()
    return _names(match[1].split(" > "))


def _names(given: Sequence[Any]) -> tuple[str, ...]:
    """None where one is no name: whoever wrote that is no rule."""
    try:
        return tuple(check_id(name if isinstance(name, str) else "") for name in given[:_MAX_NAMES])
    except InvalidValue:
        return ()


def why_of(chain: tuple[str, ...]) -> str:
    """What a command says of its reason, at times with more behind a colon; `chain_of` reads it."""
    return f"{'rules' if len(chain) > 1 else 'rule'} {' > '.join(chain)}"


def is_loop(chain: tuple[str, ...], rule: str) -> bool:
    """Whether a rule that acted on such an event would go round in a circle, or on and on."""
    return rule in chain or len(chain) > MAX_CHAIN
