"""What a client does not want of its channel: `forwarding_filter` and `forwarding_filters` of its first message."""

from typing import Any, Literal

import msgspec
from msgspec import Struct

from schemas.errors import BadRequest
from services.webrtc_gateway.sora.sections import Kind

MAX_CONDITIONS = 64  # each is looked at for each source, whenever somebody comes or goes
_DEFAULT_PRIORITY = 32_767  # the middle of 16 bits: others may go before it and after it
_KINDS = frozenset(("audio", "video"))
_SHOWN_CHARACTERS = 20  # of a value, in the reason of a close frame


class Condition(Struct, frozen=True):
    """One property of what a connection publishes."""

    field: Literal["connection_id", "client_id", "kind"]
    operator: Literal["is_in", "is_not_in"]
    values: frozenset[str]

    def holds(self, value: str) -> bool:
        return (value in self.values) == (self.operator == "is_in")


class Filter(Struct, frozen=True):
    """Its rules are alternatives; the conditions of one rule hold together."""

    rules: tuple[tuple[Condition, ...], ...]
    action: Literal["block", "allow"] = "block"
    priority: int = _DEFAULT_PRIORITY

    def applies(self, properties: dict[str, str]) -> bool:
        return any(all(condition.holds(properties[condition.field]) for condition in rule) for rule in self.rules)


class Forwarding(Struct, frozen=True):
    """All filters of one client, that of the lowest priority first."""

    filters: tuple[Filter, ...] = ()

    def passes(self, connection_id: str, client_id: str, kind: Kind) -> bool:
        """Whether the client gets it: the first filter that applies decides; where none does, what the last one says
        of everything else."""
        properties = {"connection_id": connection_id, "client_id": client_id, "kind": kind}
        for each in self.filters:
            if each.applies(properties):
                return each.action == "allow"
        return not self.filters or self.filters[-1].action == "block"

    def kinds(self, connection_id: str, client_id: str, kinds: tuple[Kind, ...]) -> tuple[Kind, ...]:
        """What is left of a source."""
        return tuple(kind for kind in kinds if self.passes(connection_id, client_id, kind))


EVERYTHING = Forwarding()


def read_forwarding(one: Any, several: Any) -> Forwarding:
    """The filters of a first message; None: it has none.

    Raises:
        BadRequest: begins with the path of the field that is wrong.
    """
    found = {"forwarding_filter": _convert(one, Filter, "forwarding_filter")} if one is not None else {}
    if several is not None:
        listed = _convert(several, list[Filter], "forwarding_filters")
        found |= {f"forwarding_filters[{number}]": each for number, each in enumerate(listed)}
    conditions = [condition for name, each in found.items() for condition in _conditions(each, name)]
    if len(conditions) > MAX_CONDITIONS:
        raise BadRequest(f"{next(iter(found))}: {len(conditions)} conditions; give at most {MAX_CONDITIONS}")
    return Forwarding(tuple(sorted(found.values(), key=lambda each: each.priority)))


def _conditions(each: Filter, name: str) -> list[Condition]:
    for number, rule in enumerate(each.rules):
        if not rule:
            raise BadRequest(f"{name}.rules[{number}]: empty; give a condition")
        for place, condition in enumerate(rule):
            if condition.field == "kind" and (strange := condition.values - _KINDS):
                where = f"{name}.rules[{number}][{place}].values"
                raise BadRequest(f"{where}: {min(strange)[:_SHOWN_CHARACTERS]!r}; give audio or video")
    return [condition for rule in each.rules for condition in rule]


def _convert(value: Any, kind: Any, name: str) -> Any:
    try:
        return msgspec.convert(value, kind)
    except (msgspec.ValidationError, RecursionError) as error:
        why, _, path = str(error).partition(" - at `$")
        raise BadRequest(f"{name}{path.rstrip('`')}: {why}") from None
