"""Who may give commands to machines over HTTP, and who is told of what they do."""

import msgspec

from schemas.events import Event
from schemas.signals import SetSignal, StartInput
from services.webrtc_gateway.auth.grant import EVERYTHING, Grant
from services.webrtc_gateway.auth.visible import visible_message
from services.webrtc_gateway.commands.table import find_command

OF_ONE_STREAM = Grant("somebody", "somebody", ("cam0", "do*"), frozenset(("view", "publish", "control")))


def test_rights_for_a_stream_are_none_for_a_machine() -> None:
    # No stream named means all of them: what a request says of a stream must not make it a matter of that stream.
    on = SetSignal(signal="do1", stream="cam0")
    assert find_command("io-signal.on").streams(None, on) == ()
    assert find_command("io-signal.signal-on").streams("do1", on) == ()
    listen = StartInput(input="di1", mode="tcp", address="tcp://127.0.0.1:9100", stream="cam0")
    assert find_command("io-signal.start-input").streams(None, listen) == ()
    assert not OF_ONE_STREAM.may("control", None)
    assert EVERYTHING.may("control", None)


def test_the_owners_own_command_has_its_subject() -> None:
    assert find_command("io-signal.signal-pulse").subject("do1") == "mesh.v1.cmd.io-signal.do1.pulse"
    assert find_command("io-signal.pulse").subject(None) == "mesh.v1.cmd.io-signal.pulse"


def test_what_machines_do_is_told_to_those_who_see_all() -> None:
    event = Event(service="io-signal", id="do1", event="changed", node="edge", at_ns=1)
    message = msgspec.json.encode({"type": "event", "event": event})
    assert visible_message(message, OF_ONE_STREAM) is None
    assert visible_message(message, EVERYTHING) == message


def test_who_commands_is_who_the_token_says() -> None:
    claimed = SetSignal(signal="do1", by="the boss", why="lunch")
    told = find_command("io-signal.on").narrowed(claimed, OF_ONE_STREAM)
    assert (told.by, told.why) == ("somebody", "lunch")
    assert find_command("io-signal.on").narrowed(claimed, EVERYTHING).by == "the boss", "nobody knows better"
