"""What a client does not want of its channel: rules, their order, and what is said of bad ones."""

from typing import Any

import pytest

from schemas.errors import BadRequest
from services.webrtc_gateway.sora.forwarding import EVERYTHING, MAX_CONDITIONS, read_forwarding
from services.webrtc_gateway.sora.nesting import MAX_LEVELS, is_too_deep
from services.webrtc_gateway.sora.sections import Kind

pytestmark = pytest.mark.unit
BOTH: tuple[Kind, ...] = ("audio", "video")


def condition(field: str, *values: str, operator: str = "is_in") -> dict[str, Any]:
    return {"field": field, "operator": operator, "values": list(values)}


VIDEO = condition("kind", "video")


def test_rules_are_alternatives_of_conditions_that_hold_together() -> None:
    assert EVERYTHING.kinds("a", "a", BOTH) == BOTH
    rules = [[VIDEO, condition("connection_id", "a")], [condition("client_id", "camera")]]
    filtered = read_forwarding({"rules": rules, "name": "x", "metadata": {"a": 1}, "version": "1"}, None)
    assert filtered.kinds("a", "c", BOTH) == ("audio",)
    assert filtered.kinds("b", "c", BOTH) == BOTH
    assert filtered.kinds("b", "camera", BOTH) == ()


def test_what_is_not_allowed_is_blocked_and_the_other_way_round() -> None:
    only = {"action": "allow", "rules": [[condition("client_id", "speaker")]]}
    assert read_forwarding(only, None).kinds("a", "speaker", BOTH) == BOTH
    assert read_forwarding(only, None).kinds("a", "other", BOTH) == ()
    others = {"rules": [[condition("client_id", "speaker", operator="is_not_in")]]}
    for client in ("speaker", "other"):
        assert read_forwarding(others, None).kinds("a", client, BOTH) == read_forwarding(only, None).kinds(
            "a", client, BOTH
        )
    assert read_forwarding({"rules": []}, None).kinds("a", "a", BOTH) == BOTH
    assert read_forwarding({"rules": [], "action": "allow"}, None).kinds("a", "a", BOTH) == ()


def test_the_lowest_priority_comes_first() -> None:
    block = {"priority": 20, "rules": [[condition("client_id", "a", "b")]]}
    sound = {"priority": 10, "action": "allow", "rules": [[condition("kind", "audio")]]}
    for listed in ([block, sound], [sound, block]):
        found = read_forwarding(None, listed)
        assert found.kinds("1", "a", BOTH) == ("audio",)
        assert found.kinds("1", "c", BOTH) == BOTH
    first = read_forwarding({**block, "priority": 1}, [sound])
    assert first.kinds("1", "a", BOTH) == ()
    assert first.kinds("1", "c", BOTH) == ("audio",), "what the last filter does not allow"


@pytest.mark.parametrize(
    ("one", "several", "what"),
    [
        (7, None, "forwarding_filter: Expected `object`"),
        ({}, None, "forwarding_filter: .*`rules`"),
        ({"rules": [[{**VIDEO, "field": "stream"}]]}, None, r"forwarding_filter\.rules\[0\]\[0\]\.field: .*'stream'"),
        (None, [{"rules": []}, {"rules": [[{**VIDEO, "operator": "is"}]]}], r"filters\[1\]\.rules\[0\]\[0\]\.operator"),
        (None, {"rules": []}, "forwarding_filters: Expected `array`"),
        ({"rules": [[VIDEO], []]}, None, r"forwarding_filter\.rules\[1\]: empty"),
        ({"rules": [[condition("kind", "vidoe")]]}, None, r"values: 'vidoe'; give audio or video"),
        ({"rules": [[{**VIDEO, "values": [["a"]]}]]}, None, r"values\[0\]: Expected `str`"),
        ({"rules": [], "action": "forward"}, None, "action: .*'forward'"),
        ({"rules": [], "priority": "1"}, None, "priority: Expected `int`"),
        ({"rules": [[VIDEO]] * (MAX_CONDITIONS + 1)}, None, f"at most {MAX_CONDITIONS}"),
    ],
)
def test_a_bad_filter_is_named(one: Any, several: Any, what: str) -> None:
    with pytest.raises(BadRequest, match=what):
        read_forwarding(one, several)


def test_what_others_are_told_is_not_deeper_than_they_can_read() -> None:
    deepest: Any = {}
    for _ in range(MAX_LEVELS - 1):
        deepest = {"a": [1], "b": deepest}
    for fine in (None, "text", [[1]], deepest):
        assert not is_too_deep(fine)
    assert is_too_deep([deepest])
    endless: Any = []
    for _ in range(100_000):
        endless = [endless]
    assert is_too_deep(endless)
