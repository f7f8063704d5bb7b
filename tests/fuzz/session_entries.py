"""Ways in for who begins a session: offers, Sora's messages, RTSP requests, what a 401 asks for."""

import contextlib
import functools
import json
from collections.abc import Callable
from typing import Any, Final

import msgspec

from schemas.errors import BadRequest, MeshError
from services.publisher.rtsp.credentials import Challenge
from services.publisher.rtsp.messages import RtspError, parse_head
from services.publisher.rtsp.targets import parse_target
from services.publisher.rtsp.transports import choose_transport
from services.publisher.whip_ice_servers import ice_servers_of
from services.webrtc_gateway.ingest.answer import write_ingest_answer
from services.webrtc_gateway.ingest.offer import match_ingest
from services.webrtc_gateway.signalling.answer import write_answer
from services.webrtc_gateway.signalling.offer import NotAcceptable, match_offer, offered_codecs, read_offer
from services.webrtc_gateway.sora.client_messages import Connect, read
from services.webrtc_gateway.sora.forwarding import read_forwarding
from services.webrtc_gateway.sora.labels import read_labels
from services.webrtc_gateway.sora.names import check_channel
from services.webrtc_gateway.sora.nesting import is_too_deep
from services.webrtc_gateway.sora.refusal import Refusal
from services.webrtc_gateway.sora.terms import read_terms
from services.webrtc_gateway.sora.wishes import read_wishes
from shared.netguard import Policy, check
from shared.netguard.http_auth import authorization, pick_challenge
from tests.fuzz.inputs import ROOT, each, text_of

_FIXTURES: Final = ROOT / "tests" / "unit" / "fixtures"


_HEAD_END: Final = b"\r\n\r\n"


_MAX_BPS: Final = 8_000_000


def sdp_offer(data: bytes) -> None:
    """An offer at /whep and /whip. No line of it gets into an answer that is not one of ours."""
    text = text_of(data)
    description = read_offer(text)
    offered_codecs(description)
    given: Any = {
        "ufrag": "u",
        "password": "p" * 24,
        "fingerprint": "AA:BB",
        "candidates": ["1 1 udp 1 ::1 9 typ host"],
    }
    answers = []
    with contextlib.suppress(BadRequest, NotAcceptable):
        answers.append(write_answer(match_offer(description, ("video", "opus")), cname="c", **given))
    with contextlib.suppress(BadRequest, NotAcceptable):
        offer = match_ingest(description, text)
        answers.append(write_ingest_answer(offer, max_bps=_MAX_BPS, **given))
    for answer in answers:
        assert "\r\n\r\n" not in answer
        assert all(line[1:2] == "=" for line in answer.split("\r\n")[:-1]), answer


def sdp_offers() -> list[bytes]:
    return [path.read_bytes() for path in sorted(_FIXTURES.glob("*.sdp"))]


def sora_message(data: bytes) -> None:
    """A text message of /signaling; a reason for a close frame is short and printable."""
    try:
        said = read(text_of(data))
        if not isinstance(said, Connect):
            return
        check_channel(said.channel_id)
        assert said.token is None or isinstance(said.token, str)
        is_too_deep(said.signaling_notify_metadata)
        terms = read_terms(said, _MAX_BPS)
        assert "\n" not in terms.opus + str(dict(terms.formats))
        assert terms.max_bps <= _MAX_BPS
        read_forwarding(said.forwarding_filter, said.forwarding_filters)
        read_labels(said.data_channels)
        read_wishes(said)
    except (msgspec.DecodeError, BadRequest, Refusal) as error:
        reason = Refusal("INVALID-MESSAGE", str(error)).text
        assert len(reason) <= 123
        assert reason.isascii()
        assert reason.decode().isprintable()


def sora_messages() -> list[bytes]:
    connect = {
        "type": "connect", "role": "sendrecv", "channel_id": "cam0", "client_id": "a", "bundle_id": "b",
        "metadata": {"access_token": "t"}, "signaling_notify_metadata": {"name": "n"},
        "audio": {"codec_type": "OPUS", "bit_rate": 64, "opus_params": {"usedtx": True}},
        "video": {"codec_type": "VP9", "bit_rate": 500, "vp9_params": {"profile_id": 0}},
        "simulcast": True, "simulcast_rid": "r0", "spotlight": True, "spotlight_number": 2,
        "spotlight_focus_rid": "r2", "spotlight_unfocus_rid": "none", "audio_streaming_language_code": "ja-JP",
        "data_channel_signaling": True, "ignore_disconnect_websocket": True,
        "data_channels": [{"label": "#a", "direction": "sendrecv", "header": [{"type": "sender_connection_id"}]}],
        "forwarding_filter": {"rules": [[{"field": "kind", "operator": "is_in", "values": ["audio"]}]]},
        "forwarding_filters": [{"rules": [], "priority": 1}], "redirect": False, "sora_client": "x",
    }  # fmt: skip
    others = [
        {"type": "answer", "sdp": "v=0"},
        {"type": "re-answer", "sdp": "v=0"},
        {"type": "candidate", "candidate": "candidate:1 1 udp 1 192.0.2.1 9 typ host"},
        {"type": "pong", "stats": [{"id": "x", "type": "codec"}]},
        {"type": "stats", "reports": [{}]},
        {"type": "disconnect", "reason": "x"},
    ]
    return [
        json.dumps(one).encode()
        for one in (connect, {"type": "connect", "role": "recvonly", "channel_id": "x"}, *others)
    ]


def rtsp_request(data: bytes) -> None:
    """A request's head; what is taken is understood, down to the client's ports."""
    request = parse_head(data.split(_HEAD_END)[0] + _HEAD_END)  # what the connection is read until
    assert request.cseq.isdigit()
    steps: list[Callable[[], object]] = [
        functools.partial(parse_target, request.uri),
        functools.partial(choose_transport, request.headers.get("transport", ""), "127.0.0.1", udp=True),
        functools.partial(Challenge({"a": "b"}).passes, request.method, request.headers.get("authorization", "")),
    ]
    each(steps, (RtspError, MeshError))


def rtsp_requests() -> list[bytes]:
    head = "%s rtsp://127.0.0.1:8554/cam0/main%s RTSP/1.0\r\nCSeq: 3\r\n%s\r\n"
    return [
        (head % ("DESCRIBE", "?audio=aac", "Accept: application/sdp\r\n")).encode(),
        (head % ("SETUP", "/trackID=0", "Transport: RTP/AVP/TCP;unicast;interleaved=0-1\r\n")).encode(),
        (head % ("SETUP", "/trackID=1", "Transport: RTP/AVP;unicast;client_port=5000-5001;mode=play\r\n")).encode(),
        (head % ("PLAY", "", "Session: 1;timeout=60\r\nRange: npt=0-\r\n")).encode(),
        (
            head % ("GET", "", 'Authorization: Digest username="a", realm="r", nonce="n", uri="/", response="x"\r\n')
        ).encode(),
        (head % ("OPTIONS", "", "Authorization: Basic YTpi\r\n")).encode(),
    ]


def challenge(data: bytes) -> None:
    """What a camera or a server asks for with 401."""
    url = _camera_url()
    asked = pick_challenge(text_of(data).split("\n"))
    header = authorization(url, url, asked)
    assert not set("\r\n") & set("".join(header.values()))


@functools.cache
def _camera_url() -> Any:
    return check("http://u:p@127.0.0.1/x?y=1", Policy(frozenset(("http",)), allow_private=True))


def ice_links(data: bytes) -> None:
    """`Link` headers of a WHIP endpoint."""
    assert len(ice_servers_of(text_of(data).split("\n"))) <= 4
