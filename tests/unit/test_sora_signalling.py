"""What Sora clients are offered: names, m-lines and their order, and text that is read whatever is in it."""

import json

import msgspec
import pytest
from aiortc.sdp import SessionDescription

from schemas.errors import BadRequest
from schemas.ids import check_id
from services.webrtc_gateway.ingest.offer import PREFERENCE, match_ingest
from services.webrtc_gateway.signalling.offer import read_offer
from services.webrtc_gateway.sora.answer import fingerprints_of, keep_what_is_sent, side_of
from services.webrtc_gateway.sora.client_messages import Connect, Pong, VideoOptions, read
from services.webrtc_gateway.sora.layout import Layout
from services.webrtc_gateway.sora.messages import Offer, write
from services.webrtc_gateway.sora.names import alias, check_channel, is_stream_id, new_connection_id, rights_name
from services.webrtc_gateway.sora.sections import MAX_SECTIONS, Terms, Transport, opus_format, write_offer

pytestmark = pytest.mark.unit
TERMS = Terms(codecs=PREFERENCE, opus=opus_format({}), max_bps=8_000_000, start_bps=700_000)
PRINT = ":".join(["AB"] * 32)
TRANSPORT = Transport("ufrag", "p" * 24, PRINT, ("1 1 udp 2130706431 127.0.0.1 8189 typ host",))


def offer_of(layout: Layout) -> str:
    return write_offer(layout.sections, TERMS, TRANSPORT, 1, 1)


def answer_to(offer: str) -> str:
    """As a client's: the same m-lines, seen from the other side."""
    turned = {"a=recvonly": "a=sendonly", "a=sendonly": "a=recvonly", "a=setup:actpass": "a=setup:active"}
    lines = [turned.get(line, line) for line in offer.splitlines() if line != "a=ice-lite"]
    return "\r\n".join(lines) + "\r\n"


def test_the_offer_is_read_as_it_is_meant() -> None:
    layout = Layout()
    layout.add_uplink(("audio", "video"))
    layout.take(("audio", "video"), "A" * 26)
    text = offer_of(layout)
    read_back = SessionDescription.parse(text)
    assert [(m.kind, m.direction, m.rtp.muxId) for m in read_back.media] == [
        ("audio", "recvonly", "0"),
        ("video", "recvonly", "1"),
        ("audio", "sendonly", "2"),
        ("video", "sendonly", "3"),
    ], "what the client sends comes first"
    assert read_back.media[0].ice.iceLite
    assert [m.dtls.role for m in read_back.media if m.dtls] == ["auto"] * 4
    assert text.count("a=candidate:") == 1
    assert text.count("x-google-start-bitrate=700") == len(PREFERENCE)
    assert "a=msid:" + "A" * 26 in text
    names = [codec.name for codec in read_back.media[3].rtp.codecs]
    assert names == ["H264", "VP8", "VP9", "AV1", "H265"], "nothing is sent again in a stream of its own"


def test_each_stream_is_matched_with_its_own_lines() -> None:
    layout = Layout()
    layout.add_uplink(("audio", "video"))
    layout.take(("video",), "cam0")
    text = answer_to(offer_of(layout))
    description = read_offer(text)
    assert fingerprints_of(description)[0].value == PRINT
    up = side_of(description, layout.uplink_mids.values())
    assert up is not None
    keep_what_is_sent(up)
    terms = match_ingest(up, text).terms
    assert [(track.track, track.codec, track.mid) for track in terms.tracks] == [
        ("opus", None, "0"),
        ("video", "h264", "1"),
    ]
    assert terms.tracks[1].repair_type == 101
    assert side_of(description, ("7",)) is None
    refused = read_offer(text.replace("m=video 9", "m=video 0"))
    assert side_of(refused, ("1", "2")) is None
    with pytest.raises(BadRequest, match="setup:active"):
        fingerprints_of(read_offer(text.replace("setup:active", "setup:passive")))


def test_lines_keep_their_places_and_are_used_again_when_there_is_no_room() -> None:
    layout = Layout()
    layout.fill(("audio", "video"))
    first = layout.take(("audio", "video"), "a")
    assert [section.mid for section in first] == ["0", "1"], "those that were there for nothing"
    layout.free(first)
    second = layout.take(("audio", "video"), "b")
    assert [section.mid for section in second] == ["2", "3"], "the client has sinks on the others"
    ssrcs = {section.ssrc for section in first}
    while len(layout.sections) < MAX_SECTIONS:
        assert layout.take(("audio", "video"), "more")
    again = layout.take(("audio", "video"), "c")
    assert [section.mid for section in again] == ["0", "1"]
    assert not ssrcs & {section.ssrc for section in again}, "SRTP must not go back in its numbers"
    assert layout.take(("video",), "d") == ()


def test_names() -> None:
    one, other = new_connection_id(), new_connection_id()
    assert len(one) == 26
    assert one != other
    for channel in ("Room 1", "日本", "-", "a--b", "x" * 255, "line-1"):
        check_channel(channel)
        check_id(alias(channel, one))
        check_id(rights_name(channel))
        assert rights_name(channel) == channel or not is_stream_id(channel)
    long = "a" * 63
    assert rights_name(long) == long, "a token for the beginning of a name is none for it"
    for bad in ("", "a\n", "\x00", "x" * 256, "é" * 128):
        with pytest.raises(BadRequest, match="channel_id"):
            check_channel(bad)


def test_wishes_are_taken_as_far_as_they_are_any() -> None:
    fmtp = opus_format({"usedtx": True, "ptime": 20, "stereo": "1\r\na=x", "minptime": -1, "unknown": 3})
    assert fmtp == "minptime=10;useinbandfec=1;usedtx=1;ptime=20"
    said = read('{"type":"connect","role":"x","video":{"codec_type":"VP9","bit_rate":9},"new":1,"metadata":[1]}')
    assert isinstance(said, Connect)
    assert (said.video, said.token) == (VideoOptions("VP9", 9), None)
    assert isinstance(read('{"type":"pong","stats":[{"a":1}]}'), Pong)
    pong = read('{"type":"pong","stats":[{"a":-inf,"b":[ nan,inf],"c":1}]}')
    assert isinstance(pong, Pong)
    assert json.loads(bytes(pong.stats)) == [{"a": None, "b": [None, None], "c": 1}]
    named = read('{"type":"connect","role":"x","client_id":"a,inf,b"}')
    assert isinstance(named, Connect)
    assert named.client_id == "a,inf,b", "what is in quotes is no number"
    for bad in ("", "null", "{}", '{"type":"offer"}', '{"type":"connect"}', '{"type":"pong","stats":[-info]}'):
        with pytest.raises(msgspec.DecodeError):
            read(bad)


def test_nothing_is_left_out_that_clients_end_without() -> None:
    offer = Offer(
        sdp="v=0", channel_id="c", session_id="s", client_id="i", bundle_id="b", connection_id="n", mid={}, version="v"
    )
    said = json.loads(write(offer))
    assert said["type"] == "offer"
    assert said["config"] == {"iceServers": [], "iceTransportPolicy": "all"}
    assert (said["simulcast"], said["data_channels"], said["data_channel_signaling"]) == (False, [], False)
