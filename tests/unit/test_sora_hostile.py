"""Whatever a stranger says first is taken, or refused with a reason that fits a close frame; nothing else happens."""

import argparse
import asyncio
import json
from typing import Any

import msgspec
import pytest

from schemas.errors import BadRequest, InvalidValue
from services.cli import channels as command_line
from services.webrtc_gateway.sora.client_messages import Connect, read
from services.webrtc_gateway.sora.forwarding import read_forwarding
from services.webrtc_gateway.sora.labels import read_labels
from services.webrtc_gateway.sora.names import check_channel
from services.webrtc_gateway.sora.nesting import is_too_deep
from services.webrtc_gateway.sora.refusal import Refusal
from services.webrtc_gateway.sora.terms import read_terms
from services.webrtc_gateway.sora.wishes import read_wishes

pytestmark = pytest.mark.unit
FINE: dict[str, Any] = {
    "type": "connect",
    "role": "sendrecv",
    "channel_id": "cam0",
    "client_id": "a",
    "bundle_id": "b",
    "metadata": {"access_token": "t"},
    "signaling_notify_metadata": {"name": "n"},
    "audio": {"codec_type": "OPUS", "bit_rate": 64, "opus_params": {"usedtx": True}},
    "video": {"codec_type": "VP9", "bit_rate": 500, "vp9_params": {"profile_id": 0}},
    "simulcast": True,
    "simulcast_rid": "r0",
    "spotlight": True,
    "spotlight_number": 2,
    "spotlight_focus_rid": "r2",
    "spotlight_unfocus_rid": "none",
    "audio_streaming_language_code": "ja-JP",
    "data_channel_signaling": True,
    "ignore_disconnect_websocket": True,
    "data_channels": [{"label": "#a", "direction": "sendrecv", "header": [{"type": "sender_connection_id"}]}],
    "forwarding_filter": {"rules": [[{"field": "kind", "operator": "is_in", "values": ["audio"]}]]},
    "forwarding_filters": [{"rules": [], "priority": 1}],
    "redirect": False,
    "sora_client": "x",
}
HOSTILE: tuple[Any, ...] = (
    None,
    True,
    -1,
    2**63,
    10**30,
    1.5,
    "",
    "\x00\n\r\u2028",
    "x" * 10_000,
    [],
    [[]],
    [None],
    {},
    {"": {}},
    {"rules": [[{"field": "kind", "operator": "is_in", "values": [None]}]]},
)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place in a message."""
    found = [path] if path else []
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return found + [place for key, each in inner for place in places(each, (*path, key))]


def put(message: Any, path: tuple[Any, ...], value: Any) -> str:
    changed = json.loads(json.dumps(message))
    inner = changed
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    return json.dumps(changed)


def judge(text: str) -> Connect:
    """All that a first message is put through.

    Raises:
        msgspec.DecodeError, BadRequest, Refusal: what is wrong with it.
    """
    said = read(text)
    assert isinstance(said, Connect)
    check_channel(said.channel_id)
    assert said.token is None or isinstance(said.token, str)
    is_too_deep(said.signaling_notify_metadata)
    terms = read_terms(said, 8_000_000)
    assert "\n" not in terms.opus + str(dict(terms.formats))
    assert terms.max_bps <= 8_000_000
    read_forwarding(said.forwarding_filter, said.forwarding_filters)
    read_labels(said.data_channels)
    read_wishes(said)
    return said


@pytest.mark.parametrize("path", places(FINE), ids=lambda path: ".".join(map(str, path)))
def test_every_field_may_hold_anything(path: tuple[Any, ...]) -> None:
    judge(json.dumps(FINE))
    for value in HOSTILE:
        try:
            judge(put(FINE, path, value))
        except (msgspec.DecodeError, BadRequest, Refusal) as error:
            reason = Refusal("INVALID-MESSAGE", str(error)).text
            assert len(reason) <= 123
            assert reason.isascii()
            assert reason.decode().isprintable()


@pytest.mark.parametrize(
    "kind", ["answer", "re-answer", "update", "candidate", "pong", "disconnect", "offer", "", None, 7]
)
def test_every_type_may_come_with_anything(kind: Any) -> None:
    for field in ("sdp", "candidate", "stats", "reason", "type"):
        for value in HOSTILE:
            text = json.dumps({"sdp": "v=0", "type": kind, field: value})
            try:
                read(text)
            except msgspec.DecodeError:
                continue
            assert kind not in ("offer", "", None, 7)


@pytest.mark.parametrize(
    "text",
    [
        "[" * 200_000,
        '{"type":"connect","role":"x","metadata":' + "[" * 30_000,
        '{"type":"pong","stats":[' + '{"a":' * 30_000,
        '{"type":"connect","role":"x","metadata":"\\ud800\\u0041"}',
        '{"type":"connect","role":"x","metadata":1e999}',
        '{"type":"connect","role":"x","metadata":' + "9" * 5000 + "}",
        '{"type":"connect","role":"x"',
        "\ufeff{}",
        "\x00",
    ],
    ids=lambda text: text[:40],
)
def test_text_that_no_client_sends_is_no_message(text: str) -> None:
    with pytest.raises(msgspec.DecodeError):
        read(text)


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (["push"], "CHANNEL"),
        (["end"], "CHANNEL"),
        (["push", "Room 1"], "JSON"),
        (["end", "Room 1", "{}"], "JSON"),
        (["list", "Room 1", "{}"], "JSON"),
    ],
)
def test_the_command_line_says_what_it_lacks(arguments: list[str], what: str) -> None:
    parser = argparse.ArgumentParser()
    command_line.add_arguments(parser)
    with pytest.raises(InvalidValue, match=what):
        asyncio.run(command_line.run(parser.parse_args(arguments)))
