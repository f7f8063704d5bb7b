"""Requests for the three doors: every route with what it takes, then changed; and frames on their WebSockets."""

import json
from random import Random
from typing import Final

from tests.fuzz.api_entries import las_bodies, mix_bodies
from tests.fuzz.mutators import mutate_bytes, mutate_json, mutate_text
from tests.fuzz.session_entries import sdp_offers, sora_messages

_METHODS: Final = ("GET", "POST", "HEAD", "PATCH", "DELETE", "OPTIONS", "PUT", "TRACE", "CONNECT")
_SOCKET: Final = (
    "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    "Sec-WebSocket-Extensions: permessage-deflate\r\n"
)
_TEXT_FRAME, _BINARY_FRAME, _PING_FRAME, _CLOSE_FRAME = 0x81, 0x82, 0x89, 0x88
_QUERIES: Final = (
    "",
    "?rendition=main",
    "?at=-1s&format=png&width=64",
    "?_HLS_msn=1&_HLS_part=2",
    "?stream=cam0&token=x",
)
_HEADERS: Final = (
    "Range: bytes=0-9\r\n",
    "If-None-Match: *\r\n",
    "If-Range: x\r\n",
    "Accept: application/sdp\r\n",
    "Cookie: framemesh-0=YQ.b\r\n",
    "Origin: http://127.0.0.1\r\n",
    "Authorization: Bearer abc.def.ghi\r\n",
    "Content-Encoding: gzip\r\n",
    "Transfer-Encoding: chunked\r\n",
    "Expect: 100-continue\r\n",
    "X-Forwarded-For: 192.0.2.1\r\n",
    "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n",
    "Access-Control-Request-Method: POST\r\n",
)
_SDP, _JSON, _TRICKLE = "application/sdp", "application/json", "application/trickle-ice-sdpfrag"

_FRAGMENT: Final = (
    b"a=ice-ufrag:u\r\na=ice-pwd:p\r\nm=audio 9 RTP/AVP 0\r\na=mid:0\r\na=candidate:1 1 udp 1 192.0.2.1 9 typ host\r\n"
)

DOORS: Final[dict[str, tuple[tuple[str, str, str], ...]]] = {
    "webrtc-gateway": (
        ("POST", "/whep/cam0", _SDP),
        ("POST", "/whep/cam0/main", _SDP),
        ("PATCH", "/whep/cam0/main/0123", _TRICKLE),
        ("DELETE", "/whep/cam0/main/0123", ""),
        ("POST", "/whip/cam9", _SDP),
        ("PATCH", "/whip/cam9/0123", _TRICKLE),
        ("DELETE", "/whip/cam9/0123", ""),
        ("GET", "/api/login", ""),
        ("POST", "/api/login", _JSON),
        ("POST", "/api/logout", ""),
        ("GET", "/", ""),
        ("GET", "/console/app.js", ""),
        ("GET", "/recordings/cam0/x.mp4", ""),
        ("GET", "/api/status", ""),
        ("GET", "/frame/cam0", ""),
        ("GET", "/api/cmd", ""),
        ("POST", "/api/cmd/capture.list", _JSON),
        ("POST", "/api/cmd/capture.start", _JSON),
        ("GET", "/pictures/job/0", ""),
        ("GET", "/hls/cam0/index.m3u8", ""),
        ("GET", "/hls/cam0/main/index.m3u8", ""),
        ("GET", "/hls/cam0/main/s1.m4s", ""),
    ),
    "frame-extractor": (
        ("POST", "/api/v1/submit", _JSON),
        ("POST", "/api/v1/poll", _JSON),
        ("GET", "/api/v1/usage", ""),
        ("GET", "/frames/abc", ""),
        ("GET", "/", ""),
        ("GET", "/openapi.json", ""),
        ("GET", "/healthz", ""),
        ("GET", "/frame", ""),
    ),
    "cloud-mix-proxy": (
        ("POST", "/?Action=CreateCloudMixTask&Version=2023-01-01", _JSON),
        ("POST", "/?Action=UpdateCloudMixTask&Version=2023-01-01", _JSON),
        ("POST", "/?Action=ListCloudMixTask&Version=2023-01-01", _JSON),
        ("POST", "/", _JSON),
        ("GET", "/healthz", ""),
    ),
}
"""(method, path, type of the body) of each."""


def a_request(dice: Random, service: str) -> bytes:
    """One for that door; its parts are changed, or all of it."""
    method, path, kind = dice.choice(DOORS[service])
    method = method if dice.random() < 0.85 else dice.choice(_METHODS)
    path += dice.choice(_QUERIES) if dice.random() < 0.3 and "?" not in path else ""
    if dice.random() < 0.4:
        changed = mutate_text(dice, path.encode(), [b"/whep/cam0/main?x=1"])
        path = changed.decode("latin-1").replace(" ", "%20").replace("\n", "%0A")
    body = _body(dice, kind)
    head = [f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"]
    head += dice.sample(_HEADERS, dice.choice((0, 0, 1, 3)))
    if body or kind:
        head.append(f"Content-Type: {kind or _JSON}\r\nContent-Length: {len(body)}\r\n")
    whole = "".join(head).encode("latin-1", "replace") + b"\r\n" + body
    return mutate_bytes(dice, whole, [whole]) if dice.random() < 0.2 else whole


def _body(dice: Random, kind: str) -> bytes:
    if kind == _SDP:
        seeds = sdp_offers()
        return mutate_text(dice, dice.choice(seeds), seeds)
    if kind == _TRICKLE:
        return mutate_text(dice, _FRAGMENT, [_FRAGMENT])
    if kind == _JSON:
        plain = json.dumps({"stream": "cam9", "source": "test://", "token": "x", "wait_s": 0}).encode()
        seeds = [*las_bodies(), *mix_bodies(), plain]
        data = dice.choice(seeds)
        for _ in range(dice.choice((0, 1, 3))):
            data = mutate_json(dice, data, seeds)
        return data
    return b""


def frame(first: int, data: bytes) -> bytes:
    """One of a client's, masked with zeros (RFC 6455 section 5.2)."""
    if len(data) < 126:
        length = bytes((0x80 | len(data),))
    elif len(data) < 1 << 16:
        length = b"\xfe" + len(data).to_bytes(2, "big")
    else:
        length = b"\xff" + len(data).to_bytes(8, "big")
    return bytes((first,)) + length + bytes(4) + data


def a_socket(dice: Random) -> bytes:
    """An upgrade and some frames: of /signaling, which answers each, or of /api/events, which wants none."""
    path = dice.choice(("/signaling", "/signaling", "/api/events"))
    head = f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\n{_SOCKET}\r\n".encode()
    seeds = sora_messages()
    frames = []
    for _ in range(dice.choice((1, 2, 5))):
        data = dice.choice(seeds)
        if dice.random() < 0.8:
            data = mutate_json(dice, data, seeds)
        kinds = (_TEXT_FRAME,) * 8 + (_BINARY_FRAME, _PING_FRAME, _CLOSE_FRAME, _TEXT_FRAME | 0x40, 1)
        frames.append(frame(dice.choice(kinds), data))
    sent = b"".join(frames)
    return head + (mutate_bytes(dice, sent, [sent]) if dice.random() < 0.3 else sent)
