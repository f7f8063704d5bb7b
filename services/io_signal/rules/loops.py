"""Rules that would lead to one another without end, found before they begin."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, NamedTuple

from schemas.channels import CHANNELS
from schemas.errors import Conflict, InvalidValue
from schemas.ids import check_id, compound_id
from schemas.recordings import RECORDING_OUTPUT
from schemas.rule_checks import Pattern, pattern_of
from schemas.signal_resources import Action, EventDetail, RuleSpec
from services.io_signal.rules.matching import ANY, meet, same

_SERVICE: Final = "io-signal"
# What only looks changes nothing, so nothing is told of it.
_LOOKS: Final = frozenset(
    channel.name for channel in CHANNELS if channel.semantics == "request-reply" and "console" in channel.senders
)
# Of the requests of commands: what they are about.
_NAMES: Final = ("stream", "mix", "signal", "input", "rule")
_SENDS: Final = frozenset({"tcp-send", "io-send"})


class Effect(NamedTuple):
    """Events that a command may lead to, and what is known of their detail."""

    events: Pattern
    known: Mapping[str, EventDetail] = {}


def check_loops(spec: RuleSpec, others: Iterable[RuleSpec]) -> None:
    """Of hundreds of rules with many actions this takes a second: call it in a thread.

    Raises:
        Conflict: names the rules that would go round in a circle.
    """
    if not spec.enabled:
        return
    rules = {rule.rule: rule for rule in (*others, spec) if rule.enabled}
    patterns = {name: pattern_of(rule.when) for name, rule in rules.items()}

    def leads_to(name: str) -> list[str]:
        told = effects(rules[name])
        return [after for after, rule in rules.items() if any(_matches(rule, patterns[after], one) for one in told)]

    circle = _circle(spec.rule, leads_to)
    if circle:
        raise Conflict(
            f"rule {spec.rule} would go round in a circle: {' -> '.join(circle)}; "
            'narrow "when" or "where" of one of them, or take it back with io-signal.stop-rule'
        )


def effects(rule: RuleSpec) -> list[Effect]:
    """All that acting on an event may lead to."""
    found = [Effect((_SERVICE, rule.rule, name)) for name in ("fired", "loop", "state")]
    for action in rule.do:
        found += _effects_of(action)
    return found


def _effects_of(action: Action) -> list[Effect]:
    if action.signal is not None:
        return _of_signal(action.signal, action.on)
    if action.clip is not None:
        return [Effect(("publisher", action.clip, "clip"))]
    if action.record is not None:
        return [Effect(("publisher", compound_id(action.record, RECORDING_OUTPUT), ANY))]
    if action.command is None:
        return []
    service, _, rest = action.command.partition(".")
    resource, _, verb = rest.rpartition(".")
    if f"{service}.{verb}" in _LOOKS:
        return []
    if service == _SERVICE and verb in ("on", "off", "pulse"):
        return _of_signal(resource or _id_in(action.given, "signal"), verb != "off")
    if service == _SERVICE and verb in _SENDS:
        return [Effect((_SERVICE, resource or _id_in(action.given, "signal"), "sent"))]
    if service == _SERVICE and verb == "off-mode":
        return [Effect((_SERVICE, ANY, name)) for name in ("changed", "state", "off-mode")]
    about = next((name for name in _NAMES if name in action.given), "stream")
    return [Effect((service, resource or _id_in(action.given, about), ANY))]


def _of_signal(signal: str, on: bool) -> list[Effect]:
    """What is set is also cleared, when its keep time ends."""
    values = (True, False) if on else (False,)
    changed = [Effect((_SERVICE, signal, "changed"), {"on": value}) for value in values]
    return [*changed, Effect((_SERVICE, signal, "state")), Effect((_SERVICE, signal, "refused"))]


def _id_in(given: Mapping[str, Any], field: str) -> str:
    """What a command is about, as far as it is known before there is an event."""
    try:
        return check_id(str(given[field]))
    except (KeyError, InvalidValue):  # not said, or by a template
        return ANY


def _matches(rule: RuleSpec, when: Pattern, effect: Effect) -> bool:
    return meet(when, effect.events) and all(
        name not in effect.known or same(wanted, effect.known[name]) for name, wanted in rule.where.items()
    )


def _circle(start: str, leads_to: Callable[[str], list[str]]) -> list[str]:
    """A way from `start` back to it, the shortest; empty: there is none."""
    ways, seen = [[start]], {start}
    while ways:
        way = ways.pop(0)
        for after in leads_to(way[-1]):
            if after == start:
                return [*way, start]
            if after not in seen:
                seen.add(after)
                ways.append([*way, after])
    return []
