"""The spotlight of a channel: who is in it, what each client is told, and which layers it gets."""

import json
from typing import Any

import msgspec
import pytest

from schemas.errors import InvalidValue
from services.webrtc_gateway.sora.client_messages import Connect
from services.webrtc_gateway.sora.downlinks import Source
from services.webrtc_gateway.sora.messages import ToClient, write
from services.webrtc_gateway.sora.sections import Kind
from services.webrtc_gateway.sora.spotlight import Spotlight
from services.webrtc_gateway.sora.stage import Stage
from services.webrtc_gateway.sora.switching import switched_message
from services.webrtc_gateway.sora.wishes import Wishes, nearest, read_wishes

pytestmark = pytest.mark.unit


class Clock:
    now_s = 0.0

    def __call__(self) -> float:
        self.now_s += 1
        return self.now_s


class Client:
    """A connection as the stage sees it; what a real one says goes through the SDK in the integration tests."""

    def __init__(self, id: str, *, bundle_id: str = "", live: bool = True, **wishes: Any) -> None:
        self.id, self.client_id, self.bundle_id, self.live = id, f"client-{id}", bundle_id or id, live
        self.wishes = Wishes(spotlight=True, **wishes)
        self.kinds: tuple[Kind, ...] = ("audio", "video")
        self.said: list[dict[str, Any]] = []
        self.steered = 0

    def say(self, message: ToClient) -> None:
        self.said.append(json.loads(write(message)))

    def steer(self) -> None:
        self.steered += 1

    def heard(self) -> list[tuple[str, str | None]]:
        """What it was told since the last time."""
        said, self.said = self.said, []
        return [(message["event_type"].removeprefix("spotlight."), message["connection_id"]) for message in said]


def stage_of(*clients: Client) -> tuple[Stage, dict[str, Client]]:
    members = {client.id: client for client in clients}
    return Stage(members, Spotlight(Clock())), members


def test_who_speaks_comes_before_who_has_ended_and_the_later_before_the_earlier() -> None:
    spotlight = Spotlight(Clock())
    assert spotlight.focused(3) == ()
    for member in "abc":
        assert spotlight.heard(member, True)
    assert spotlight.focused(1) == ("c",)
    assert spotlight.focused(2) == ("c", "b")
    spotlight.heard("c", False)
    assert spotlight.focused(1) == ("b",), "who said yes gives the light back to who goes on"
    assert spotlight.focused(8) == ("b", "a", "c")
    for member in "ab":
        spotlight.heard(member, False)
    assert spotlight.focused(1) == ("b",), "the last one stays in the light in the silence"
    assert not spotlight.heard("b", False), "nothing new"
    assert spotlight.focused(1, {"b"}) == ("a",)
    assert spotlight.forget(("b",))
    assert not spotlight.forget(("b", "z"))
    assert spotlight.focused(8) == ("a", "c")


def test_a_client_gets_who_speaks_large_and_the_others_small() -> None:
    viewer = Client("v", number=1, focus_rid="r2", unfocus_rid="none")
    stage, _ = stage_of(viewer, Client("a"), Client("b"))
    assert viewer.wishes.of("a") == "none"
    stage.heard("a", True)
    assert (viewer.wishes.of("a"), viewer.wishes.of("b")) == ("r2", "none")
    assert viewer.heard() == [("focused", "a"), ("changed", "a")]
    stage.heard("b", True)
    assert (viewer.wishes.of("a"), viewer.wishes.of("b")) == ("none", "r2")
    assert viewer.heard() == [("unfocused", "a"), ("focused", "b"), ("changed", "b")]
    steered = viewer.steered
    stage.heard("a", False)
    stage.light()
    assert (viewer.heard(), viewer.steered) == ([], steered), "it is all the same to this client"


def test_own_speech_takes_nobody_else_from_the_light() -> None:
    speaker = Client("me", number=1)
    stage, members = stage_of(speaker, Client("mine", bundle_id="me"), Client("other"))
    stage.heard("other", True)
    stage.heard("me", True)
    assert speaker.wishes.focused == {"other"}
    assert speaker.heard() == [("focused", "other"), ("changed", "other"), ("focused", "me")]
    stage.heard("mine", True)
    assert speaker.wishes.focused == {"other"}, "nor does that of its own bundle"
    assert members["other"].wishes.focused == {"me", "mine"}


def test_places_are_kept_and_emptied() -> None:
    viewer = Client("v", number=2)
    stage, members = stage_of(viewer, Client("a"), Client("b"), Client("c"))
    for key in "abc":
        stage.heard(key, True)
    changed = [(said["spotlight_id"], said["connection_id"]) for said in viewer.said if "spotlight_id" in said]
    assert changed == [("0", "a"), ("1", "b"), ("0", "c")], "b stays where it is"
    viewer.said.clear()
    del members["c"]
    stage.left(("c",))
    assert viewer.heard() == [("focused", "a"), ("changed", "a")]
    for key in "ab":
        del members[key]
        stage.left((key,))
    assert viewer.said[-1] == {
        "type": "notify",
        "event_type": "spotlight.changed",
        "client_id": None,
        "connection_id": None,
        "spotlight_id": "1",
        "audio": False,
        "video": False,
        "fixed": False,
    }


def test_who_comes_late_is_told_and_who_did_not_ask_is_not() -> None:
    late, plain = Client("late", live=False), Client("plain")
    plain.wishes.spotlight = False
    stage, _ = stage_of(late, plain, Client("a"))
    stage.heard("a", True)
    stage.heard("cam0", True)
    assert (late.said, plain.said) == ([], [])
    late.live = True
    stage.light()
    assert [name for name, _ in late.heard()].count("focused") == 2
    assert late.wishes.focused == {"a", "cam0"}, "a stream of the mesh can speak too"
    assert plain.wishes.of("a") is None


def test_a_wish_for_one_or_for_all_comes_before_the_spotlight() -> None:
    wishes = Wishes(spotlight=True, rid="r2")
    assert wishes.of("a") == "r0"
    wishes.ask("r1")
    wishes.ask("none", "b")
    assert (wishes.of("a"), wishes.of("b")) == ("r1", "none")
    wishes.ask(None, "b")
    assert wishes.of("b") == "r1"
    wishes.ask("r2", "b")
    wishes.ask(None)
    assert (wishes.of("a"), wishes.of("b")) == ("r0", "r0"), "all is taken back"
    wishes.ask("r2")
    for number in range(1000):
        wishes.ask("r1", str(number))
    assert len(wishes.asked) < 100, "bounded"
    assert [wishes.of(source) for source in ("999", "0", "another")] == ["r1", "r2", "r2"], "the newest hold"


@pytest.mark.parametrize(
    ("there", "expected"),
    [
        ("", (None, None, None)),
        ("r0 r1 r2", ("r0", "r1", "r2")),
        ("r0 r1", ("r0", "r1", "r1")),
        ("r2", ("r2", "r2", "r2")),
        ("r0 r2", ("r0", "r0", "r2")),
    ],
)
def test_a_layer_that_is_missing_is_replaced_by_a_smaller_one(there: str, expected: tuple[str | None, ...]) -> None:
    assert tuple(nearest(rid, there.split()) for rid in ("r0", "r1", "r2")) == expected


def test_a_move_is_told_with_what_was_wanted() -> None:
    source = Source("A" * 26, "room", True, ("video",))
    message = switched_message(source, "r2", ("r0", "r1"), "r0", "r1")
    assert message is not None
    assert (message.previous_rid, message.current_rid, message.request_rid) == ("r0", "r1", "r2")
    assert (message.trigger, message.priority) == ("sender", "higher")
    message = switched_message(source, None, ("r0", "r1", "r2"), "r0", "source")
    assert message is not None
    assert (message.current_rid, message.trigger, message.rpc_rids) == ("r2", "receiver", ("r0", "r1", "r2"))
    assert message.sender_connection_id == source.key
    assert switched_message(source, None, ("r0", "r1", "r2"), "source", "r2") is None, "the same pictures"
    assert switched_message(source, "r0", (), "source", "vp8") is None, "no layers"
    camera = switched_message(Source("cam0", "cam0", False, ("video",)), "r0", ("r0", "r1"), "main", "r0")
    assert camera is not None
    assert (camera.sender_connection_id, camera.priority) == (None, "lower")


def test_what_a_client_asks_for_is_read_or_refused_by_its_name() -> None:
    def read(**fields: Any) -> Wishes:
        return read_wishes(msgspec.convert({"type": "connect", "role": "recvonly", **fields}, Connect))

    wishes = read()
    assert (wishes.spotlight, wishes.rid, wishes.focus_rid, wishes.unfocus_rid) == (False, None, "r1", "r0")
    wishes = read(spotlight=True, spotlight_number=8, spotlight_focus_rid="r2", spotlight_unfocus_rid="none")
    assert (wishes.number, wishes.of("a")) == (8, "none")
    assert read(simulcast_rid="r0", simulcast_request_rid="none").of("a") == "none"
    for field, value in [
        ("simulcast_rid", "r3"),
        ("simulcast_rid", ["r0"]),
        ("simulcast_request_rid", 1),
        ("spotlight", "yes"),
        ("spotlight_number", 0),
        ("spotlight_number", 9),
        ("spotlight_number", True),
        ("spotlight_number", "2"),
        ("spotlight_focus_rid", "r9" * 500),
        ("spotlight_unfocus_rid", {}),
    ]:
        with pytest.raises(InvalidValue, match=field) as refused:
            read(**{field: value})
        assert len(refused.value.message.encode()) <= 100, "it goes into a close frame"
