"""A thousand commands that are wrong, or nearly right: each is refused with its code, and nothing else is disturbed."""

import asyncio
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec import Struct

from schemas import signals
from schemas.errors import MeshError
from schemas.subjects import command
from shared.bus import Bus
from tests.support.io_node import IoNode

pytestmark = pytest.mark.integration

_VERBS: Final[dict[str, type[Struct]]] = {
    "start": signals.StartSignal,
    "stop": signals.StopSignal,
    "start-input": signals.StartInput,
    "stop-input": signals.StopInput,
    "start-rule": signals.StartRule,
    "stop-rule": signals.StopRule,
    "test-rule": signals.DryRunRule,
    "on": signals.SetSignal,
    "off": signals.ClearSignal,
    "pulse": signals.PulseSignal,
    "off-mode": signals.OffMode,
    "tcp-setting": signals.GetTcpSetting,
    "tcp-send": signals.SendTcp,
    "io-send": signals.SendIo,
}
# As they are written by somebody who is wrong about one thing; then one more field is changed.
_NEARLY: Final[dict[str, dict[str, Any]]] = {
    "start": {"signal": "do9", "mode": "tcp", "address": "tcp://host", "keep": "200ms"},
    "stop": {"signal": "nobody"},
    "start-input": {"input": "di9", "mode": "modbus", "address": "tcp://plc/1/coil/70000", "poll": "20ms"},
    "stop-input": {"input": "nobody"},
    "start-rule": {"rule": "r9", "when": "io-signal", "do": [{"signal": "do1"}]},
    "stop-rule": {"rule": "nobody"},
    "test-rule": {"rule": "nobody", "event": {"service": "app", "id": "line1", "event": "ng", "at_ns": 1}},
    "on": {"signal": "nobody", "keep": "200ms", "by": "test"},
    "off": {"signal": "nobody", "why": "test"},
    "pulse": {"signal": "nobody", "keep": "200ms"},
    "off-mode": {"active": "yes"},
    "tcp-setting": {"stream": "nobody"},
    "tcp-send": {"message": "x", "stream": "nobody"},
    "io-send": {"text": "1", "file": "/etc/passwd"},
}
_OF_THE_SIGNAL: Final = ("on", "off", "pulse", "tcp-send")
_ROUNDS, _EACH = 20, 50
_REPLY_SECONDS = 30.0  # of 50 at once, beside whatever else runs

# What nearly fits: names that nobody has, addresses that lead nowhere, times that are none.
_WORDS = [
    *(
        "",
        "nobody",
        "do9",
        "DO1",
        "do1 ",
        "do1\n",
        "a--b",
        "*",
        "x" * 200,
        "\u0000",
        "é",
        "1e9h",
        "-1s",
        "0ms",
        "99999d",
    ),
    *(
        "file:///etc/../do1",
        "/etc/passwd",
        "file:///proc/self/mem",
        "tcp://",
        "tcp://host",
        "gpio://mem/1",
        "rtu:///dev/null",
    ),
    *(
        "uart:///dev/null",
        "(",
        "(?<=a)b",
        "io",
        "tcp",
        "modbus",
        "uart",
        "gpio",
        "ng",
        "hold",
        "active-low",
        "{event.__class__}",
    ),
]
_VALUES = st.one_of(
    st.sampled_from(_WORDS),
    st.text(max_size=20),
    st.integers(-(2**70), 2**70),
    st.sampled_from([None, True, False, 0, -1, 65_536, 1e308, 0.5]),
    st.lists(st.sampled_from([*_WORDS, 1, None]), max_size=3),
    st.dictionaries(st.sampled_from(["signal", "do", "when", "x"]), st.sampled_from([*_WORDS, 1, None]), max_size=2),
)


@st.composite
def _bodies(draw: st.DrawFn, verb: str) -> bytes:
    """Nearly right, or some of its fields with whatever; now and then no JSON at all."""
    names = st.sampled_from([*_VERBS[verb].__struct_fields__, "nonsense"])
    kind = draw(st.integers(0, 9))
    if kind == 0:
        return draw(
            st.one_of(st.binary(max_size=40), st.sampled_from([b"[" * 5_000, b'{"signal":"do1"', b"null", b'{"a":1}x']))
        )
    if kind < 4:
        return msgspec.json.encode(_sendable(draw(st.dictionaries(names, _VALUES, max_size=6))))
    body = dict(_NEARLY[verb])
    if kind < 8:
        body[draw(names)] = draw(_VALUES)
    return msgspec.json.encode(_sendable(body))


def _sendable(value: Any) -> Any:
    """JSON of any size of number: what msgspec does not write it is given as raw text."""
    if isinstance(value, dict):
        return {name: _sendable(item) for name, item in value.items()}
    if isinstance(value, int) and not -(2**63) <= value < 2**64:
        return msgspec.Raw(str(value).encode())
    return value


@st.composite
def _commands(draw: st.DrawFn) -> tuple[str, bool, bytes]:
    """Verb, whether it goes to the signal's own subject, and body."""
    verb = draw(st.sampled_from(sorted(_VERBS)))
    own = verb in _OF_THE_SIGNAL and draw(st.booleans())
    return verb, own, draw(_bodies(verb))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("io")


@pytest.fixture(scope="module")
def node(folder: Path) -> Iterator[IoNode]:
    with IoNode.running("io_signal", file_roots=str(folder)) as running:
        yield running


def test_a_thousand_malformed_commands(node: IoNode, folder: Path) -> None:
    file = folder / "do1"
    file.write_text("?")
    seen: Counter[int] = Counter()
    with asyncio.Runner() as runner:
        bus = runner.run(Bus.connect(node.nats.url, name="test", timeout_seconds=5))

        def ask(subject: str, **fields: Any) -> Any:
            reply = bus.request_raw(subject, msgspec.json.encode(fields), _REPLY_SECONDS)
            return msgspec.json.decode(runner.run(reply))

        fields = {"signal": "do1", "mode": "io", "address": f"file://{file}"}
        revision = ask(command("io-signal", "start"), **fields)["revision"]
        ask(command("io-signal", "on"), signal="do1")

        async def refused(subject: str, body: bytes) -> MeshError | None:
            try:
                await bus.request_raw(subject, body, _REPLY_SECONDS)
            except MeshError as error:
                return error
            return None

        async def give(verb: str, own: bool, body: bytes) -> None:
            subject = command("io-signal", verb, "do1") if own else command("io-signal", verb)
            readable = _readable(verb, body)
            if readable and (own or verb == "off-mode"):
                return  # it is right: it would do what it says
            refusal = await refused(subject, body)
            if refusal is None:
                assert readable, (subject, body)
                assert verb in ("test-rule", "start-rule"), (subject, body)
                return
            seen[refusal.code] += 1
            assert refusal.code in (_allowed(verb) if readable else {400}), (subject, body, refusal)
            assert 8 < len(refusal.message) < 2_000, (subject, body, refusal)

        async def give_all(commands: list[tuple[str, bool, bytes]]) -> None:
            await asyncio.gather(*(give(*one) for one in commands))

        @settings(
            max_examples=_ROUNDS,
            deadline=None,
            database=None,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example],
        )
        @given(st.lists(_commands(), min_size=_EACH, max_size=_EACH))
        def fire(commands: list[tuple[str, bool, bytes]]) -> None:
            runner.run(give_all(commands))

        try:
            fire()
            assert seen.total() > 0.9 * _ROUNDS * _EACH
            assert seen[404] > 50
            assert file.read_text() == "1"
            entry = next(one for one in ask(command("io-signal", "list"))["signals"] if one["spec"]["signal"] == "do1")
            assert (entry["revision"], entry["actual"]["state"]) == (revision, "on")
            assert ask(command("io-signal", "off"), signal="do1")["on"] is False
            assert file.read_text() == "0"
            assert "Traceback" not in node.log.read_text()
        finally:
            runner.run(bus.drain())


def _readable(verb: str, body: bytes) -> bool:
    try:
        msgspec.json.decode(body or b"{}", type=_VERBS[verb])
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return False
    return True


def _allowed(verb: str) -> set[int]:
    # A host that is not there is unavailable; a fault of the service itself, 500, is never right.
    return {400, 404, 409, 503} if verb in ("tcp-send", "io-send", "start", "start-input") else {400, 404, 409}
