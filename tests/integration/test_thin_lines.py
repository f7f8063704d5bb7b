"""Chromium behind bad lines: what it shows, who moves to a smaller rendition and back, and who notices nothing."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Error as PlaywrightError
from playwright.async_api import Page, async_playwright
from whep_rig import FPS, EncodedStream, EncodedSubscription, Rig, gateway_rig

from schemas.packets import VideoCodec
from schemas.sessions import OutboundRtpStats, RemoteInboundRtpStats, SessionInfo
from services.webrtc_gateway.congestion.ladder import Pace
from services.webrtc_gateway.egress.session_stats import session_stats
from services.webrtc_gateway.egress.source import Deliver
from tests.support.console import ARGUMENTS, CHROMIUM
from tests.support.impairment import ImpairedLine, Line
from tests.support.pace import Patience, slowness

pytestmark = [
    pytest.mark.integration,
    pytest.mark.browser,
    pytest.mark.timeout(120),
    pytest.mark.skipif(not CHROMIUM.exists(), reason="needs Chromium"),
]

# Plays under a name, through the line at `port`; notes when pictures are shown, and how large they are.
JOIN = """
async ([name, path, port, without]) => {
  const pc = new RTCPeerConnection();
  const video = document.createElement('video');
  video.muted = true; video.autoplay = true; video.playsInline = true;
  document.body.append(video);
  const player = {pc, video, shown: 0, last: null, gap: 0, sizes: []};
  (window.players ??= {})[name] = player;
  pc.ontrack = (event) => { video.srcObject = new MediaStream([event.track]); };
  pc.addTransceiver('video', {direction: 'recvonly'});
  await pc.setLocalDescription(await pc.createOffer());
  const seen = (now) => {
    player.gap = Math.max(player.gap, player.last === null ? 0 : now - player.last);
    player.last = now; player.shown += 1;
    if (player.sizes.at(-1) !== video.videoWidth) player.sizes.push(video.videoWidth);
    video.requestVideoFrameCallback(seen);
  };
  const first = new Promise((resolve) => video.requestVideoFrameCallback((now) => { seen(now); resolve(); }));
  const response = await fetch(path, {method: 'POST', headers: {'Content-Type': 'application/sdp'},
                                      body: pc.localDescription.sdp.split('\\r\\n')
                                        .filter((line) => !without || !line.includes(without)).join('\\r\\n')});
  const answer = await response.text();
  if (response.status !== 201) throw new Error(response.status + answer);
  const through = port ? answer.replaceAll(/ \\d+ typ host/g, ` ${port} typ host`) : answer;
  await pc.setRemoteDescription({type: 'answer', sdp: through});
  player.id = response.headers.get('Location').split('/').at(-1);
  if (!port) await first;
  return player.id;
}
"""
LOOK = """
async (name) => {
  const player = window.players[name], found = {};
  for (const report of (await player.pc.getStats()).values())
    if (report.type === 'inbound-rtp') Object.assign(found, report);
  found.gapMs = Math.max(player.gap, player.last === null ? 0 : performance.now() - player.last);
  return {...found, shown: player.shown, sizes: player.sizes};
}
"""
FORGET_GAP = "(name) => { players[name].gap = 0; }"
WATCHED_SECONDS = 4.0
RELOADS, RELOAD_STORM_SECONDS = 10, 3.0


@dataclass
class TwoRenditions(EncodedStream):
    """`main`, and `low` for thin lines; both always encode."""

    audio: bool = False
    width: int = 320
    height: int = 180
    bitrate: int = 600_000
    noise: int = 24
    key_interval: int = 60
    low: EncodedStream = field(
        default_factory=lambda: EncodedStream(
            rendition="low", audio=False, width=160, height=90, bitrate=150_000, noise=24, key_interval=60
        )
    )

    async def ensure(self, stream: str, codec: VideoCodec | None) -> str:
        return self.low.rendition

    async def open(self, stream: str, rendition: str | None, deliver: Deliver) -> EncodedSubscription:
        if rendition == self.low.rendition:
            return await self.low.open(stream, rendition, deliver)
        return await super().open(stream, rendition, deliver)

    async def play(self) -> None:
        await asyncio.gather(super().play(), self.low.play())


@dataclass
class Stage:
    rig: Rig
    page: Page
    moves: list[dict[str, Any]]

    async def join(self, name: str, line: ImpairedLine | None = None, without: str = "") -> str:
        """`without`: lines of the offer that have this in them are left out."""
        return str(await self.page.evaluate(JOIN, [name, "/whep/cam0", line.port if line else 0, without]))

    async def look(self, name: str) -> dict[str, Any]:
        return dict(await self.page.evaluate(LOOK, name))

    def session(self, session: str) -> SessionInfo:
        return next(info for info in self.rig.gateway.sessions() if info.session == session)

    async def until_shown(self, name: str, condition: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        patience = Patience(10)
        while not condition(found := await self.look(name)):
            assert not patience.is_over(), found
            await asyncio.sleep(0.05)
        return found

    async def until(self, condition: Callable[[], bool], seconds: float, what: str) -> float:
        """Wait for the gateway; how long it took."""
        began, patience = time.monotonic(), Patience(seconds)
        while not condition():
            assert not patience.is_over(), f"{what}: {self.rig.gateway.sessions()}, {self.moves}"
            await asyncio.sleep(0.05)
        return time.monotonic() - began


@contextlib.asynccontextmanager
async def stage(profile: Path, pace: Pace, stream: TwoRenditions | None = None) -> AsyncIterator[Stage]:
    stream, moves = stream or TwoRenditions(), []

    def moved(_stream: str, detail: dict[str, Any]) -> None:
        moves.append(detail)

    async with gateway_rig(stream, smaller=stream, on_moved=moved, pace=pace) as rig, async_playwright() as playwright:
        context = await playwright.chromium.launch_persistent_context(
            str(profile), executable_path=str(CHROMIUM), headless=True, args=ARGUMENTS
        )
        try:
            page = await context.new_page()
            await page.goto(rig.url + "/api/status")
            yield Stage(rig, page, moves)
        finally:
            await context.close()


FIGURES = ("gapMs", "freezeCount", "totalFreezesDuration", "framesDropped", "nackCount", "pliCount", "packetsLost")


@pytest.mark.alone
async def test_bad_lines(tmp_path: Path) -> None:
    pace = Pace(settle=1.0, calm_before_up=2.0, trial=2.0)
    async with stage(tmp_path, pace) as on:
        port = on.rig.transport.port
        with (
            ImpairedLine(port, Line(loss=0.05, delay_ms=80, jitter_ms=20, reorder=0.05), Line(delay_ms=10)) as lossy,
            ImpairedLine(port, Line(rate_bps=100_000, queue_ms=1000)) as choked,
            ImpairedLine(port) as thin,
        ):
            lines = {"healthy": None, "lossy": lossy, "choked": choked, "thin": thin}
            ids = {name: await on.join(name, line) for name, line in lines.items()}
            await on.until_shown("thin", lambda found: found["shown"] >= 10)
            await on.until_shown("lossy", lambda found: found["shown"] >= 10)
            for name in ids:
                await on.page.evaluate(FORGET_GAP, name)
            before, began = {name: await on.look(name) for name in ids}, time.monotonic()
            thin.change(down=Line(rate_bps=400_000))
            down_s = await on.until(lambda: on.session(ids["thin"]).rendition == "low", 10, "thin gets low")
            of_thin = ids["thin"][:8]  # its rendition changes a moment before that is told
            await on.until(lambda: any(move["session"] == of_thin for move in on.moves), 5, "the move is told")
            (told,) = [move for move in on.moves if move["session"] == of_thin]
            await on.until_shown("thin", lambda found: found["sizes"][-1] == 160)
            await on.until(lambda: on.session(ids["choked"]).keys_only, 10, "choked gets key pictures only")
            await on.until(lambda: on.session(ids["choked"]).bitrate < 100_000, 5, "and hardly anything else")
            keys_before = (await on.look("choked"))["shown"]
            await asyncio.sleep(max(0.0, WATCHED_SECONDS - (time.monotonic() - began)))
            after, seconds = {name: await on.look(name) for name in ids}, time.monotonic() - began
            await on.until_shown("choked", lambda found: found["shown"] > keys_before)
            infos = {name: on.session(session) for name, session in ids.items()}
            thin.change(down=Line())
            choked.change(down=Line())
            up_s = await on.until(lambda: on.session(ids["thin"]).rendition == "main", 12, "restored gets main")
            restored = await on.until_shown("thin", lambda found: found["sizes"][-1] == 320)
            whole_s = await on.until(lambda: not on.session(ids["choked"]).keys_only, 15, "freed gets all of low")
            (stats,) = [
                {type(item): item for item in session_stats(viewer, time.time_ns(), time.monotonic()).stats}
                for viewer in on.rig.gateway.viewers
                if viewer.session == ids["lossy"]
            ]
        shown = {name: (after[name]["shown"] - before[name]["shown"]) / seconds for name in ids}
        for name, found in after.items():
            print(f"{name}: {shown[name]:.1f} pictures/s, { {key: found.get(key) for key in FIGURES} }, {infos[name]}")
        print(f"down after {down_s:.1f} s, up after {up_s:.1f} s, from keys only {whole_s:.1f} s later")
        print(f"the machine is {slowness():.1f} times slower than the one of reference")
        print(on.moves, lossy.counts, choked.counts, thin.counts, on.rig.gateway.counters.drops, sep="\n")

        # Who has a good line notices nothing of the others.
        assert infos["healthy"].switches == 0
        assert after["healthy"]["nackCount"] == after["healthy"]["packetsLost"] == 0
        assert shown["healthy"] > FPS * 0.7 / slowness()
        # What is lost is sent again in time, and is no reason for a smaller picture.
        assert (infos["lossy"].rendition, infos["lossy"].switches) == ("main", 0)
        assert after["lossy"]["nackCount"] > 0
        assert after["lossy"]["gapMs"] < 1000 * slowness()
        remote, outbound = stats[RemoteInboundRtpStats], stats[OutboundRtpStats]
        assert isinstance(remote, RemoteInboundRtpStats)
        assert isinstance(outbound, OutboundRtpStats)
        assert 0.08 < (remote.round_trip_time or 0) < 0.3 * slowness()
        assert 0 < outbound.retransmitted_packets_sent < outbound.packets_sent * 0.3
        assert remote.ssrc == outbound.ssrc == after["lossy"]["ssrc"]
        # Too thin for main: low at the next key frame, on the same track, and main again.
        assert (told["from"], told["to"]) == ("main", "low")
        assert told["available_bitrate"] == pytest.approx(400_000, rel=0.3), "measured, not guessed"
        assert restored["ssrc"] == before["thin"]["ssrc"]
        assert restored["sizes"] == [320, 160, 320]
        # Too thin even for low: whole pictures now and then, and hardly more on the line than it carries.
        assert (infos["choked"].rendition, infos["choked"].keys_only) == ("low", True)
        assert choked.counts["down"]["queue_full"] > 0


@pytest.mark.long
async def test_a_page_that_is_reloaded_again_and_again(tmp_path: Path) -> None:
    async with stage(tmp_path, Pace()) as on:
        began = time.monotonic()
        for number in range(RELOADS):
            joining = asyncio.create_task(on.join("reloaded"))
            # At every stage of joining, and never waiting for a picture: the page goes before it is told anything.
            await asyncio.sleep(max(0.0, began + (number + 1) * RELOAD_STORM_SECONDS / RELOADS - time.monotonic()))
            await on.page.reload()
            with contextlib.suppress(PlaywrightError):
                await joining
        took_s = time.monotonic() - began
        await on.join("reloaded")
        counters = on.rig.gateway.counters
        # Who had connected has said goodbye; who had not is forgotten at the deadline.
        left_s = await on.until(
            lambda: all(info.state == "connecting" for info in on.rig.gateway.sessions()[:-1]), 10, "pages are gone"
        )
        left = len(on.rig.gateway.sessions()) - 1
        print(
            f"{RELOADS} reloads in {took_s:.1f} s: {counters.sessions_opened} sessions, {counters.sessions_connected}"
        )
        print(f"connected, {left} still connecting, the others gone after {left_s:.1f} s; {counters.closed}")
        assert on.rig.gateway.sessions()[-1].state == "playing"
        assert on.rig.stream.opened == 1, "the rendition kept flowing"
        shown = (await on.look("reloaded"))["shown"]
        await on.until_shown("reloaded", lambda found: found["shown"] > shown + 5)
