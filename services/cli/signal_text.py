"""Signals, inputs, rules and their events as text for people."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, Final, TypeGuard

from schemas.events import Event
from schemas.signal_resources import InputEntry, RuleEntry, SignalEntry
from schemas.signals import RuleTested, SignalList
from schemas.units import NS_PER_SECOND
from services.cli.table import printable, table

_NONE: Final = """No signals, inputs or rules yet. Write them into mesh.yaml, or begin with one:
  framemesh call io-signal.start '{"signal":"do1","mode":"io","address":"file:///run/io/do1"}'"""
_MS: Final = 1_000_000


def listed(found: SignalList) -> str:
    """A table for each kind that there is one of, with what is wrong below it."""
    if not (found.signals or found.inputs or found.rules):
        return _NONE
    tables = []
    if found.signals:
        tables.append([*signal_table(found.signals), *_indented(found.signals)])
    if found.inputs:
        tables.append([*input_table(found.inputs), *_indented(found.inputs)])
    if found.rules:
        tables.append(rules_listed(found.rules))
    return "\n\n".join("\n".join(lines) for lines in tables)


def signal_table(entries: Sequence[SignalEntry]) -> list[str]:
    """Lines of a table."""
    rows = [("SIGNAL", "STATE", "SINCE", "BY", "WHY", "MODE", "ADDRESS")]
    for entry in entries:
        spec, actual = entry.spec, entry.actual
        state = actual.state if actual else "no owner"
        since = _time(actual.since_ns) if actual and actual.since_ns else "-"
        by, why = (actual.by or "-", actual.why or "-") if actual else ("-", "-")
        rows.append((spec.signal, state, since, by, why, spec.mode, spec.address))
    return table(rows)


def input_table(entries: Sequence[InputEntry]) -> list[str]:
    """Lines of a table."""
    rows = [("INPUT", "STATE", "VALUE", "EVENTS", "MODE", "ADDRESS")]
    for entry in entries:
        spec, actual = entry.spec, entry.actual
        state = actual.state if actual else "no owner"
        value = _value(actual.value) if actual else "-"
        rows.append((spec.input, state, value, str(actual.events if actual else 0), spec.mode, spec.address))
    return table(rows)


def rule_table(entries: Sequence[RuleEntry]) -> list[str]:
    """Lines of a table."""
    rows = [("RULE", "STATE", "FIRED", "LEFT OUT", "WHEN")]
    for entry in entries:
        spec, actual = entry.spec, entry.actual
        state = actual.state if actual else "no owner"
        left_out = ", ".join(f"{count} {reason}" for reason, count in actual.left_out.items()) if actual else ""
        fired = str(actual.fired if actual else 0)
        rows.append((spec.rule, state if spec.enabled else "disabled", fired, left_out or "-", spec.when))
    return table(rows)


def rules_listed(entries: Sequence[RuleEntry]) -> list[str]:
    """Lines of a table, and of what went wrong."""
    return [*rule_table(entries), *_indented(entries)]


def troubles(entries: Iterable[SignalEntry | InputEntry | RuleEntry]) -> list[str]:
    """What is wrong with each."""
    return [
        printable(f"{_name(entry)}: {entry.actual.error.message}")
        for entry in entries
        if entry.actual is not None and entry.actual.error is not None
    ]


def _indented(entries: Iterable[SignalEntry | InputEntry | RuleEntry]) -> list[str]:
    return [f"  {line}" for line in troubles(entries)]


def _name(entry: SignalEntry | InputEntry | RuleEntry) -> str:
    if isinstance(entry, SignalEntry):
        return entry.spec.signal
    return entry.spec.input if isinstance(entry, InputEntry) else entry.spec.rule


def dry_run_text(rule: str, found: RuleTested) -> str:
    """What a rule would do."""
    if not found.acts:
        return f"{rule} would not act on it: {found.reason}"
    lines = [f"{rule} would give"]
    for one in found.commands:
        given = " ".join(f"{name}={value}" for name, value in one.given.items())
        lines.append(printable(f"  {one.command} {given}".rstrip()))
        if one.error:
            lines.append(printable(f"    error {one.error.code}: {one.error.message}"))
    return "\n".join(lines)


def told(event: Event) -> str:
    """One line of what happened."""
    known = {"changed": _changed, "edge": _edge, "frame": _frame, "fired": _fired, "loop": _loop}
    text = known[event.event](event.detail) if event.event in known else event.state or _fields(event.detail)
    error = f"  error {event.error.code}: {event.error.message}" if event.error else ""
    return printable(f"{_time(event.at_ns)}  {event.id}  {event.event}  {text}{error}".rstrip())


def _changed(detail: dict[str, Any]) -> str:
    if detail.get("cause") == "keep":
        return "off, its time was over"
    parts = ["on" if detail.get("on") else "off"]
    if keep_ms := detail.get("keep_ms"):
        parts.append(f"for {keep_ms} ms")
    if by := detail.get("by"):
        parts.append(f"by {by}")
    if why := detail.get("why"):
        parts.append(f"({why})")
    if isinstance(latency_ns := detail.get("latency_ns"), int):
        parts.append(f"after {latency_ns / _MS:.1f} ms")
    return " ".join(parts)


def _edge(detail: dict[str, Any]) -> str:
    return f"{_value(detail.get('value'))}  number {detail.get('number')}, time by {detail.get('clock')}"


def _frame(detail: dict[str, Any]) -> str:
    frame = detail.get("frame") if isinstance(detail.get("frame"), dict) else detail
    inner = frame.get("frame") if isinstance(frame, dict) and isinstance(frame.get("frame"), dict) else frame
    if not isinstance(inner, dict) or not isinstance(dt_ns := inner.get("dt_ns"), int):
        return f"number {detail.get('number')}: no picture"
    number, sequence = detail.get("number"), inner.get("sequence")
    return f"number {number}: picture {sequence}, {dt_ns / _MS:.1f} ms before it"


def _fired(detail: dict[str, Any]) -> str:
    done = detail.get("done")
    commands = ", ".join(str(one.get("command")) for one in done if isinstance(one, dict)) if _is_list(done) else ""
    return f"of {detail.get('of')}: {commands or 'nothing'}"


def _loop(detail: dict[str, Any]) -> str:
    cause = detail.get("cause")
    return f"left out {detail.get('of')}: {' -> '.join(map(str, cause)) if _is_list(cause) else '-'}"


def _is_list(value: Any) -> TypeGuard[list[Any]]:
    return isinstance(value, list)  # an event says what whoever posted it likes


def _fields(detail: dict[str, Any]) -> str:
    return " ".join(f"{name}={_value(value)}" for name, value in detail.items())


def _value(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "on" if value else "off"
    return str(value)


def _time(at_ns: int) -> str:
    try:
        at = datetime.fromtimestamp(at_ns // NS_PER_SECOND).astimezone()
    except (ValueError, OverflowError, OSError):  # no moment that a calendar has
        return "-"
    return f"{at:%H:%M:%S}.{at_ns % NS_PER_SECOND // _MS:03d}"
