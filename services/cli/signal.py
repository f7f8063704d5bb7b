"""Outputs and inputs of machines, and rules: look at them, set them, follow what happens.

examples:
  framemesh signal list
  framemesh signal on do1 --keep 2s --why "lamp test"
  framemesh signal off do1
  framemesh signal pulse do1 --keep 200ms
  framemesh signal watch                 what happens to all of them, until Ctrl-C
  framemesh signal watch do1 di1 --json
  framemesh signal off-mode on           every output to its safe state, and none is set any more
  framemesh signal off-mode off
  framemesh signal rules                 what they are, how often they acted, and what they left out
  framemesh signal rules test reject app.line1.ng '{"score": 0.9}'           what it would do; nothing is done
  framemesh signal rules test reject app.line1.ng '{}' --file mesh.yaml      one that is not there yet

Who gave a command and why is kept with its event: --by is your name when left out.
"""

import argparse
import asyncio
import getpass
import time
from pathlib import Path
from typing import Any

import msgspec

from schemas.errors import BadRequest, InvalidValue, NotFound
from schemas.events import Event
from schemas.rule_checks import pattern_of
from schemas.signal_resources import RuleSpec
from schemas.signals import (
    ClearSignal,
    DryRunRule,
    ListSignals,
    OffMode,
    OffModeReply,
    PulseSignal,
    RuleTested,
    SetSignal,
    SignalList,
    SignalSet,
)
from schemas.subjects import command, events_like
from services.cli.connection import add_nats_argument, connected
from services.cli.signal_text import dry_run_text, listed, rules_listed, told
from shared.bus import Bus, Message
from shared.event_message import event_in
from shared.mesh_file import load_mesh_file

HELP = "outputs and inputs of machines, and rules"
_SERVICE = "io-signal"
_REPLY_SECONDS = 15.0  # an output that does not answer is tried again, for 10 s at most by usual settings
_ACTIONS = ("list", "on", "off", "pulse", "watch", "off-mode", "rules")
_WATCHED = ("changed", "edge", "frame", "refused", "sent", "fired", "loop", "state", "removed")
_MS = 1_000_000
_SWITCH = {"on": True, "off": False}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("action", choices=_ACTIONS)
    parser.add_argument("names", nargs="*", metavar="NAME", help="of signals, inputs or rules; see the examples")
    parser.add_argument("--keep", metavar="TIME", help="of on and pulse, for example 200ms; else as it is set up")
    parser.add_argument("--type", choices=("ng", "alarm", "ok"), help="of on and pulse: what it says")
    parser.add_argument("--by", metavar="WHO")
    parser.add_argument("--why", default="", metavar="TEXT")
    parser.add_argument("--file", type=Path, metavar="mesh.yaml", help="of rules test: where the rule stands")
    add_nats_argument(parser)


async def run(options: argparse.Namespace) -> int:
    request = _request(options)
    async with connected(options) as bus:
        if options.action == "watch":
            return await _watch(bus, options)
        if isinstance(request, ListSignals):
            found = await _ask(bus, "list", request, SignalList)
            if options.action == "rules":
                found = SignalList(rules=found.rules)
            _print(options, found, "\n".join(rules_listed(found.rules)) if options.action == "rules" else listed(found))
        elif isinstance(request, DryRunRule):
            found_out = await _ask(bus, "test-rule", request, RuleTested)
            _print(options, found_out, dry_run_text(options.names[1], found_out))
        elif isinstance(request, OffMode):
            mode = await _ask(bus, "off-mode", request, OffModeReply)
            outputs = ", ".join(mode.signals) or "none"
            _print(options, mode, f"off-mode is {'on' if mode.active else 'off'}; outputs switched: {outputs}")
        else:
            done = await _ask(bus, options.action, request, SignalSet)
            _print(options, done, _said(options.action, done))
    return 0


def _request(options: argparse.Namespace) -> Any:
    """What is asked. Raises: BadRequest, NotFound: names the argument and the fix."""
    names, action = options.names, options.action
    if action == "watch":
        return None
    if action == "rules" and names:
        return _dry_run(options)
    if action in ("list", "rules"):
        return ListSignals()
    told_by = {"by": options.by or _me(), "why": options.why}
    if len(names) != 1:
        what = "on or off" if action == "off-mode" else "one signal, for example do1"
        raise BadRequest(f"signal {action}: name {what}")
    if action == "off-mode":
        if names[0] not in _SWITCH:
            raise InvalidValue("off-mode", names[0], "write on or off")
        return _convert({"active": _SWITCH[names[0]], **told_by}, OffMode, action)
    given = {"signal": names[0], **told_by}
    if action == "off":
        return _convert(given, ClearSignal, action)
    for name in ("keep", "type"):
        if getattr(options, name) is not None:
            given[name] = getattr(options, name)
    return _convert(given, SetSignal if action == "on" else PulseSignal, action)


def _dry_run(options: argparse.Namespace) -> DryRunRule:
    usage = "write: framemesh signal rules test RULE SERVICE.ID.EVENT '{\"field\": 1}'"
    if options.names[0] != "test" or not 3 <= len(options.names) <= 4:
        raise BadRequest(f"signal rules: {usage}")
    rule, about, *rest = options.names[1:]
    try:
        detail = msgspec.json.decode(rest[0], type=dict[str, Any]) if rest else {}
    except (msgspec.DecodeError, RecursionError) as error:
        raise BadRequest(f"the event's detail: {error}; {usage}") from None
    service, resource, name = pattern_of(about, "SERVICE.ID.EVENT")
    event = Event(service=service, id=resource, event=name, node="cli", at_ns=time.time_ns(), detail=detail)
    if options.file is None:
        return DryRunRule(rule=rule, event=event)
    for found in load_mesh_file(options.file).rules:
        if found.rule == rule:
            spec = RuleSpec(**{field: getattr(found, field) for field in RuleSpec.__struct_fields__})
            return DryRunRule(spec=spec, event=event)
    raise NotFound(f"--file {options.file}: there is no rule {rule!r} in it")


async def _ask(bus: Bus, verb: str, request: msgspec.Struct, reply: type[Any]) -> Any:
    return await bus.request(command(_SERVICE, verb), request, reply, _REPLY_SECONDS)


async def _watch(bus: Bus, options: argparse.Namespace) -> int:
    """Until it is interrupted."""

    def receive(message: Message) -> None:
        event = event_in(message.subject, message.data)
        if event.event in _WATCHED and (not options.names or event.id in options.names):
            print(msgspec.json.encode(event).decode() if options.json else told(event), flush=True)

    await bus.subscribe(events_like(f"{_SERVICE}.>"), receive)
    await asyncio.Event().wait()
    return 0


def _convert(given: dict[str, Any], kind: type[Any], action: str) -> Any:
    try:
        return msgspec.convert(given, kind)
    except msgspec.ValidationError as error:
        raise BadRequest(f"signal {action}: {error}") from None


def _print(options: argparse.Namespace, reply: Any, text: str) -> None:
    print(msgspec.json.encode(reply).decode() if options.json else text)


def _said(action: str, done: SignalSet) -> str:
    parts = [f"{', '.join(done.signals)}: {'on' if done.on else 'off'} after {done.latency_ns / _MS:.1f} ms"]
    if done.until_ns:
        parts.append(f"for {(done.until_ns - done.edge_ns) / _MS:.0f} ms")
    if done.since_capture_ns is not None:
        parts.append(f"{done.since_capture_ns / _MS:.1f} ms after the picture")
    return ", ".join(parts)


def _me() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        return "cli"
