"""An aiortc peer as a WHEP client of the real gateway: pictures, sound, loss, and every end of a session."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable

import aiohttp
import av
import pytest
from aiortc import RTCPeerConnection, RTCRtpReceiver, RTCSessionDescription
from whep_rig import HEIGHT, WIDTH, EncodedStream, Rig, gateway_rig

pytestmark = [pytest.mark.integration, pytest.mark.timeout(60)]
SDP = {"Content-Type": "application/sdp"}


class Player:
    """Plays one rendition and keeps what it got."""

    def __init__(self) -> None:
        self.peer = RTCPeerConnection()
        self.pictures: list[av.VideoFrame] = []
        self.sounds: list[av.AudioFrame] = []
        self.location = ""
        self.posted = self.first_picture = 0.0
        self.tasks: list[asyncio.Task[None]] = []
        self.news = asyncio.Condition()

    async def play(self, url: str, path: str = "/whep/cam0") -> None:
        video = self.peer.addTransceiver("video", direction="recvonly")
        h264 = [c for c in RTCRtpReceiver.getCapabilities("video").codecs if c.mimeType == "video/H264"]
        video.setCodecPreferences(h264)
        self.peer.addTransceiver("audio", direction="recvonly")
        self.peer.on("track", lambda track: self.tasks.append(asyncio.create_task(self._pull(track))))
        await self.peer.setLocalDescription(await self.peer.createOffer())
        self.posted = time.monotonic()
        async with (
            aiohttp.ClientSession() as http,
            http.post(url + path, data=self.peer.localDescription.sdp, headers=SDP) as response,
        ):
            assert response.status == 201, await response.text()
            self.location = response.headers["Location"]
            answer = await response.text()
        await self.peer.setRemoteDescription(RTCSessionDescription(sdp=answer, type="answer"))

    async def until(self, holds: Callable[[], bool], seconds: float = 10.0) -> None:
        async with asyncio.timeout(seconds), self.news:
            await self.news.wait_for(holds)

    async def close(self) -> None:
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        await self.peer.close()

    async def _pull(self, track: object) -> None:
        while True:
            frame = await track.recv()  # type: ignore[attr-defined]
            async with self.news:
                if isinstance(frame, av.VideoFrame):
                    self.first_picture = self.first_picture or time.monotonic()
                    self.pictures.append(frame)
                else:
                    self.sounds.append(frame)
                self.news.notify_all()


@contextlib.asynccontextmanager
async def playing(rig: Rig, path: str = "/whep/cam0") -> AsyncIterator[Player]:
    player = Player()
    try:
        await player.play(rig.url, path)
        yield player
    finally:
        await player.close()


async def test_pictures_and_sound_arrive() -> None:
    async with gateway_rig(EncodedStream()) as rig, playing(rig) as player:
        await player.until(lambda: len(player.pictures) >= 20 and len(player.sounds) >= 20)
        assert (player.pictures[0].width, player.pictures[0].height) == (WIDTH, HEIGHT)
        first, last = player.pictures[0].to_ndarray(), player.pictures[-1].to_ndarray()
        assert (first != last).any()
        assert max(abs(int(s)) for s in player.sounds[-1].to_ndarray()[0]) > 4000
        (info,) = rig.gateway.sessions()
        assert (info.stream, info.rendition, info.state) == ("cam0", "main", "playing")
        assert info.packets_sent > 40
        print(f"join to first decoded picture: {(player.first_picture - player.posted) * 1e3:.0f} ms")


async def test_a_gap_is_mended_by_a_key_frame() -> None:
    async with gateway_rig(EncodedStream()) as rig, playing(rig) as player:
        await player.until(lambda: len(player.pictures) >= 10)
        asked, seen = rig.stream.key_requests, len(player.pictures)
        rig.stream.skip = 3
        await player.until(lambda: len(player.pictures) >= seen + 15)
        assert rig.stream.key_requests > asked
        assert rig.gateway.counters.drops["gap"] == 1


async def test_delete_ends_the_session_at_once() -> None:
    async with gateway_rig(EncodedStream()) as rig, playing(rig) as player:
        await player.until(lambda: len(player.pictures) >= 1)
        async with aiohttp.ClientSession() as http:
            async with http.patch(rig.url + player.location) as response:
                assert response.status == 204
            async with http.delete(rig.url + player.location) as response:
                assert response.status == 200
            sent = rig.gateway.counters.packets
            async with http.delete(rig.url + player.location) as response:
                assert response.status == 404
        assert rig.gateway.sessions() == ()
        await asyncio.sleep(0.15)  # four pictures' time in which nothing may be sent
        assert rig.gateway.counters.packets == sent


async def test_close_tells_the_peer() -> None:
    async with gateway_rig(EncodedStream()) as rig, playing(rig) as player:
        await player.until(lambda: len(player.pictures) >= 1)
        closed = asyncio.Event()
        player.peer.on("connectionstatechange", lambda: player.peer.connectionState == "closed" and closed.set())
        await rig.gateway.close()
        async with asyncio.timeout(2):
            await closed.wait()


async def test_a_camera_starts_from_its_cached_group() -> None:
    stream = EncodedStream(forces_key_frames=False)
    async with gateway_rig(stream) as rig:
        async with asyncio.timeout(5):
            while len(stream.group) < 30:
                await asyncio.sleep(0.02)
        async with playing(rig) as player:
            await player.until(lambda: len(player.pictures) >= 40)
            assert player.first_picture - player.posted < 1.0


async def test_a_stream_without_sound() -> None:
    async with gateway_rig(EncodedStream(audio=False)) as rig, playing(rig, "/whep/cam0/main") as player:
        await player.until(lambda: len(player.pictures) >= 5)
        assert player.sounds == []


async def test_two_viewers_share_one_subscription() -> None:
    async with (
        gateway_rig(EncodedStream()) as rig,
        playing(rig) as one,
        playing(rig, "/whep/cam0/main") as two,
    ):
        await one.until(lambda: len(one.pictures) >= 10)
        await two.until(lambda: len(two.pictures) >= 10)
        assert len(rig.stream.delivers) == 1


@pytest.mark.parametrize(
    ("path", "body", "content_type", "status"),
    [
        ("/whep/cam0", "v=0", "application/sdp", 400),
        ("/whep/cam0", "", "application/sdp", 400),
        ("/whep/cam0", "v=0", "text/plain", 415),
        ("/whep/BAD_ID", "v=0", "application/sdp", 400),
        ("/whep/cam0", "a" * 100_000, "application/sdp", 413),
    ],
)
async def test_refusals(path: str, body: str, content_type: str, status: int) -> None:
    async with (
        gateway_rig(EncodedStream()) as rig,
        aiohttp.ClientSession() as http,
        http.post(rig.url + path, data=body, headers={"Content-Type": content_type}) as response,
    ):
        assert response.status == status
        assert "Access-Control-Allow-Origin" not in response.headers
        assert (await response.json())["message"]
        assert rig.stream.opened == 0


async def test_unknown_stream_and_too_many_sessions() -> None:
    async with (
        gateway_rig(EncodedStream(), max_sessions=1) as rig,
        playing(rig) as player,
        aiohttp.ClientSession() as http,
    ):
        offer = player.peer.localDescription.sdp
        async with http.post(rig.url + "/whep/cam0", data=offer, headers=SDP) as response:
            assert response.status == 429
        rig.gateway.max_sessions = 2
        async with http.post(rig.url + "/whep/nowhere", data=offer, headers=SDP) as response:
            assert response.status == 404


async def test_console_socket_answers_pings() -> None:
    async with (
        gateway_rig(EncodedStream()) as rig,
        aiohttp.ClientSession() as http,
        http.ws_connect(rig.url + "/api/events") as socket,
    ):
        assert await socket.receive_json(timeout=2) == {"type": "state"}
        await socket.send_str("rubbish")
        await socket.send_json({"type": "ping", "t": 12.5})
        pong = await socket.receive_json(timeout=2)
        assert (pong["type"], pong["t"]) == ("pong", 12.5)
        assert abs(pong["server_ms"] - time.time() * 1e3) < 1000
        async with http.get(rig.url + "/api/status") as response:
            assert (await response.json())["streams"] == []
