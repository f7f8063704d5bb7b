"""HLS over the real HTTP door: what players ask for and get, who shares what, and when it ends."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass

import aiohttp
import pytest
from msgspec.structs import replace
from whep_rig import EncodedStream, EncodedSubscription, QuietStatus

from schemas.errors import TooMany, Unavailable
from schemas.packets import PacketHeader
from services.webrtc_gateway.egress.gateway import WhepGateway
from services.webrtc_gateway.egress.source import Deliver
from services.webrtc_gateway.hls import packagers as packagers_module
from services.webrtc_gateway.hls.packagers import Packagers
from services.webrtc_gateway.hls.routes import HlsRoutes
from services.webrtc_gateway.transport.ice import SharedIceTransport
from services.webrtc_gateway.web.http import build_app
from services.webrtc_gateway.web.origins import Origins
from shared.door.http_door import HttpDoor
from shared.media.audio_config import OpusHead, build_opus_head
from tests.support.hls import Listed, broken_rules, read_playlist
from tests.support.pace import patience, slowness
from tests.support.packets import parameter_sets

pytestmark = [pytest.mark.integration, pytest.mark.timeout(60)]
_PAGE = "https://wall.example"
_PICTURE_NS = 1_000_000_000 // 30
_OPUS_HEAD = build_opus_head(OpusHead(2))


class PlayedStream(EncodedStream):
    """Small pictures whose packets tell all that a container must know."""

    def __init__(self) -> None:
        super().__init__(width=320, height=180, bitrate=300_000)
        self.pretended_codec = ""

    async def open(self, stream: str, rendition: str | None, deliver: Deliver) -> EncodedSubscription:
        def told(header: PacketHeader, payload: memoryview) -> None:
            if header.track == "video":
                extradata = parameter_sets(bytes(payload)) if header.key else b""
                header = replace(header, width=320, height=180, duration_ns=_PICTURE_NS, extradata=extradata)
                if self.pretended_codec:
                    header = replace(header, codec=self.pretended_codec)
            else:
                header = replace(header, sample_rate=48_000, channels=2, extradata=_OPUS_HEAD)
            deliver(header, payload)

        return await super().open(stream, rendition, told)


@dataclass
class Door:
    stream: PlayedStream
    packagers: Packagers
    url: str
    http: aiohttp.ClientSession

    async def get(self, path: str, status: int = 200) -> str:
        async with self.http.get(f"{self.url}/hls/cam0/{path}") as response:
            text = await response.text()
            assert response.status == status, text
            return text

    async def bytes(self, path: str) -> bytes:
        async with self.http.get(f"{self.url}/hls/cam0/{path}") as response:
            assert response.status == 200, await response.text()
            return await response.read()

    async def listed(self, query: str = "") -> Listed:
        return read_playlist(await self.get(f"main/index.m3u8{query}"))


@contextlib.asynccontextmanager
async def door() -> AsyncIterator[Door]:
    async with contextlib.AsyncExitStack() as stack:
        stream = PlayedStream()
        transport = SharedIceTransport.open(0, ["127.0.0.1"], bind="127.0.0.1")
        stack.callback(transport.close)
        gateway = WhepGateway(stream, transport)
        stack.push_async_callback(gateway.close)
        packagers = Packagers(stream)
        stack.push_async_callback(packagers.close)
        app = build_app(gateway, QuietStatus(), Origins([_PAGE]), parts=[HlsRoutes(packagers)])
        opened = HttpDoor(app, "127.0.0.1", 0)
        port = await opened.start()
        stack.push_async_callback(opened.close)
        http = await stack.enter_async_context(aiohttp.ClientSession())
        playing = asyncio.create_task(stream.play())
        try:
            yield Door(stream, packagers, f"http://127.0.0.1:{port}", http)
        finally:
            playing.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await playing


async def test_players_get_what_they_ask_for() -> None:
    async with door() as opened:
        began_s = time.monotonic()
        several = await asyncio.gather(*(opened.get("index.m3u8") for _ in range(3)))
        assert len(set(several)) <= 3
        assert opened.stream.opened == 1, "three viewers share one packager"
        print(f"first playlist after {time.monotonic() - began_s:.2f} s")
        assert several[0].splitlines()[-1] == "main/index.m3u8"
        listed = await opened.listed()
        assert broken_rules(listed) == []

        first = listed.whole[0]
        header, segment = await opened.bytes(f"main/{first.header}"), await opened.bytes(f"main/{first.uri}")
        assert (header[4:8], segment[4:8]) == (b"ftyp", b"moof")
        parts = [await opened.bytes(f"main/{part.uri}") for part in first.parts]
        assert b"".join(parts) == segment

        # The part that is hinted at is answered when it is there, and the playlist that is asked for with it.
        last = (await opened.listed()).segments[-1]
        hinted = (await opened.listed()).hint
        part, later = await asyncio.gather(
            opened.bytes(f"main/{hinted}"), opened.listed(f"?_HLS_msn={last.number}&_HLS_part={len(last.parts) + 1}")
        )
        assert part[4:8] == b"moof"
        assert (later.segments[-1].number, len(later.segments[-1].parts)) > (last.number, len(last.parts) + 1)
        whole = await opened.listed(f"?_HLS_msn={last.number}")
        assert any(one.number == last.number for one in whole.whole)
        assert broken_rules(whole) == []


async def test_answers_say_what_they_are_and_to_whom() -> None:
    async with door() as opened:
        listed = await opened.listed()
        url = f"{opened.url}/hls/cam0/main/"
        async with opened.http.get(url + "index.m3u8", headers={"Origin": _PAGE}) as response:
            assert response.headers["Content-Type"] == "application/vnd.apple.mpegurl"
            assert response.headers["Cache-Control"] == "no-cache"
            assert response.headers["Access-Control-Allow-Origin"] == _PAGE
        async with opened.http.head(url + listed.whole[0].uri) as response:
            assert response.status == 200
            assert response.headers["Content-Type"] == "video/mp4"
            assert int(response.headers["Content-Length"]) > 1_000
            assert "immutable" in response.headers["Cache-Control"]
            assert await response.read() == b""
        async with opened.http.options(url + "index.m3u8", headers={"Origin": _PAGE}) as response:
            assert response.status == 204
            assert "GET" in response.headers["Access-Control-Allow-Methods"]
        async with opened.http.get(url + "index.m3u8", headers={"Origin": "https://evil.example"}) as response:
            assert response.status == 403


async def test_what_is_wrong_is_said() -> None:
    async with door() as opened:
        assert "no stream cam0/other" in await opened.get("other/index.m3u8", 404)
        assert "rendition 'Main'" in await opened.get("Main/index.m3u8", 400)
        await opened.get("main/index.m3u8")
        assert "'x.m4s'" in await opened.get("main/x.m4s", 404)
        assert "load the playlist again" in await opened.get("main/s1.m4s", 404)
        assert "_HLS_msn 'x': give a whole number" in await opened.get("main/index.m3u8?_HLS_msn=x", 400)
        assert "_HLS_part needs _HLS_msn" in await opened.get("main/index.m3u8?_HLS_part=1", 400)
        assert "the last segment is" in await opened.get("main/index.m3u8?_HLS_msn=999999999999", 400)


async def test_a_codec_that_players_cannot_take_is_refused() -> None:
    async with door() as opened:
        opened.stream.pretended_codec = "vp8"
        text = await opened.get("main/index.m3u8", 409)
        assert "cam0/main cannot be played over HLS: its codec is vp8; choose a rendition with h264" in text


async def test_it_ends_after_the_last_viewer_and_begins_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packagers_module, "IDLE_SECONDS", 0.2)
    monkeypatch.setattr(packagers_module, "IDLE_TARGETS", 0)
    monkeypatch.setattr(packagers_module, "_CHECK_SECONDS", 0.1)
    async with door() as opened:
        before = await opened.listed()
        async with patience(5 * slowness()):
            while opened.packagers.count or opened.stream.delivers:  # until nobody is subscribed either
                await asyncio.sleep(0.02)
        after = await opened.listed()
        assert after.whole[0].number > before.segments[-1].number, "no name comes again"
        assert after.whole[0].discontinuity_number > before.segments[-1].discontinuity_number
        assert opened.stream.opened == 2


async def test_a_stream_that_is_removed_ends() -> None:
    async with door() as opened:
        last = (await opened.listed()).segments[-1]
        blocked = asyncio.create_task(opened.listed(f"?_HLS_msn={last.number + 1}"))
        async with patience(3):
            while not any(entry.in_use for entry in opened.packagers._open.values()):
                await asyncio.sleep(0.01)
            opened.stream.on_ended[0]("removed")
            assert (await blocked).ended
        assert opened.packagers.count == 0


async def test_a_stream_that_is_removed_with_half_of_its_first_segment_is_not_found() -> None:
    async with door() as opened:
        asked = asyncio.create_task(opened.get("index.m3u8", 404))
        async with patience(3):
            while not any(entry.in_use and entry.window.segments for entry in opened.packagers._open.values()):
                await asyncio.sleep(0.001)
        [entry] = opened.packagers._open.values()
        assert not any(segment.complete for segment in entry.window.segments)
        opened.stream.on_ended[0]("removed")
        assert "was removed a moment ago" in await asked


async def test_a_loss_is_a_discontinuity_and_playing_goes_on() -> None:
    async with door() as opened:
        await opened.listed()
        opened.stream.skip = 3
        async with patience(8):
            while (listed := await opened.listed()).segments[-1].discontinuity_number == 0:
                await asyncio.sleep(0.05)
        assert broken_rules(listed) == []
        assert opened.packagers.dropped["gap"] == 1


class SlowSource(PlayedStream):
    """Any stream, found only when it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.found = asyncio.Event()

    async def open(self, stream: str, rendition: str | None, deliver: Deliver) -> EncodedSubscription:
        await self.found.wait()
        self.opened += 1
        return EncodedSubscription(self, deliver)


async def test_no_more_renditions_than_may_be_are_begun_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packagers_module, "START_SECONDS", 0.3)
    monkeypatch.setattr(packagers_module, "MAX_PACKAGERS", 2)
    source = SlowSource()
    packagers = Packagers(source)
    try:
        asked = [asyncio.create_task(packagers.acquire(f"cam{number}", "main")) for number in range(6)]
        await asyncio.sleep(0)
        source.found.set()
        answers = await asyncio.gather(*asked, return_exceptions=True)
        assert [type(answer) for answer in answers] == [Unavailable] * 2 + [TooMany] * 4
        assert source.opened == 2
    finally:
        await packagers.close()
