"""What comes on an event's subject, whoever posted it."""

import json

import msgspec
import pytest

from schemas.errors import BadRequest
from schemas.events import Event
from schemas.subjects import event
from shared.event_message import event_in, whole_event_in

pytestmark = pytest.mark.unit

EDGE = Event(service="io-signal", id="di1", event="edge", node="n1", at_ns=7)


def test_an_event_is_of_whom_its_subject_names() -> None:
    """An application may post as `app` alone: what it writes inside must not make it io-signal."""
    data = msgspec.json.encode(EDGE)
    assert event_in(event("io-signal", "di1", "edge"), data) == EDGE
    told = event_in(event("app", "line1", "ng"), data)
    assert (told.service, told.id, told.event) == ("app", "line1", "ng")
    assert (told.node, told.at_ns) == (EDGE.node, EDGE.at_ns)
    of_rendition = Event(service="hw-encode", id="cam0--main", event="state", node="n1", at_ns=7)
    assert event_in(event("hw-encode", "cam0--main", "state"), msgspec.json.encode(of_rendition)) == of_rendition


def test_an_object_is_the_detail_of_what_happened_now() -> None:
    told = event_in(event("app", "line1", "ng"), json.dumps({"score": 3}).encode())
    assert (told.service, told.id, told.event, told.detail) == ("app", "line1", "ng", {"score": 3})
    assert told.at_ns > EDGE.at_ns
    with pytest.raises(msgspec.DecodeError):
        whole_event_in(event("app", "line1", "ng"), b"{}")


@pytest.mark.parametrize(("subject", "data"), [("app.line1.ng", b"[1]"), ("app.line1", b"{}"), ("app.a.b", b"\xff")])
def test_what_is_none_is_refused(subject: str, data: bytes) -> None:
    with pytest.raises(BadRequest):
        event_in(subject, data)
