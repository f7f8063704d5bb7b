"""`framemesh signal`: what is asked of the mesh, and what people read."""

import argparse
from pathlib import Path
from typing import Any

import msgspec
import pytest

from schemas.errors import ErrorInfo, MeshError
from schemas.events import Event
from schemas.signal_resources import (
    InputActual,
    InputEntry,
    InputSpec,
    RuleActual,
    RuleEntry,
    RuleSpec,
    SignalActual,
    SignalEntry,
    SignalSpec,
)
from schemas.signals import (
    ClearSignal,
    DryRunRule,
    ListSignals,
    OffMode,
    PlannedCommand,
    PulseSignal,
    RuleTested,
    SetSignal,
    SignalList,
)
from services.cli import signal
from services.cli.signal_text import dry_run_text, listed, told
from services.cli.status import WholeStatus, describe

ADDRESS = "file:///run/io/do1"


def asked(*arguments: str) -> Any:
    parser = argparse.ArgumentParser()
    signal.add_arguments(parser)
    return signal._request(parser.parse_intermixed_args(arguments))


def test_what_is_asked() -> None:
    who = {"by": "anna", "why": "lamp test"}
    options = ("--by", "anna", "--why", "lamp test")
    assert asked("list") == asked("rules") == ListSignals()
    assert asked("on", "do1", "--keep", "2s", "--type", "ng", *options) == SetSignal(
        signal="do1", keep="2s", type="ng", **who
    )
    assert asked("off", "do1", *options) == ClearSignal(signal="do1", **who)
    assert asked("pulse", "do1", *options) == PulseSignal(signal="do1", **who)
    assert asked("off-mode", "off", *options) == OffMode(active=False, **who)
    assert asked("on", "do1").by, "somebody gives it"
    dry = asked("rules", "test", "reject", "mesh.v1.evt.app.line1.ng", '{"score": 1}')
    assert isinstance(dry, DryRunRule)
    assert (dry.rule, dry.spec, dry.event.id, dry.event.detail) == ("reject", None, "line1", {"score": 1})


def test_a_rule_is_tried_before_it_is_there(tmp_path: Path) -> None:
    path = tmp_path / "mesh.yaml"
    path.write_text("rules: {reject: {when: app.line1.ng, do: {signal: do1}}}\n")
    dry = asked("rules", "test", "reject", "app.line1.ng", "--file", str(path))
    assert (dry.rule, dry.spec.rule, dry.spec.when) == (None, "reject", "app.line1.ng")
    with pytest.raises(MeshError, match="there is no rule 'other' in it"):
        asked("rules", "test", "other", "app.line1.ng", "--file", str(path))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("on",), "signal on: name one signal, for example do1"),
        (("off", "do1", "do2"), "signal off: name one signal"),
        (("on", "DO1"), "signal on: "),
        (("off-mode",), "signal off-mode: name on or off"),
        (("off-mode", "maybe"), "off-mode 'maybe': write on or off"),
        (("rules", "try"), "write: framemesh signal rules test RULE"),
        (("rules", "test", "reject", "edge"), "SERVICE.ID.EVENT 'edge'"),
        (("rules", "test", "reject", "a.b.c", "[1]"), "the event's detail: "),
    ],
)
def test_what_is_wrong_is_named(arguments: tuple[str, ...], words: str) -> None:
    with pytest.raises(MeshError) as refused:
        asked(*arguments)
    assert words in refused.value.message
    assert refused.value.code == 400


def test_tables() -> None:
    assert "framemesh call io-signal.start" in listed(SignalList())
    failed = ErrorInfo(code=503, message="/run/io/do1: read-only")
    state = SignalActual(signal="do1", node="edge", revision=1, state="failed", error=failed, by="rule", why="rule a")
    pin = InputActual(input="di1", node="edge", revision=1, state="active", value=True, events=7)
    rule = RuleActual(rule="a", node="edge", revision=1, state="active", fired=3, left_out={"cooldown": 2, "rate": 1})
    text = listed(
        SignalList(
            signals=(SignalEntry(revision=1, spec=SignalSpec(signal="do1", mode="io", address=ADDRESS), actual=state),),
            inputs=(
                InputEntry(revision=1, spec=InputSpec(input="di1", mode="gpio", address="gpio://x/1"), actual=pin),
            ),
            rules=(
                RuleEntry(revision=1, spec=RuleSpec(rule="a", when="x.y.z", do=()), actual=rule),
                RuleEntry(revision=1, spec=RuleSpec(rule="b", when="x.y.z", do=(), enabled=False)),
            ),
        )
    )
    lines = [" ".join(line.split()) for line in text.splitlines()]
    assert f"do1 failed - rule rule a io {ADDRESS}" in lines
    assert "do1: /run/io/do1: read-only" in lines
    assert "di1 active on 7 gpio gpio://x/1" in lines
    assert "a active 3 2 cooldown, 1 rate x.y.z" in lines
    assert "b disabled 0 - x.y.z" in lines


def test_a_line_of_what_happened() -> None:
    def line(event: str, **detail: Any) -> str:
        happened = Event(service="io-signal", id="do1", event=event, node="edge", at_ns=5_000_000, detail=detail)
        return told(msgspec.json.decode(msgspec.json.encode(happened), type=Event)).partition(".005  ")[2]

    changed = line("changed", on=True, by="anna", why="test", keep_ms=200, latency_ns=1_500_000)
    assert changed == "do1  changed  on for 200 ms by anna (test) after 1.5 ms"
    assert line("changed", on=False, by="anna", cause="keep") == "do1  changed  off, its time was over"
    assert line("edge", value=False, number=4, clock="kernel") == "do1  edge  off  number 4, time by kernel"
    joined = {"stream": "cam0", "epoch": 1, "frame": {"sequence": 9, "captured_ns": 1, "dt_ns": 2_000_000}}
    assert line("frame", number=4, frame=joined) == "do1  frame  number 4: picture 9, 2.0 ms before it"
    assert line("frame", number=4, **joined) == "do1  frame  number 4: picture 9, 2.0 ms before it"
    assert line("frame", number=4) == "do1  frame  number 4: no picture"
    assert line("fired", of="a.b.c", done=[{"command": "x.y"}]) == "do1  fired  of a.b.c: x.y"
    assert line("loop", of="a.b.c", cause=["a", "b"]) == "do1  loop  left out a.b.c: a -> b"
    assert line("refused", reason="off-mode") == "do1  refused  reason=off-mode"


def test_a_dry_run_in_words() -> None:
    plan = (
        PlannedCommand(command="io-signal.do1.pulse", given={"keep": "200ms"}),
        PlannedCommand(command="capture.stop", error=ErrorInfo(code=400, message="do.1: no such field")),
    )
    assert dry_run_text("reject", RuleTested(acts=True, commands=plan)).splitlines() == [
        "reject would give",
        "  io-signal.do1.pulse keep=200ms",
        "  capture.stop",
        "    error 400: do.1: no such field",
    ]
    assert dry_run_text("reject", RuleTested(acts=False, reason="where")) == "reject would not act on it: where"


def test_strangers_give_the_terminal_no_commands() -> None:
    def line(event: str, at_ns: int = 1, **detail: Any) -> str:
        return told(Event(service="io-signal", id="di1", event=event, node="edge", at_ns=at_ns, detail=detail))

    assert "  di1  edge  a?[2Jb?c  " in line("edge", value="a\x1b[2Jb\nc")
    assert line("fired", at_ns=10**30, of="a.b.c", done=5) == "-  di1  fired  of a.b.c: nothing"
    assert line("loop", of="a.b.c", cause=5).endswith("left out a.b.c: -")
    pin = InputActual(input="di1", node="edge", revision=1, state="active", value="x\x9b1m")
    spec = InputSpec(input="di1", mode="tcp", address="tcp://127.0.0.1:9100")
    assert "x?1m" in listed(SignalList(inputs=(InputEntry(revision=1, spec=spec, actual=pin),)))


def test_the_status_of_a_mesh_has_its_machines() -> None:
    error = ErrorInfo(code=503, message="/run/io/do1: read-only")
    state = SignalActual(signal="do1", node="edge", revision=1, state="failed", error=error)
    output = SignalEntry(revision=1, spec=SignalSpec(signal="do1", mode="io", address=ADDRESS), actual=state)
    pin = InputEntry(revision=1, spec=InputSpec(input="di1", mode="gpio", address="gpio://x/1"))
    rule = RuleEntry(revision=1, spec=RuleSpec(rule="a", when="x.y.z", do=()))
    text = describe(WholeStatus(signals=(output,), inputs=(pin,), rules=(rule,)))
    lines = [" ".join(line.split()) for line in text.splitlines()]
    assert f"do1 failed - - - io {ADDRESS}" in lines
    assert "di1 no owner - 0 gpio gpio://x/1" in lines
    assert "a no owner 0 - x.y.z" in lines
    assert lines[-2:] == ["PROBLEMS", "do1: /run/io/do1: read-only"]
    assert "INPUT" not in describe(WholeStatus())
