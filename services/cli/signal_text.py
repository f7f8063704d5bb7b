"""Signals, inputs, rules and their events as text for people."""

from datetime import datetime
from typing import Any, Final

from schemas.events import Event
from schemas.signal_resources import InputEntry, RuleEntry, SignalEntry
from schemas.signals import RuleTested, SignalList
from services.cli.table import table

_NONE: Final = """No signals, inputs or rules yet. Write them into mesh.yaml, or begin with one:
  framemesh call io-signal.start '{"signal":"do1","mode":"io","address":"file:///run/io/do1"}'"""
_NS: Final = 1_000_000_000
_MS: Final = 1_000_000


def listed(found: SignalList) -> str:
    """A table for each kind that there is one of."""
    if not (found.signals or found.inputs or found.rules):
        return _NONE
    tables = []
    if found.signals:
        tables.append(_signals(found.signals))
    if found.inputs:
        tables.append(_inputs(found.inputs))
    if found.rules:
        tables.append(rule_table(found.rules))
    return "\n\n".join("\n".join(lines) for lines in tables)


def _signals(entries: tuple[SignalEntry, ...]) -> list[str]:
    rows = [("SIGNAL", "STATE", "SINCE", "BY", "WHY", "MODE", "ADDRESS")]
    troubles = []
    for entry in entries:
        spec, actual = entry.spec, entry.actual
        state = actual.state if actual else "no owner"
        since = _time(actual.since_ns) if actual and actual.since_ns else "-"
        by, why = (actual.by or "-", actual.why or "-") if actual else ("-", "-")
        rows.append((spec.signal, state, since, by, why, spec.mode, spec.address))
        if actual and actual.error:
            troubles.append(f"  {spec.signal}: {actual.error.message}")
    return [*table(rows), *troubles]


def _inputs(entries: tuple[InputEntry, ...]) -> list[str]:
    rows = [("INPUT", "STATE", "VALUE", "EVENTS", "MODE", "ADDRESS")]
    troubles = []
    for entry in entries:
        spec, actual = entry.spec, entry.actual
        state = actual.state if actual else "no owner"
        value = _value(actual.value) if actual else "-"
        rows.append((spec.input, state, value, str(actual.events if actual else 0), spec.mode, spec.address))
        if actual and actual.error:
            troubles.append(f"  {spec.input}: {actual.error.message}")
    return [*table(rows), *troubles]


def rule_table(entries: tuple[RuleEntry, ...]) -> list[str]:
    """Lines of a table, and of what went wrong."""
    rows = [("RULE", "STATE", "FIRED", "LEFT OUT", "WHEN")]
    troubles = []
    for entry in entries:
        spec, actual = entry.spec, entry.actual
        state = actual.state if actual else "no owner"
        left_out = ", ".join(f"{count} {reason}" for reason, count in actual.left_out.items()) if actual else ""
        fired = str(actual.fired if actual else 0)
        rows.append((spec.rule, state if spec.enabled else "disabled", fired, left_out or "-", spec.when))
        if actual and actual.error:
            troubles.append(f"  {spec.rule}: {actual.error.message}")
    return [*table(rows), *troubles]


def dry_run_text(rule: str, found: RuleTested) -> str:
    """What a rule would do."""
    if not found.acts:
        return f"{rule} would not act on it: {found.reason}"
    lines = [f"{rule} would give"]
    for one in found.commands:
        given = " ".join(f"{name}={value}" for name, value in one.given.items())
        lines.append(f"  {one.command} {given}".rstrip())
        if one.error:
            lines.append(f"    error {one.error.code}: {one.error.message}")
    return "\n".join(lines)


def told(event: Event) -> str:
    """One line of what happened."""
    known = {"changed": _changed, "edge": _edge, "frame": _frame, "fired": _fired, "loop": _loop}
    text = known[event.event](event.detail) if event.event in known else event.state or _fields(event.detail)
    error = f"  error {event.error.code}: {event.error.message}" if event.error else ""
    return f"{_time(event.at_ns)}  {event.id}  {event.event}  {text}{error}".rstrip()


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
    commands = ", ".join(str(one.get("command")) for one in done if isinstance(one, dict)) if done else "nothing"
    return f"of {detail.get('of')}: {commands}"


def _loop(detail: dict[str, Any]) -> str:
    return f"left out {detail.get('of')}: {' -> '.join(map(str, detail.get('cause', ())))}"


def _fields(detail: dict[str, Any]) -> str:
    return " ".join(f"{name}={_value(value)}" for name, value in detail.items())


def _value(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "on" if value else "off"
    return str(value)


def _time(at_ns: int) -> str:
    at = datetime.fromtimestamp(at_ns // _NS).astimezone()
    return f"{at:%H:%M:%S}.{at_ns % _NS // _MS:03d}"
