"""Stories: what counts as one, how long it is told, and what is kept of a command."""

import asyncio
import time

import msgspec
import pytest

from schemas.audit import READING_VERBS, AuditRecord, is_audited
from schemas.channels import CHANNELS
from schemas.events import Event
from schemas.trace import BY_TOKEN, read_traceparent
from services.cli.audit import who
from services.cli.kept import vouched
from services.cli.trace import story
from shared import cause
from shared.redacted import redacted

pytestmark = pytest.mark.unit

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


@pytest.mark.parametrize(
    ("text", "good"),
    [
        (f"00-{TRACE}-{SPAN}-01", True),
        (f"00-{TRACE}-{SPAN}-00", True),
        (f"cc-{TRACE}-{SPAN}-01-more", True),  # of a later version
        (f"00-{TRACE}-{SPAN}-01-more", False),
        (f"ff-{TRACE}-{SPAN}-01", False),
        (f"00-{'0' * 32}-{SPAN}-01", False),
        (f"00-{TRACE}-{'0' * 16}-01", False),
        (f"00-{TRACE.upper()}-{SPAN}-01", False),
        (f"00-{TRACE}-{SPAN}-01\n", False),
        (f"00-{TRACE}-{SPAN}", False),
        ("", False),
        (None, False),
        (["00"], False),
    ],
)
def test_a_traceparent_is_read_as_w3c_has_it(text: object, good: bool) -> None:
    found = read_traceparent(text)
    assert (found is not None) is good
    if found is not None:
        assert (found.trace_id, found.span_id) == (TRACE, SPAN)


def test_a_step_goes_on_with_its_story_and_hands_it_on() -> None:
    headers = {
        "traceparent": f"00-{TRACE}-{SPAN}-01",
        "Framemesh-Actor": "alice\x1b[2J",
        "Framemesh-Actor-Basis": "token",
    }
    step = cause.of_headers(headers)
    assert (step.trace_id, step.parent_id) == (TRACE, SPAN)
    assert step.span_id not in ("", SPAN)
    assert step.actor == "alice?[2J"
    handed = step.headers()
    assert handed["traceparent"] == f"00-{TRACE}-{step.span_id}-01"
    assert handed["Framemesh-Actor-Basis"] == BY_TOKEN
    first = cause.of_headers(None)
    assert not first.parent_id
    assert first.trace_id != cause.of_headers({}).trace_id


async def test_what_is_done_belongs_to_its_step_until_that_is_long_ago() -> None:
    async def later() -> str:
        await asyncio.sleep(0)
        return cause.trace_id()

    step = cause.begin()
    with cause.doing(step):
        started = asyncio.create_task(later())
        assert cause.trace_id() == step.trace_id
        with cause.nobody():
            assert not cause.trace_id()
    assert not cause.trace_id()
    assert await started == step.trace_id
    with cause.doing(step):
        step.until_s = time.monotonic()
        assert await asyncio.create_task(later()) == ""


def test_every_command_is_judged_whether_it_changes_something() -> None:
    verbs = {c.address.rsplit(".", 1)[-1] for c in CHANNELS if c.semantics == "request-reply"}
    assert verbs >= READING_VERBS  # one that is no more must not stand for a new one of its name
    for verb in ("start", "stop", "configure", "kick", "pulse", "submit", "delete-recording", "ptz", "a-new-one"):
        assert is_audited(verb)
    assert not is_audited("list")
    assert not is_audited("local-kick")


def test_no_secret_of_a_request_is_kept() -> None:
    asked = {
        "stream": "cam0",
        "source": "rtsp://admin:hunter2@camera/live?token=abc123secret",
        "to": "rtmp://server/app/KEY-42",
        "key_interval": "2s",
        "headers": {"Authorization": "Bearer hunter3", "X-Api-Key": "hunter4"},
        "password": "hunter5",
        "inputs": [{"url": "https://u:hunter6@host/x"}, {"access_key": "hunter7"}],
        "text": "see rtsp://a:hunter8@b/c",
    }
    shown = redacted(msgspec.json.encode(asked))
    text = msgspec.json.encode(shown).decode()
    for secret in ("hunter", "abc123secret", "KEY-42"):
        assert secret not in text
    assert shown["key_interval"] == "2s"
    assert shown["source"].startswith("rtsp://admin:***@camera/live")


@pytest.mark.parametrize(
    "request_bytes",
    [b"\xff", b"[1]", b"{", b'{"a":' + b"[" * 2000, b'"' + b"x" * 100_000 + b'"', b'{"a":"' + b"x" * 70_000],
)
def test_what_is_no_request_is_counted_only(request_bytes: bytes) -> None:
    assert redacted(request_bytes) == {"bytes": len(request_bytes)}


def test_a_long_request_is_cut() -> None:
    shown = redacted(
        msgspec.json.encode({"text": "y" * 5_000, "many": list(range(1_000)), "deep": [[[[[[[[[[1]]]]]]]]]]})
    )
    assert len(shown["text"]) == 256
    assert len(shown["many"]) == 32
    assert len(msgspec.json.encode(shown)) < 4_096
    assert redacted(msgspec.json.encode({str(number): "z" * 250 for number in range(32)})) == {"bytes": 8_247}
    assert redacted(b"") == {}


def record(span: str, parent: str, *, actor: str = "", verified: bool = False, at_ns: int = 0) -> AuditRecord:
    return AuditRecord(
        at_ns=at_ns,
        service="capture",
        node="n1",
        verb="start",
        subject="mesh.v1.cmd.capture.start",
        actor=actor,
        actor_verified=verified,
        took_ms=2.0,
        trace_id=TRACE,
        span_id=span,
        parent_id=parent,
    )


async def test_a_name_is_certain_only_where_the_door_has_written_the_very_step() -> None:
    async def kept():  # type: ignore[no-untyped-def]
        yield record("d1", "", actor="alice", verified=True)
        yield record("c1", "d1", actor="alice")
        yield record("c2", "d1", actor="mallory")  # not whom the door has let in
        yield record("c3", "d9", actor="alice")  # of no step of the door's

    names = [who(one) for one in await vouched(kept())]
    assert names == ["alice", "alice", "mallory (claimed)", "alice (claimed)"]


def test_a_story_is_told_in_order_with_what_led_to_what() -> None:
    events = [
        Event(service="capture", id="cam0", event="state", state="live", node="n2", at_ns=7_000_000, trace_id=TRACE),
    ]
    told = story(TRACE[:4], [record("c1", "d1", at_ns=2_000_000), record("d1", "", at_ns=1_000_000)], events)
    assert [(step.after_ms, step.depth, step.node) for step in told.steps] == [
        (0.0, 0, "n1"),
        (1.0, 1, "n1"),
        (6.0, 0, "n2"),
    ]
    assert told.took_ms == 6.0
