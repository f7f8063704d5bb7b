"""Headless Chromium as a WHEP viewer of the real gateway: picture, sound, join time, and how it learns of the end."""

import asyncio
import contextlib
import itertools
import statistics
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Page, async_playwright
from whep_rig import EncodedStream, Rig, gateway_rig

from services.webrtc_gateway.transport.ice import IcePeer

CHROMIUM = "/usr/bin/chromium"
ARGUMENTS = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--autoplay-policy=no-user-gesture-required",
]
pytestmark = [
    pytest.mark.integration,
    pytest.mark.browser,
    pytest.mark.timeout(120),
    pytest.mark.skipif(not Path(CHROMIUM).exists(), reason="needs Chromium"),
]

# A WHEP player as short as it can be; everything it sees is kept in window.player.
PLAYER = """
async (path) => {
  const pc = new RTCPeerConnection();
  const video = document.createElement('video');
  video.muted = false; video.autoplay = true; video.playsInline = true;
  document.body.append(video);
  const stream = new MediaStream();
  const player = window.player = {pc, video, states: [], firstMs: null};
  pc.ontrack = (event) => { stream.addTrack(event.track); video.srcObject = stream; };
  pc.addTransceiver('video', {direction: 'recvonly'});
  pc.addTransceiver('audio', {direction: 'recvonly'});
  const wanted = pc.getTransceivers()[0].getHeaderExtensionsToNegotiate?.() ?? [];
  for (const extension of wanted) if (extension.uri.endsWith('abs-capture-time')) extension.direction = 'sendrecv';
  pc.getTransceivers()[0].setHeaderExtensionsToNegotiate?.(wanted);
  await pc.setLocalDescription(await pc.createOffer());
  // connectionState takes some 6 s to say what the DTLS transport says at once.
  pc.getReceivers()[0].transport.onstatechange = (event) => player.states.push([event.target.state, performance.now()]);
  const first = new Promise((resolve) => video.requestVideoFrameCallback((now) => resolve(performance.now())));
  const began = performance.now();
  const response = await fetch(path, {method: 'POST', headers: {'Content-Type': 'application/sdp'},
                                      body: pc.localDescription.sdp});
  if (response.status !== 201) throw new Error(response.status + await response.text());
  player.location = response.headers.get('Location');
  player.etag = response.headers.get('ETag');
  await pc.setRemoteDescription({type: 'answer', sdp: await response.text()});
  player.firstMs = await first - began;
  return player.firstMs;
}
"""
STATS = """
async () => {
  const found = {states: player.states};
  for (const report of (await player.pc.getStats()).values())
    if (report.type === 'inbound-rtp') found[report.kind] = report;
  for (const receiver of player.pc.getReceivers())
    found[receiver.track.kind + 'Sources'] = receiver.getSynchronizationSources();
  const canvas = new OffscreenCanvas(64, 36);
  const context = canvas.getContext('2d', {willReadFrequently: true});
  context.drawImage(player.video, 0, 0, 64, 36);
  found.pixels = Array.from(context.getImageData(0, 18, 64, 1).data.filter((_, i) => i % 4 === 1));
  found.size = [player.video.videoWidth, player.video.videoHeight];
  return found;
}
"""
SYNCHRONISED = "s.video.estimatedPlayoutTimestamp && s.audio.estimatedPlayoutTimestamp"
# ITU-R BT.1359: sound that is later than this is noticed. Pictures are shown at once (playout-delay), sound is stored.
APART_MS = 125
IN_STEP = f"Math.abs(s.video.estimatedPlayoutTimestamp - s.audio.estimatedPlayoutTimestamp) < {APART_MS}"
LEAVE = "() => { player.pc.close(); player.video.remove(); }"


@contextlib.asynccontextmanager
async def chromium(rig: Rig, profile: Path) -> AsyncIterator[Page]:
    """A page of the gateway's own origin in a fresh browser."""
    async with async_playwright() as playwright:
        context = await playwright.chromium.launch_persistent_context(
            str(profile), executable_path=CHROMIUM, headless=True, args=ARGUMENTS
        )
        try:
            page = await context.new_page()
            await page.goto(rig.url + "/api/status")
            yield page
        finally:
            await context.close()


async def stats_when(page: Page, condition: str, seconds: float = 10.0) -> dict[str, Any]:
    """The player's statistics once the JavaScript expression about `s` holds, or at the deadline."""
    found: dict[str, Any] = await page.evaluate(
        f"""async () => {{
          const until = performance.now() + {seconds * 1e3};
          for (;;) {{
            const s = await ({STATS})();
            if ({condition} || performance.now() > until) return s;
            await new Promise((resolve) => setTimeout(resolve, 50));
          }}
        }}"""
    )
    return found


async def test_moving_picture_and_sound(tmp_path: Path) -> None:
    async with gateway_rig(EncodedStream()) as rig, chromium(rig, tmp_path) as page:
        join_ms = await page.evaluate(PLAYER, "/whep/cam0")
        first = await stats_when(page, "s.video?.framesDecoded >= 10 && s.audio?.totalAudioEnergy > 0")
        enough = first["video"]["framesDecoded"] + 45
        # A browser begins with much sound in store, the more the busier the machine, and needs seconds to use it up.
        later = await stats_when(page, f"s.video.framesDecoded >= {enough} && {SYNCHRONISED} && {IN_STEP}")
        assert later["size"] == [640, 360]
        assert max(abs(a - b) for a, b in zip(first["pixels"], later["pixels"], strict=True)) > 50
        assert later["audio"]["packetsReceived"] > 50
        assert later["audio"]["totalAudioEnergy"] > first["audio"]["totalAudioEnergy"] > 0
        assert later["video"]["keyFramesDecoded"] == 1, "the first picture must be whole, with no second try"
        assert later["video"]["packetsLost"] == 0
        # Both sides of lip-sync are known to the browser: the sender reports carry one clock for both tracks.
        apart_ms = later["video"]["estimatedPlayoutTimestamp"] - later["audio"]["estimatedPlayoutTimestamp"]
        assert abs(apart_ms) < APART_MS
        assert later["videoSources"][0].get("captureTimestamp"), "abs-capture-time must arrive"
        jitter_ms = later["video"]["jitterBufferDelay"] / later["video"]["jitterBufferEmittedCount"] * 1e3
        print(
            f"join {join_ms:.0f} ms, video jitter buffer {jitter_ms:.1f} ms, sound - picture {-apart_ms:.0f} ms, "
            f"nacks {later['video']['nackCount']}, plis {later['video']['pliCount']}, "
            f"freezes {later['video']['freezeCount']}"
        )


async def test_join_times(tmp_path: Path) -> None:
    async with gateway_rig(EncodedStream()) as rig, chromium(rig, tmp_path) as page:
        joins = []
        for _ in range(8):
            joins.append(await page.evaluate(PLAYER, "/whep/cam0/main"))
            location = await page.evaluate("() => player.location")
            await page.evaluate("(path) => fetch(path, {method: 'DELETE'})", location)
            await page.evaluate(LEAVE)
        print(f"joins ms: {', '.join(f'{join:.0f}' for join in joins)}; median {statistics.median(joins):.0f}")
        assert statistics.median(joins) < 250  # twice and more of what an idle machine needs
        assert rig.gateway.sessions() == ()


async def test_a_page_notices_the_drain(tmp_path: Path) -> None:
    async with gateway_rig(EncodedStream()) as rig, chromium(rig, tmp_path) as page:
        await page.evaluate(PLAYER, "/whep/cam0")
        before_ms = await page.evaluate("() => performance.now()")
        await rig.gateway.close()
        found = await stats_when(page, "s.states.at(-1)[0] === 'closed'", 5)
        state, at_ms = found["states"][-1]
        assert state == "closed"
        print(f"page says {state} {at_ms - before_ms:.0f} ms after the gateway closed")
        assert at_ms - before_ms < 1000


async def test_closing_the_page_frees_the_session(tmp_path: Path) -> None:
    async with gateway_rig(EncodedStream()) as rig, chromium(rig, tmp_path) as page:
        await page.evaluate(PLAYER, "/whep/cam0")
        assert len(rig.gateway.sessions()) == 1
        await page.evaluate(LEAVE)
        async with asyncio.timeout(2):
            while rig.gateway.sessions():
                await asyncio.sleep(0.01)
        assert rig.gateway.counters.closed["dtls"] == 1


async def test_cached_group_catches_up(tmp_path: Path) -> None:
    """A source that makes no key frames on demand: old pictures first, live within a second."""
    stream = EncodedStream(forces_key_frames=False, bitrate=4_000_000, key_interval=60)
    async with gateway_rig(stream) as rig, chromium(rig, tmp_path) as page:
        join_ms = await page.evaluate(PLAYER, "/whep/cam0")
        found = await stats_when(page, "s.video?.framesDecoded >= 90")
        assert found["video"]["packetsLost"] == 0
        print(f"join from the cached group {join_ms:.0f} ms, nacks {found['video']['nackCount']}")


async def test_loss_is_mended_by_retransmission(tmp_path: Path) -> None:
    stream = EncodedStream(bitrate=4_000_000)
    async with gateway_rig(stream) as rig, chromium(rig, tmp_path) as page:
        await page.evaluate(PLAYER, "/whep/cam0")
        send, counted = rig.transport.send_run, itertools.count()

        def lossy(peer: IcePeer, datagrams: memoryview, size: int) -> int:
            """Every 25th datagram gets lost on its way."""
            run = [datagrams[start : start + size] for start in range(0, len(datagrams), size)]
            for datagram in run:
                if next(counted) % 25:
                    send(peer, datagram, size)
            return len(run)

        rig.transport.send_run = lossy  # type: ignore[method-assign]
        found = await stats_when(page, "s.video?.framesDecoded >= 150", 15)
        assert found["video"]["framesDecoded"] >= 150
        assert found["video"]["nackCount"] > 0
        assert rig.gateway.counters.retransmitted > 0
        assert found["video"]["keyFramesDecoded"] <= 2, "retransmission must mend it, not key frames"
        print(f"retransmitted {rig.gateway.counters.retransmitted} of {rig.gateway.counters.packets}")
