"""The real sora_sdk, unmodified, against a running mesh with tokens: it publishes, watches, and is refused."""

import asyncio
import base64
import io
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np
import pytest
from PIL import Image

from shared.media import timecode
from tests.support.mesh import RunningMesh
from tests.support.pace import slowness
from tests.support.sora_client import FPS, HEIGHT, WIDTH, SoraClient

pytest.importorskip("sora_sdk")
pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]

ALL, WATCHER = "the-token-of-who-may-do-all", "the-token-of-whoever-only-watches"
ENTRIES = [
    {"name": "room", "token": ALL, "streams": ["*"], "actions": ["view", "publish", "control"]},
    {"name": "watcher", "token": WATCHER, "streams": ["cam0"], "actions": ["view"]},
]
LATE_MS = 2000  # a browser's jitter buffer has at most some hundred; a picture of another run has minutes


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningMesh]:
    tokens = tmp_path_factory.mktemp("sora") / "tokens.yaml"
    tokens.write_text(json.dumps(ENTRIES))
    tokens.chmod(0o600)
    environment = {
        "FRAMEMESH_WEBRTC_GATEWAY_TOKENS_FILE": str(tokens),
        "FRAMEMESH_WEBRTC_GATEWAY_FAILURES_PER_SECOND": "0",
        "FRAMEMESH_WEBRTC_GATEWAY_SESSIONS_PER_SECOND": "0",
    }
    with RunningMesh(environment=environment) as running:
        running.call("capture.start", stream="cam0", source=f"test://?size={WIDTH}x{HEIGHT}&fps={FPS}&timecode=1")
        yield running


def signaling(mesh: RunningMesh) -> str:
    return mesh.console.replace("http", "ws", 1) + "signaling"


def client(mesh: RunningMesh, role: str, channel: str, token: str = ALL, **options: Any) -> SoraClient:
    return SoraClient(signaling(mesh), role, channel, metadata={"access_token": token}, **options)


def shows_now(event: dict[str, Any]) -> bool:
    return event["late_ms"] is not None and -50 <= event["late_ms"] <= LATE_MS * slowness()


def about(name: str, connection: str) -> Any:
    """Whether a notification is of that event about that connection."""
    return lambda event: (event["message"]["event_type"], event["message"]["connection_id"]) == (name, connection)


def own_id(who: SoraClient) -> str:
    said: str = who.wait("offer")["message"]["connection_id"]
    return said


def test_what_is_published_is_a_stream_and_what_is_a_stream_is_watched(mesh: RunningMesh) -> None:
    with client(mesh, "sendonly", "line") as publisher, client(mesh, "recvonly", "cam0", WATCHER) as watcher:
        created = publisher.wait("notify", about("connection.created", own_id(publisher)))["message"]
        assert (created["role"], created["channel_connections"], created["data"]) == ("sendonly", 1, [])
        assert len(created["connection_id"]) == 26

        picture = watcher.wait("picture", lambda event: event["number"] > 5 and shows_now(event))
        assert picture["stream"] == "cam0"
        assert picture["shape"] == [HEIGHT, WIDTH, 3]
        watcher.wait("sound", lambda event: event["level"] > 100)
        session = next(s for s in mesh.call("webrtc-gateway.sessions")["sessions"] if s["stream"] == "cam0")
        assert session["rendition"] in ("vp8", "vp9", "av1"), "it cannot decode main's H.264"
        assert (session["kind"], session["client"]) == ("sora", "Sora Python SDK 2025.4.0")

        mesh.wait_for(lambda: (mesh.actual("streams", "line") or {}).get("state") == "live", what="line is live")
        assert mesh.actual("streams", "line")["source_tracks"] == ["video", "opus"]
        shot = mesh.call("capture.line.snapshot", format="png")
        luma = np.asarray(Image.open(io.BytesIO(base64.b64decode(shot["data"]))).convert("L"))
        assert luma.shape == (HEIGHT, WIDTH)
        taken_ms = shot["captured_ns"] // 1_000_000
        burnt_ms = timecode.read(luma, taken_ms)
        assert burnt_ms is not None
        assert abs(taken_ms - burnt_ms) < LATE_MS * slowness()

        # Ended by the mesh, and by the client.
        mesh.call("webrtc-gateway.kick", session=session["session"])
        closed = watcher.wait("ws_close")
        assert (closed["code"], closed["reason"]) == (1000, "DISCONNECTED-API")
        publisher.end()
        closed = publisher.wait("ws_close")
        assert (closed["code"], closed["reason"]) == (1000, "TYPE-DISCONNECT")
        for who in (watcher, publisher):
            assert who.wait("disconnect")["code"] == "CLOSE_SUCCEEDED"
            assert who.wait("exit")["code"] == 0
    assert ALL not in mesh.log.read_text()


def test_those_who_come_and_go_are_offered_anew(mesh: RunningMesh) -> None:
    with (
        client(mesh, "recvonly", "Room 1") as early,
        client(mesh, "sendrecv", "Room 1") as first,
        client(mesh, "sendrecv", "Room 1") as second,
    ):
        ids = own_id(first), own_id(second)
        for stream in ids:
            early.wait("picture", lambda event, stream=stream: event["stream"] == stream and shows_now(event))
        first.wait("picture", lambda event: event["stream"] == ids[1] and event["number"] > 5 and shows_now(event))
        second.wait("picture", lambda event: event["stream"] == ids[0] and event["number"] > 5 and shows_now(event))
        with client(mesh, "sendrecv", "Room 1", bundle_id=ids[0]) as mine:
            third = own_id(mine)
            there = mine.wait("notify", about("connection.created", third))["message"]
            assert {peer["connection_id"] for peer in there["data"]} == {*ids, own_id(early)}
            assert there["channel_sendrecv_connections"] == 3
            second.wait("picture", lambda event: event["stream"] == third)
            mine.wait("track", lambda event: event["stream"] == ids[1])
            assert ids[0] not in {event["stream"] for event in mine.all("track")}, "of its own bundle"
        assert third not in {event["stream"] for event in first.all("track")}
        gone = second.wait("notify", about("connection.destroyed", third))["message"]
        assert gone["channel_connections"] == 3
        numbers = [event["number"] for event in second.all("picture") if event["stream"] == ids[0]]
        second.wait("picture", lambda event: event["stream"] == ids[0] and event["number"] > numbers[-1] + 5)
        assert {event["stream"] for event in second.all("track")} == {ids[0], third}
        first.kill()
        second.wait("notify", about("connection.destroyed", ids[0]))


@pytest.mark.parametrize(
    ("role", "channel", "token", "reason"),
    [
        ("watcher", "cam0", ALL, "INVALID-ROLE"),
        ("recvonly", "", ALL, "INVALID-CHANNEL-ID"),
        ("recvonly", "cam0", "nobody's", "AUTHZ-REJECTED"),
        ("sendrecv", "cam0", WATCHER, "AUTHZ-REJECTED"),
        ("recvonly", "cam1", WATCHER, "AUTHZ-REJECTED"),
    ],
)
def test_who_may_not_is_told_why(mesh: RunningMesh, role: str, channel: str, token: str, reason: str) -> None:
    with client(mesh, role, channel, token) as refused:
        closed = refused.wait("ws_close")
        assert (closed["code"], closed["reason"]) == (4490, reason)
        assert refused.wait("disconnect")["code"] == "WEBSOCKET_ONCLOSE"
        assert refused.wait("exit")["code"] == 0
    assert not refused.all("offer")


async def said_to(mesh: RunningMesh, *texts: str | bytes) -> tuple[int | None, list[str]]:
    """The close code after some messages, and the types of what was answered."""
    answered = []
    async with aiohttp.ClientSession() as http, http.ws_connect(signaling(mesh)) as socket:
        for text in texts:
            await (socket.send_str(text) if isinstance(text, str) else socket.send_bytes(text))
        while (message := await socket.receive(25)).type is aiohttp.WSMsgType.TEXT:
            answered.append(json.loads(message.data)["type"])
        return socket.close_code, answered


def connect(**fields: Any) -> str:
    return json.dumps(
        {"type": "connect", "role": "recvonly", "channel_id": "cam0", "metadata": {"access_token": ALL}, **fields}
    )


async def test_rubbish_ends_its_own_connection_and_no_other(mesh: RunningMesh) -> None:
    with client(mesh, "recvonly", "cam0") as watcher:
        watcher.wait("picture", seconds=15)
        for nonsense in (
            "hello",
            "[]",
            b"\x00",
            '{"type":"answer","sdp":"v=0"}',
            connect(role=7),
            connect(channel_id="a\nb"),
            connect(channel_id="c" * 256),
            connect(video={"codec_type": "MPEG2"}),
            connect(audio="loud"),
            connect(signaling_notify_metadata="x" * 8192),
            "x" * 300_000,
        ):
            code, answered = await said_to(mesh, nonsense)
            assert (code in (4490, 1009), answered) == (True, []), str(nonsense)[:60]
        disconnect = '{"type":"disconnect","reason":"NO-ERROR"}'
        for nonsense in ("hello", '{"type":"pong","stats":[-inf]}', '{"type":"new"}', '{"type":"re-answer","sdp":""}'):
            code, answered = await said_to(mesh, connect(), nonsense, disconnect)
            assert (code, answered) == (1000, ["offer"])
        for bad in ("", "v=0", "m=video 9 X 1\r\n" * 40):
            code, answered = await said_to(mesh, connect(), json.dumps({"type": "answer", "sdp": bad}))
            assert (code, answered) == (4490, ["offer"])
        began_s = time.monotonic()
        code, answered = await said_to(mesh, connect(), *['{"type":"pong"}'] * 140, disconnect)
        assert (code, answered[0]) == (1000, "offer"), "nothing that is said is lost"
        assert time.monotonic() - began_s > 0.5, "who says so much at once is heard later"
        await pinged(mesh, 140)
        number = watcher.all("picture")[-1]["number"]
        watcher.wait("picture", lambda event: event["number"] > number + 10)


async def pinged(mesh: RunningMesh, count: int) -> None:
    """By a client of the WebSocket alone: each ping is answered, and so many at once later."""
    async with aiohttp.ClientSession() as http, http.ws_connect(signaling(mesh), autoping=False) as socket:
        await socket.send_str(connect())
        assert (await socket.receive_json(timeout=5))["type"] == "offer"
        began_s = time.monotonic()
        for number in range(count):
            await socket.ping(str(number).encode())
        for number in range(count):
            while (answer := await socket.receive(5)).type is aiohttp.WSMsgType.TEXT:
                continue
            assert (answer.type, bytes(answer.data)) == (aiohttp.WSMsgType.PONG, str(number).encode())
        assert time.monotonic() - began_s > 0.5


async def test_who_cannot_publish_is_told_why(mesh: RunningMesh) -> None:
    async with aiohttp.ClientSession() as http, http.ws_connect(signaling(mesh)) as socket:
        await socket.send_str(connect(role="sendonly", channel_id="late", audio=False))
        offer = (await socket.receive_json(timeout=5))["sdp"]
        # Whoever starts a stream of that name meanwhile has it.
        await asyncio.to_thread(mesh.call, "capture.start", stream="late", source="test://?size=384x32&fps=1")
        answer = offer.replace("a=recvonly", "a=sendonly").replace("setup:actpass", "setup:active")
        await socket.send_json({"type": "answer", "sdp": answer})
        closed = await socket.receive(5)
        assert (closed.type, closed.data) == (aiohttp.WSMsgType.CLOSE, 4490)
        assert closed.extra.startswith("NOT-PUBLISHED-409 stream late has its own source; publish under another name")
    await asyncio.to_thread(mesh.call, "capture.stop", stream="late")


def test_who_loses_its_token_loses_its_connection_and_no_other(mesh: RunningMesh) -> None:
    tokens = Path(mesh.environment["FRAMEMESH_WEBRTC_GATEWAY_TOKENS_FILE"])
    without_socket = {"data_channel_signaling": True, "ignore_disconnect_websocket": True}
    with (
        client(mesh, "recvonly", "cam0") as stays,
        client(mesh, "recvonly", "cam0", WATCHER) as goes,
        client(mesh, "recvonly", "cam0", WATCHER, **without_socket) as goes_too,
    ):
        for who in (stays, goes, goes_too):
            who.wait("picture")
        goes_too.wait("ws_close")
        tokens.write_text(json.dumps(ENTRIES[:1]))
        try:
            assert goes.wait("disconnect")["code"] == "WEBSOCKET_ONERROR"
            assert "code=4490" in goes_too.wait("disconnect")["message"]
            number = stays.all("picture")[-1]["number"]
            stays.wait("picture", lambda event: event["number"] > number + 10)
            assert not stays.all("disconnect")
        finally:
            tokens.write_text(json.dumps(ENTRIES))


@pytest.mark.long
@pytest.mark.parametrize("codec", ["VP8", "VP9", "AV1"])
def test_each_codec_up_and_down(mesh: RunningMesh, codec: str) -> None:
    channel = f"codec-{codec.lower()}"
    with (
        client(mesh, "sendonly", channel, video_codec_type=codec, video_bit_rate=700) as publisher,
        client(mesh, "recvonly", channel, video_codec_type=codec) as watcher,
    ):
        picture = watcher.wait("picture", lambda event: event["number"] > 20 and shows_now(event), 20)
        assert picture["stream"] == own_id(publisher)
        assert mesh.actual("streams", channel)["video"]["codec"] == codec.lower()
        sessions = [s for s in mesh.call("webrtc-gateway.sessions")["sessions"] if s["stream"] == channel]
        assert [(s["rendition"], s["instead_of"]) for s in sessions] == [("source", "")], "nothing is encoded again"


@pytest.mark.long
async def test_who_says_nothing_is_not_waited_for(mesh: RunningMesh) -> None:
    assert await said_to(mesh) == (4490, [])
    code, answered = await said_to(mesh, connect())
    assert (code, answered[0]) == (4490, "offer")
