"""What applications tell the mesh: an event that can be sent and read, or one clear error."""

from typing import Any

import msgspec
import pytest

from schemas.errors import InvalidValue
from schemas.subjects import event
from shared.clients.events import application_event
from shared.event_message import event_in


def endless() -> list[Any]:
    inside: list[Any] = []
    inside.append(inside)
    return inside


def deep(levels: int) -> list[Any]:
    inside: list[Any] = []
    for _ in range(levels):
        inside = [inside]
    return inside


@pytest.mark.parametrize(
    "value",
    [object(), {(1, 2): 3}, "\ud800", endless(), deep(100), "x" * 300_000],
    ids=["no JSON", "no key", "no text", "no end", "too deep", "too much"],
)
def test_what_cannot_be_sent_or_read_is_refused(value: Any) -> None:
    with pytest.raises(InvalidValue, match=r"detail \('score',\): give numbers, texts"):
        application_event("line1", "ng", "edge", None, {"score": value})


def test_what_is_taken_is_read_again() -> None:
    told = application_event("line1", "ng", "edge", None, {"boxes": [[1, 2.5]], "text": "x" * 240_000, "big": 10**30})
    assert event_in(event("app", "line1", "ng"), msgspec.json.encode(told)) == told
