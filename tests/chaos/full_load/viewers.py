"""People who watch, and open the page again when the picture stays away."""

import asyncio
import contextlib
from typing import Final

import aiohttp
from playwright.async_api import Error, Page, async_playwright

from tests.chaos.full_load.flows import Flow
from tests.support.console import ARGUMENTS, CHROMIUM
from tests.support.light_peer import LightPeer

_AWAY_SECONDS: Final = 1.0  # without a packet is when a viewer joins again; pictures come fifteen times a second
_JOIN_SECONDS: Final = 3.0
_AGAIN_SECONDS: Final = 0.2
_LOOK_SECONDS: Final = 0.2
_BROWSER_AWAY_SECONDS: Final = 3.0  # of a browser on a busy machine: a join takes it one
_SDP: Final = {"Content-Type": "application/sdp"}
_FAILURES: Final = (OSError, TimeoutError, aiohttp.ClientError, AssertionError, AttributeError, IndexError, Error)
"""Of joins while the gateway is away, starts, or stands still: a refused request, and half an answer."""

# A WHEP player as short as it can be; `seen` counts pictures on screen.
_PLAYER: Final = """
async (path) => {
  window.pc?.close();
  document.querySelector('video')?.remove();
  const video = document.createElement('video');
  video.muted = video.autoplay = video.playsInline = true;
  document.body.append(video);
  const pc = window.pc = new RTCPeerConnection();
  pc.ontrack = ({track}) => { video.srcObject = new MediaStream([track]); };
  pc.addTransceiver('video', {direction: 'recvonly'});
  await pc.setLocalDescription();
  const response = await fetch(path, {method: 'POST', headers: {'Content-Type': 'application/sdp'},
                                      body: pc.localDescription.sdp, signal: AbortSignal.timeout(3000)});
  if (response.status !== 201) throw new Error(response.status);
  await pc.setRemoteDescription({type: 'answer', sdp: await response.text()});
  window.seen ??= 0;
  const count = () => { window.seen++; video.requestVideoFrameCallback(count); };
  video.requestVideoFrameCallback(count);
}
"""


async def watch(http: aiohttp.ClientSession, url: str, flow: Flow) -> None:
    """A light viewer, for ever; each packet is an arrival."""
    while True:
        with LightPeer() as peer, contextlib.suppress(*_FAILURES):
            async with asyncio.timeout(_JOIN_SECONDS):
                async with http.post(url, data=peer.offer, headers=_SDP) as response:
                    answer = await response.text()
                if response.status == 201:
                    await peer.connect(answer)
            while response.status == 201:
                async with asyncio.timeout(_AWAY_SECONDS):
                    await peer.media(peer.packets + 1)
                flow.arrive()
        await asyncio.sleep(_AGAIN_SECONDS)


async def watch_in_chromium(console: str, stream: str, flow: Flow) -> None:
    """For ever; new pictures on screen are arrivals."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=str(CHROMIUM), args=ARGUMENTS)
        try:
            while True:
                page = await browser.new_page()
                with contextlib.suppress(*_FAILURES):
                    # Any page of the gateway's own origin; the console would play every stream.
                    await page.goto(f"{console}nothing-here", timeout=_JOIN_SECONDS * 1e3)
                    await _play(page, f"/whep/{stream}", flow)
                await page.close()
                await asyncio.sleep(_AGAIN_SECONDS)
        finally:
            await browser.close()


async def _play(page: Page, path: str, flow: Flow) -> None:
    """Until the picture stays away."""
    await page.evaluate(_PLAYER, path)
    loop = asyncio.get_running_loop()
    seen, last = 0, loop.time()
    while loop.time() - last < _BROWSER_AWAY_SECONDS:
        now = int(await page.evaluate("() => window.seen"))
        if now > seen:
            seen, last = now, loop.time()
            flow.arrive()
        await asyncio.sleep(_LOOK_SECONDS)
