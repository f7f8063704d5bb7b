"""What a rule does with an event, as commands; nothing is done here."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

import msgspec

from schemas.errors import InvalidValue, MeshError
from schemas.events import Event
from schemas.ids import check_id
from schemas.signal_resources import Action, RuleSpec
from schemas.signals import PlannedCommand
from schemas.units import NS_PER_SECOND, parse_duration
from services.io_signal.rules.causes import BY, why_of
from services.io_signal.rules.templates import fill

SERVICE: Final = "io-signal"
PICTURE: Final = "frame-extractor.picture"
START_RECORDING: Final = "publisher.start-recording"
STOP_RECORDING: Final = "publisher.stop-recording"
_FAR_NS: Final = 3_600 * NS_PER_SECOND  # an instant so far from its event is a mistake in a clock or a unit
_MAX_INTEGER: Final = 1 << 63  # what JSON's other readers take
_PICTURE_SECONDS: Final = 5.0
_WHY_CHARACTERS: Final = 512  # as `schemas.signals.Why`
_TELLS_WHY: Final = frozenset({"on", "off", "pulse", "off-mode", "tcp-send", "io-send"})

NodeOf = Callable[[str], str]
"""Where a stream is."""


class Planned(NamedTuple):
    """One action, and the commands that it is."""

    action: Action
    commands: tuple[PlannedCommand, ...]


def plan(spec: RuleSpec, event: Event, chain: tuple[str, ...], node_of: NodeOf, now_ns: int) -> list[Planned]:
    """What a rule does, in its order; of a command that cannot be given the error.

    Args:
        chain: rules that led to the event, this one included.
        now_ns: CLOCK_REALTIME.
    """
    fields = msgspec.to_builtins(event)
    planned = []
    for number, action in enumerate(spec.do):
        try:
            commands = _commands(action, event, fields, chain, node_of, now_ns, f"do.{number}")
        except MeshError as error:
            commands = [PlannedCommand(command=action.command or "", given=action.given, error=error.info)]
        planned.append(Planned(action, tuple(commands)))
    return planned


def instant_of(event: Event) -> int:
    """When it happened, CLOCK_REALTIME: of an input's edge what its clock says, else when the event was told."""
    at_ns = event.detail.get("at_ns")
    if isinstance(at_ns, int) and abs(at_ns - event.at_ns) < _FAR_NS:
        return at_ns
    return event.at_ns


def picture_of(event: Event) -> dict[str, Any]:
    """The picture that an event names, as fields of a command: `stream`, `sequence`, `epoch`, `captured_ns`."""
    detail = event.detail
    inner = detail.get("frame")
    frame: dict[str, Any] = inner if isinstance(inner, dict) else detail
    stream = detail.get("stream")
    try:
        found: dict[str, Any] = {"stream": check_id(stream if isinstance(stream, str) else "")}
    except InvalidValue:
        return {}
    for name, source in (("sequence", frame), ("captured_ns", frame), ("epoch", detail)):
        value = source.get(name)
        if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < _MAX_INTEGER:
            found[name] = value
    return found if "sequence" in found or "captured_ns" in found else {}


def _commands(
    action: Action,
    event: Event,
    fields: dict[str, Any],
    chain: tuple[str, ...],
    node_of: NodeOf,
    now_ns: int,
    path: str,
) -> list[PlannedCommand]:
    told = {"by": BY, "why": why_of(chain)}
    at_ns = instant_of(event)
    if action.signal is not None:
        return [_signal(action, event, told)]
    if action.snapshot is not None:
        named = picture_of(event)
        if named.get("stream") == action.snapshot and "captured_ns" in named:
            at_ns = named["captured_ns"]
        return [_planned(PICTURE, stream=action.snapshot, at=_time(at_ns), wait_s=_PICTURE_SECONDS)]
    if action.clip is not None:
        start_ns, end_ns = at_ns - _ns(action.before), at_ns + _ns(action.after)
        given = {"stream": action.clip, "start": _time(start_ns), "end": _time(end_ns), "wait_s": 0}
        return [_planned(f"publisher.{node_of(action.clip)}.clip", **given, **_rendition(action))]
    if action.record is not None:
        # It is asked for a little after the event: so much longer ago it begins.
        preroll_ms = (_ns(action.before) + max(0, now_ns - at_ns)) // 1_000_000
        preroll = {"preroll": f"{preroll_ms}ms"} if preroll_ms else {}
        return [
            _planned(START_RECORDING, stream=action.record, **preroll, **_rendition(action)),
            _planned(STOP_RECORDING, stream=action.record),
        ]
    command = action.command or ""
    given = fill(action.given, fields, f"{path}.given")
    service, _, verb = command.partition(".")
    if service == SERVICE and verb.rpartition(".")[2] in _TELLS_WHY:
        given = {**given, **_told_with(told, given.get("why"))}
    return [PlannedCommand(command=command, given=given)]


def _signal(action: Action, event: Event, told: dict[str, str]) -> PlannedCommand:
    if not action.on:
        return _planned(f"{SERVICE}.off", signal=action.signal, **told)
    given = {"signal": action.signal, **told, **picture_of(event)}
    if action.type is not None:
        given["type"] = action.type
    if action.pulse is None:
        return _planned(f"{SERVICE}.on", **given)
    return _planned(f"{SERVICE}.pulse", **given, keep=action.pulse)


def _told_with(told: dict[str, str], own: Any) -> dict[str, str]:
    """A reason of the rule's own comes behind the rules that led to it: without them a circle would not be seen."""
    return {**told, "why": f"{told['why']}: {own}"[:_WHY_CHARACTERS]} if own not in (None, "") else told


def end_of_recording(action: Action, event: Event) -> int:
    """When a recording that a rule begins ends, CLOCK_REALTIME."""
    return instant_of(event) + _ns(action.after)


def _rendition(action: Action) -> dict[str, str]:
    return {} if action.rendition is None else {"rendition": action.rendition}


def _planned(command: str, **given: Any) -> PlannedCommand:
    return PlannedCommand(command=command, given=given)


def _ns(text: str) -> int:
    return round(parse_duration(text) * NS_PER_SECOND)


def _time(at_ns: int) -> str:
    """RFC 3339, to the microsecond. Raises: InvalidValue: no moment that a calendar has."""
    try:
        seconds, rest_ns = divmod(at_ns, NS_PER_SECOND)
        return datetime.fromtimestamp(seconds, UTC).replace(microsecond=rest_ns // 1_000).isoformat()
    except (ValueError, OverflowError, OSError):
        raise InvalidValue("at_ns", at_ns, "give CLOCK_REALTIME in nanoseconds") from None
