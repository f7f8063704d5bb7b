"""The real sora_sdk over data channels: it switches to them, sends messages by them, and ends by them."""

import base64
import time
from collections.abc import Iterator
from typing import Any

import pytest

from services.webrtc_gateway.transport.ice import CONSENT_SECONDS
from tests.support.mesh import RunningMesh
from tests.support.sora_client import FPS, SoraClient

pytest.importorskip("sora_sdk")
pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]

LABELS: list[dict[str, Any]] = [
    {"label": "#chat", "direction": "sendrecv"},
    {"label": "#packed", "direction": "sendrecv", "compress": True},
    {"label": "#who", "direction": "sendrecv", "compress": True, "header": [{"type": "sender_connection_id"}]},
    {"label": "#loose", "direction": "sendrecv", "ordered": False, "max_retransmits": 0, "protocol": "test"},
]


@pytest.fixture(scope="module")
def mesh() -> Iterator[RunningMesh]:
    with RunningMesh() as running:
        yield running


def client(mesh: RunningMesh, role: str, channel: str, **options: Any) -> SoraClient:
    url = mesh.console.replace("http", "ws", 1) + "signaling"
    return SoraClient(url, role, channel, **{"data_channel_signaling": True, "data_channels": LABELS, **options})


def silent(mesh: RunningMesh, channel: str, **options: Any) -> SoraClient:
    """Data alone."""
    return client(mesh, "sendrecv", channel, audio=False, video=False, **options)


def heard(who: SoraClient, label: str, seconds: float = 10.0) -> bytes:
    return base64.b64decode(who.wait("message", lambda event: event["label"] == label, seconds)["data"])


def own_id(who: SoraClient) -> str:
    said: str = who.wait("offer")["message"]["connection_id"]
    return said


def ended(who: SoraClient) -> tuple[str, str, list[tuple[int, str]]]:
    """Code and message of the end, and how the WebSocket was closed."""
    end = who.wait("disconnect")
    assert who.wait("exit")["code"] == 0
    return end["code"], end["message"], [(event["code"], event["reason"]) for event in who.all("ws_close")]


def test_messages_reach_the_others_and_each_client_ends_its_own_way(mesh: RunningMesh) -> None:
    listens = [{"label": "#chat", "direction": "recvonly"}, {"label": "#alone", "direction": "sendonly"}]
    with (
        silent(mesh, "talk") as hybrid,
        silent(mesh, "talk", ignore_disconnect_websocket=True) as light,
        silent(mesh, "talk", ignore_disconnect_websocket=True, data_channels=listens) as listener,
        silent(mesh, "talk", data_channel_signaling=False) as plain,
    ):
        offer = hybrid.wait("offer")["message"]
        assert offer["data_channel_signaling"]
        announced = {channel.pop("label"): channel for channel in offer["data_channels"]}
        assert announced["#who"] == {
            "direction": "sendrecv",
            "compress": True,
            "header": [{"type": "sender_connection_id", "length": 26}],
        }
        assert set(announced) == {"signaling", "notify", "push", "stats", "#chat", "#packed", "#who", "#loose"}
        for who, lets_go in ((hybrid, False), (light, True), (listener, True)):
            assert who.wait("switched")["message"] == {"type": "switched", "ignore_disconnect_websocket": lets_go}
        for who in (light, listener):
            assert who.wait("ws_close")["reason"] == "SELF-CLOSED"
        plain_offer = plain.wait("offer")["message"]
        assert (plain_offer["data_channel_signaling"], plain_offer["data_channels"]) == (False, [])

        large = bytes(range(256)) * 200
        for label, data in (("#chat", b"hello"), ("#packed", large), ("#who", b"it is me"), ("#loose", b"maybe")):
            hybrid.send(label, data)
        assert heard(light, "#chat") == heard(listener, "#chat") == b"hello"
        assert heard(light, "#packed") == large
        assert heard(light, "#who") == own_id(hybrid).encode() + b"it is me"
        assert heard(light, "#loose") == b"maybe"
        # What may not be sent is not, and what nobody listens to goes nowhere.
        listener.send("#chat", b"I may not")
        listener.send("#alone", b"to nobody")
        light.send("#chat", b"last")
        assert heard(hybrid, "#chat") == b"last"
        assert base64.b64decode(listener.wait("message", lambda e: e["data"] == _b64(b"last"))["data"]) == b"last"
        assert not plain.all("message")

        hybrid.ask_stats()
        reports = hybrid.wait("stats")["reports"]
        assert {r["label"] for r in reports if r["type"] == "data-channel"} == set(announced)

        late = client(mesh, "sendonly", "talk", data_channels=[])
        with late:  # its coming, its picture's offer and its going are told over the data channels
            created = light.wait("notify", lambda e: e["message"]["connection_id"] == own_id(late))["message"]
            assert created["event_type"] == "connection.created"
            late.kill()
            light.wait("notify", lambda e: e["message"]["event_type"] == "connection.destroyed")

        light.end()
        code, message, closed = ended(light)
        assert (code, closed) == ("CLOSE_SUCCEEDED", [(1000, "SELF-CLOSED")])
        assert "DataChannel" in message
        hybrid.end()
        assert ended(hybrid)[::2] == ("CLOSE_SUCCEEDED", [(1000, "TYPE-DISCONNECT")])
        mesh.call("webrtc-gateway.disconnect", channel="talk", connection_id=own_id(listener))
        code, message, closed = ended(listener)
        assert (code, closed) == ("CLOSE_SUCCEEDED", [(1000, "SELF-CLOSED")])
        assert "DISCONNECTED-API" in message
    assert not [event["data"] for event in hybrid.all("message") if event["data"] == _b64(b"I may not")]


def _b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def test_streams_come_and_go_over_data_channels(mesh: RunningMesh) -> None:
    with client(mesh, "recvonly", "stage", ignore_disconnect_websocket=True, data_channels=None) as watcher:
        watcher.wait("switched")
        watcher.wait("ws_close")
        with client(mesh, "sendonly", "stage", data_channels=None) as publisher:
            picture = watcher.wait("picture", lambda event: event["number"] > 5)
            assert picture["stream"] == own_id(publisher)

            def session() -> Any:
                return next(iter(mesh.call("webrtc-gateway.sessions", stream="stage")["sessions"]), None)

            # Both are asked what they see, each by its own way.
            mesh.wait_for(lambda: (session() or {}).get("shown_fps"), what="what the watcher tells of its pictures")
            assert 1 < session()["shown_fps"] <= FPS + 5
            told = mesh.call("webrtc-gateway.stats", session=session()["session"])["reported"]
            assert {report["kind"] for report in told} == {"audio", "video"}
            asked = {"channel": "stage", "connection_id": own_id(publisher)}

            def sent() -> set[str]:
                return {report["type"] for report in mesh.call("webrtc-gateway.client-stats", **asked)["reported"]}

            mesh.wait_for(lambda: "outbound-rtp" in sent(), what="what the publisher tells")
            assert sent() >= {"data-channel", "candidate-pair"}
            (channel,) = mesh.call("webrtc-gateway.channels", channel="stage")["channels"]
            ways = {each["role"]: (each["signalling"], each["labels"]) for each in channel["connections"]}
            assert ways == {"recvonly": ("data_channels", []), "sendonly": ("data_channels", [])}


def test_labels_that_are_none_are_refused(mesh: RunningMesh) -> None:
    with silent(mesh, "talk", data_channels=[{"label": "#a", "direction": "both"}]) as refused:
        closed = refused.wait("ws_close")
        assert closed["code"] == 4490
        assert closed["reason"].startswith("INVALID-DATA-CHANNELS")
        assert "direction" in closed["reason"]


@pytest.mark.long
def test_who_vanishes_is_missed(mesh: RunningMesh) -> None:
    """A client that lives by data channels alone has no socket that breaks: its consent runs out."""
    with (
        silent(mesh, "far", ignore_disconnect_websocket=True) as stays,
        silent(mesh, "far", ignore_disconnect_websocket=True) as vanishes,
        client(mesh, "sendonly", "far", ignore_disconnect_websocket=True) as publisher,
    ):
        for who in (stays, vanishes, publisher):
            who.wait("ws_close")
        began_s = time.monotonic()
        for who in (publisher, vanishes):
            who.kill()
        for who, seconds in ((publisher, 12), (vanishes, CONSENT_SECONDS + 6)):
            stays.wait(
                "notify",
                lambda event, who=who: (
                    (event["message"]["event_type"], event["message"]["connection_id"])
                    == ("connection.destroyed", own_id(who))
                ),
                seconds,
            )
        assert time.monotonic() - began_s > CONSENT_SECONDS / 2, "a moment without an answer is no end"
