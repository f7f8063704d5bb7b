"""The real sora_sdk where names matter: certificates, filters, what the mesh tells a channel, and another gateway."""

import asyncio
import contextlib
import json
import socket
import ssl
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import aiohttp
import pytest
from aiohttp.test_utils import TestServer

from schemas.events import Event
from schemas.subjects import all_events
from services.webrtc_gateway.sora.channels import Channels
from services.webrtc_gateway.sora.downlinks import Parts
from services.webrtc_gateway.sora.routes import SoraRoutes
from services.webrtc_gateway.web.origins import Origins
from shared.bus import Bus
from tests.support.mesh import CallFailed, RunningMesh
from tests.support.peers import free_port
from tests.support.sora_client import SoraClient
from tests.support.tls_front import certificate

pytest.importorskip("sora_sdk")
pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]

CHANNEL, STREAM = "Halle 3 / カメラ", "halle-3"
ALL, OTHER = "the-token-of-who-may-do-all", "the-token-of-another-stream"
ENTRIES = [
    {"name": "all", "token": ALL, "streams": ["*"], "actions": ["view", "publish", "control"]},
    {"name": "other", "token": OTHER, "streams": ["halle-4"], "actions": ["view", "publish", "control"]},
]
VIDEO = {"field": "kind", "operator": "is_in", "values": ["video"]}
_STUN_BINDING, _MAGIC_COOKIE = 0x0001, 0x2112A442  # RFC 8489


@dataclass
class Guarded:
    """A mesh whose gateway wants certificates of its clients, and has room for two who publish."""

    mesh: RunningMesh
    server: Path
    client: Path
    client_key: Path
    relay: socket.socket
    """What clients take for a STUN server; it answers nobody."""

    @property
    def url(self) -> str:
        return self.mesh.console.replace("http", "ws", 1) + "signaling"

    @property
    def proof(self) -> dict[str, str]:
        return {"client_cert": self.client.read_text(), "client_key": self.client_key.read_text()}

    def connect(self, role: str, url: str = "", **options: Any) -> SoraClient:
        options = {"ca_cert": self.server.read_text(), **self.proof, "metadata": {"access_token": ALL}, **options}
        return SoraClient(url or self.url, role, CHANNEL, **options)

    async def post(self, command: str, token: str, **request: Any) -> int:
        """The status of a command over HTTP."""
        context = ssl.create_default_context(cafile=self.server)
        context.load_cert_chain(self.client, self.client_key)
        async with (
            aiohttp.ClientSession(headers={"Authorization": f"Bearer {token}"}) as http,
            http.post(f"{self.mesh.console}api/cmd/{command}", json=request, ssl=context) as response,
        ):
            return response.status


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    folder = tmp_path_factory.mktemp("certificates")
    made = {}
    for name in ("server", "client"):
        (folder / name).mkdir()
        made[name] = certificate(folder / name)
    tokens, credential = folder / "tokens.yaml", folder / "credential"
    tokens.write_text(json.dumps(ENTRIES))
    credential.write_text("relay-secret")
    for file in (tokens, credential):
        file.chmod(0o600)
    port = free_port()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as relay:
        relay.bind(("", 0))
        relay.settimeout(10)
        # Not over loopback: clients gather nothing there.
        where = f"{own_address()}:{relay.getsockname()[1]}"
        settings = {
            "HTTP_PORT": str(port),
            "TOKENS_FILE": str(tokens),
            "TLS_CERTIFICATE_FILE": str(made["server"][0]),
            "TLS_KEY_FILE": str(made["server"][1]),
            "TLS_CLIENT_CA_FILE": str(made["client"][0]),
            "ICE_SERVERS": f"stun:{where},turn:{where}",
            "TURN_USERNAME": "sora",
            "TURN_CREDENTIAL_FILE": str(credential),
            "MAX_PUBLISHERS": "2",
            "SORA_REDIRECTS": f"wss://127.0.0.1:{port}/signaling",  # to itself: what is full must not send on twice
            "SESSIONS_PER_SECOND": "0",
        }
        environment = {f"FRAMEMESH_WEBRTC_GATEWAY_{name}": value for name, value in settings.items()}
        with RunningMesh(environment=environment) as mesh:
            yield Guarded(mesh, made["server"][0], *made["client"], relay)


def own_address() -> str:
    """Of this machine, as its way out has it; nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        asking.connect(("192.0.2.1", 9))  # TEST-NET-1
        return str(asking.getsockname()[0])


@contextlib.asynccontextmanager
async def events_of(mesh: RunningMesh) -> Any:
    """What webrtc-gateway posts meanwhile."""
    bus = await Bus.connect(mesh.environment["FRAMEMESH_NATS_URL"], name="test")
    found: list[Event] = []

    def note(message: Any) -> None:
        event = json.loads(message.data)
        if event["service"] == "webrtc-gateway":
            found.append(event)

    await bus.subscribe(all_events(), note)
    try:
        yield found
    finally:
        await bus.drain()


def own_id(who: SoraClient) -> str:
    return str(who.wait("offer")["message"]["connection_id"])


def connected(who: SoraClient) -> dict[str, Any]:
    me = own_id(who)
    found: dict[str, Any] = who.wait(
        "notify",
        lambda event: (
            event["message"]["event_type"] == "connection.created" and event["message"]["connection_id"] == me
        ),
    )["message"]
    return found


def test_only_who_has_the_right_certificate_gets_to_say_anything(guarded: Guarded) -> None:
    server = guarded.server.read_text()
    wrong = {"client_cert": server, "client_key": (guarded.server.parent / "key.pem").read_text()}
    for options in (
        {**wrong},
        {"client_cert": "", "client_key": ""},
        {"ca_cert": guarded.client.read_text()},
    ):
        given = {name: value for name, value in {"ca_cert": server, **guarded.proof, **options}.items() if value}
        with SoraClient(guarded.url, "recvonly", CHANNEL, metadata={"access_token": ALL}, **given) as refused:
            assert refused.wait("disconnect")["code"] == "WEBSOCKET_HANDSHAKE_FAILED", options.keys()
            assert not refused.all("offer")
    with SoraClient(
        guarded.url, "recvonly", CHANNEL, metadata={"access_token": ALL}, insecure=True, **guarded.proof
    ) as trusting:
        own_id(trusting)
    assert "relay-secret" not in guarded.mesh.log.read_text()


async def test_a_channel_by_its_name(guarded: Guarded) -> None:
    wait = asyncio.to_thread
    left_wishes = {
        "client_id": "left",
        "bundle_id": "bundle-of-left",
        "signaling_notify_metadata": {"name": "Left"},
        "video_codec_type": "VP9",
        "video_bit_rate": 600,
        "video_vp9_params": {"profile_id": 0},
        "audio_opus_params": {"usedtx": True, "sprop_stereo": False},
        "audio_bit_rate": 32,
        "audio_streaming_language_code": "ja-JP",
    }
    without_left = {"rules": [[{"field": "client_id", "operator": "is_in", "values": ["left"]}, VIDEO]]}
    async with events_of(guarded.mesh) as events:
        with (
            guarded.connect("sendonly", **left_wishes) as left,
            guarded.connect("sendonly", client_id="right", video_codec_type="VP8") as right,
        ):
            offer, created = (await wait(left.wait, "offer"))["message"], await wait(connected, left)
            for line in ("x-google-start-bitrate=600", "b=AS:600", "profile-id=0", "usedtx=1", "sprop-stereo=0"):
                assert line in offer["sdp"]
            assert "maxaveragebitrate=32000" in offer["sdp"]
            assert [server["urls"][0].partition(":")[0] for server in offer["config"]["iceServers"]] == ["stun", "turn"]
            assert offer["config"]["iceServers"][1] | {"urls": 0} == {
                "urls": 0,
                "username": "sora",
                "credential": "relay-secret",
            }
            assert created["client_id"] == "left"
            assert (created["bundle_id"], created["metadata"]) == ("bundle-of-left", {"name": "Left"})
            kind, _, cookie = struct.unpack_from("!HHI", await wait(guarded.relay.recv, 2048))
            assert (kind, cookie) == (_STUN_BINDING, _MAGIC_COOKIE), "it asks the server that it was told of"
            ids = {"left": created["connection_id"], "right": (await wait(connected, right))["connection_id"]}

            with guarded.connect("recvonly", forwarding_filter=without_left) as watcher:
                there = await wait(connected, watcher)
                ids["watcher"] = there["connection_id"]
                assert {peer["client_id"] for peer in there["data"]} == {"left", "right"}
                await wait(watcher.wait, "picture", lambda event: event["stream"] == ids["right"])
                await wait(watcher.wait, "sound", lambda event: event["stream"] == ids["left"])
                tracks = {(event["stream"], event["kind"]) for event in watcher.all("track")}
                assert tracks == {(ids["left"], "audio"), (ids["right"], "audio"), (ids["right"], "video")}

                (channel,) = guarded.mesh.call("webrtc-gateway.channels", channel=CHANNEL)["channels"]
                assert (channel["channel"], channel["stream"]) == (CHANNEL, STREAM)
                found = {entry["connection_id"]: entry for entry in channel["connections"]}
                streams = {name: found[ids[name]]["stream"] for name in ids}
                assert streams == {
                    **{name: f"{STREAM}-{ids[name][:8].lower()}" for name in ("left", "right")},
                    "watcher": "",
                }
                assert set(found[ids["watcher"]]["watches"]) == {streams["left"], streams["right"]}
                assert found[ids["left"]]["audio_streaming_language_code"] == "ja-JP"
                assert all(entry["connected_ns"] for entry in found.values())
                assert guarded.mesh.actual("streams", streams["left"])["video"]["codec"] == "vp9"

                listed = await wait(guarded.mesh.run, "channels")
                assert listed.stdout.count(CHANNEL) == 3
                assert streams["left"] in listed.stdout

                push = {"channel": CHANNEL, "data": {"lights": ["on", 1]}}
                pushed = guarded.mesh.call("webrtc-gateway.push", **push)
                assert set(pushed["connections"]) == set(ids.values())
                assert await guarded.post("webrtc-gateway.push", ALL, **push, connection_id=ids["left"]) == 200
                assert await guarded.post("webrtc-gateway.push", OTHER, **push) == 403
                for who, times in ((left, 2), (right, 1), (watcher, 1)):
                    await wait(who.wait, "push", lambda _, who=who, times=times: len(who.all("push")) == times)
                    said = [event["message"] for event in who.all("push")]
                    assert said == [{"type": "push", "data": push["data"]}] * times
                for bad in ({"channel": "nobody's"}, {"channel": CHANNEL, "connection_id": "A" * 26}):
                    with pytest.raises(CallFailed, match="404"):
                        guarded.mesh.call("webrtc-gateway.push", data=1, **bad)

                ended = guarded.mesh.call("webrtc-gateway.disconnect", channel=CHANNEL, connection_id=ids["watcher"])
                assert ended["connections"] == [ids["watcher"]]
                closed = await wait(watcher.wait, "ws_close")
                assert (closed["code"], closed["reason"]) == (1000, "DISCONNECTED-API")
                assert (await wait(watcher.wait, "disconnect"))["code"] == "CLOSE_SUCCEEDED"

            # Two publish, and there is room for no more: it is sent on, once.
            with guarded.connect("sendonly") as third:
                closed = await wait(third.wait, "ws_close", lambda event: event["reason"] != "SELF-CLOSED")
                assert (closed["code"], closed["reason"]) == (4490, "TOO-MANY")
                assert len(third.all("ws_close")) == 2, "the client closes the first by itself"
                assert (await wait(third.wait, "exit"))["code"] == 0
            guarded.mesh.call("webrtc-gateway.disconnect", channel=CHANNEL, reason="the end of the shift")
            for who in (left, right):
                assert (await wait(who.wait, "disconnect"))["code"] == "CLOSE_SUCCEEDED"
        told = [(event["event"], event["detail"]) for event in events if event["id"] == STREAM]
    created_ids = {detail["connection_id"] for event, detail in told if event == "connection-created"}
    assert created_ids == set(ids.values())
    gone = {d["connection_id"]: d for event, d in told if event == "connection-destroyed"}
    assert {d["because"] for name in ("left", "right") for d in [gone[ids[name]]]} == {"the end of the shift"}
    assert (gone[ids["left"]]["channel"], gone[ids["left"]]["stream"]) == (CHANNEL, streams["left"])


async def test_a_gateway_that_ends_names_another_one(guarded: Guarded) -> None:
    ending = Channels(cast(Parts, None))  # it lets nobody in, so it needs nothing to serve them with
    ending.stop()
    routes = SoraRoutes(ending, None, Origins(), "8M", (guarded.url,))
    app = aiohttp.web.Application()
    routes.add_to(app)
    async with TestServer(app) as server:
        url = str(server.make_url("/signaling")).replace("http", "ws", 1)
        with guarded.connect("recvonly", url) as moved:
            assert (await asyncio.to_thread(connected, moved))["role"] == "recvonly"
            found = await asyncio.to_thread(guarded.mesh.call, "webrtc-gateway.channels")
            assert found["channels"][0]["channel"] == CHANNEL
        async with aiohttp.ClientSession() as http, http.ws_connect(url) as socket_:
            await socket_.send_str('{"type":"connect","role":"recvonly","channel_id":"c","redirect":true}')
            assert (await socket_.receive(5)).type is aiohttp.WSMsgType.CLOSE
            assert socket_.close_code == 4490
    assert routes.refused == {"REDIRECTED": 1, "UNAVAILABLE": 1}


async def test_a_bad_filter_is_refused_by_its_name(guarded: Guarded) -> None:
    with guarded.connect("recvonly", forwarding_filters=[{"rules": [[{**VIDEO, "operator": "is"}]]}]) as refused:
        closed = await asyncio.to_thread(refused.wait, "ws_close")
        assert closed["code"] == 4490
        assert closed["reason"].startswith("INVALID-FORWARDING-FILTER forwarding_filters[0].rules[0][0].operator")
