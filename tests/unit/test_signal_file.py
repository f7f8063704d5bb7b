"""Signals, inputs and rules as mesh.yaml has them."""

from pathlib import Path

import pytest

from schemas.errors import BadRequest
from schemas.mesh_file import MeshPlan
from schemas.signal_resources import Action
from shared.mesh_file import load_mesh_file


def load(tmp_path: Path, text: str) -> MeshPlan:
    path = tmp_path / "mesh.yaml"
    path.write_text(text)
    return load_mesh_file(path, {})


def test_the_sections_of_machines(tmp_path: Path) -> None:
    plan = load(
        tmp_path,
        """
signals:
  do1: {mode: modbus, address: "tcp://plc:502/1/coil/3", safe: off, initial: on, keep: 200ms}
  do2: file:///run/io/do2
inputs:
  di1: {address: "gpio://gpiochip0/17", stream: line1, debounce: 5ms}
rules:
  reject:
    when: mesh.v1.evt.app.line1.ng
    where: {on: true, level: off}
    do: [{signal: do1, pulse: 200ms}, {clip: line1, before: 5s, after: 2s}]
  clear: {when: io-signal.di1.edge, do: {signal: do1, on: off}}
""",
    )
    one, two = plan.signals
    assert (one.signal, one.mode, one.safe, one.initial, one.keep) == ("do1", "modbus", "off", "on", "200ms")
    assert (two.mode, two.address, two.safe) == ("io", "file:///run/io/do2", "off")
    assert [(item.input, item.mode, item.stream, item.debounce) for item in plan.inputs] == [
        ("di1", "gpio", "line1", "5ms")
    ]
    reject, clear = plan.rules
    assert reject.where == {"on": True, "level": False}
    assert reject.do == (Action(signal="do1", pulse="200ms"), Action(clip="line1"))
    assert clear.do == (Action(signal="do1", on=False),)


@pytest.mark.parametrize(
    ("address", "mode"),
    [
        ("gpio://gpiochip0/4", "gpio"),
        ("tcp://10.0.0.5:9000", "tcp"),
        ("tcp://10.0.0.5:502/1/coil/3", "modbus"),
        ("rtu:///dev/ttyUSB0/1/coil/3", "modbus"),
        ("uart:///dev/ttyS1?baud=9600", "uart"),
    ],
)
def test_an_address_says_its_mode(tmp_path: Path, address: str, mode: str) -> None:
    assert load(tmp_path, f"signals: {{do1: '{address}'}}\n").signals[0].mode == mode


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("signals: [do1]\n", "signals: write a mapping of names"),
        ("signals: {Do1: file:///x}\n", "signals.Do1 'Do1'"),
        ("signals: {do1: 7}\n", "signals.do1: write an address"),
        ("signals: {do1: http://x}\n", "signals.do1.address 'http://x': write file://"),
        ("signals: {do1: {mode: io, address: file:///x, keep: soon}}\n", "signals.do1.keep 'soon'"),
        ("signals: {do1: {mode: io, address: file:///x, safe: maybe}}\n", "signals.do1.safe"),
        ("inputs: {di1: {address: gpio://gpiochip0/1, attach: encoder}}\n", "inputs.di1.attach 'encoder': name the"),
        ("inputs: {di1: {address: gpio://gpiochip0/1, poll: 1}}\n", "inputs.di1.poll"),
        ("rules: {r: {when: di1, do: [{signal: do1}]}}\n", "rules.r.when 'di1': write <service>.<id>.<event>"),
        ("rules: {r: {when: a.b.c, do: []}}\n", "rules.r.do"),
        ("rules: {r: {when: a.b.c, do: [{signal: do1, clip: cam0}]}}\n", "rules.r.do.0"),
        ("rules: {r: {when: a.b.c, do: [{signal: do1, pulse: soon}]}}\n", "rules.r.do.0.pulse 'soon'"),
        ("rules: {r: {when: a.b.c, do: [{signal: do1, on: off, pulse: 1s}]}}\n", "leave on: false out"),
        ("rules: {r: {when: a.b.c, do: [{command: capture.>}]}}\n", "rules.r.do.0.command 'capture.>'"),
        ("rules: {r: {when: a.b.c, do: [{command: nobody.start}]}}\n", "of one of capture, "),
        (
            "rules: {r: {when: a.b.c, do: [{command: capture.stop, given: {stream: '{event.__class__}'}}]}}\n",
            "rules.r.do.0.given.stream '{event.__class__}': there are event.service",
        ),
        ("rules: {r: {when: a.b.c, cooldown: long, do: [{signal: do1}]}}\n", "rules.r.cooldown 'long'"),
        ("rules: {r: do it}\n", "rules.r: write a mapping"),
        (
            "signals: {do1: file:///x}\nrules: {do1: {when: a.b.c, do: [{signal: do1}]}}\n",
            "rules.do1: one of signals has this name, too",
        ),
    ],
)
def test_what_is_wrong_is_named_by_its_path(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(BadRequest) as refused:
        load(tmp_path, text)
    assert words in refused.value.message
