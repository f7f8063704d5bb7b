"""The console page of a running mesh in headless Chromium, as a user opens it."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from playwright.sync_api import Page, sync_playwright

from tests.support.pace import slowness_now

CHROMIUM = Path("/usr/bin/chromium")
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
PAGE_SECONDS = 20.0  # of a machine that others use too; what is waited for takes a tenth of it
_KEEP_PEERS = """
  window.peers = [];
  window.RTCPeerConnection = class extends window.RTCPeerConnection {
    constructor(...args) { super(...args); window.peers.push(this); }
  };
"""
_STATS = """async () => {
  const found = {};
  for (const peer of window.peers.filter(({connectionState}) => connectionState === "connected"))
    for (const report of (await peer.getStats()).values())
      if (report.type === "inbound-rtp") found[report.kind] = report;
  return found;
}"""
# Small enough to compare quickly, large enough that motion shows.
_THUMBNAIL = """([stream, width, height]) => {
  const video = document.querySelector(`.tile[data-stream="${stream}"] video`);
  const canvas = new OffscreenCanvas(width, height);
  const context = canvas.getContext("2d");
  context.drawImage(video, 0, 0, width, height);
  return Array.from(context.getImageData(0, 0, width, height).data);
}"""
THUMBNAIL_WIDTH, THUMBNAIL_HEIGHT = 64, 36


class ConsolePage:
    """The open page; `complaints` is what the browser found wrong with it."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.complaints: list[str] = []
        page.set_default_timeout(PAGE_SECONDS * 1e3)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("console", lambda message: self.complaints.append(message.text) if message.type == "error" else None)
        page.add_init_script(_KEEP_PEERS)

    def open(self, url: str) -> None:
        self.page.goto(url)

    def tile(self, stream: str) -> dict[str, Any]:
        """What the page measures of one stream's picture; empty while the page does not show the stream."""
        report: dict[str, Any] = self.page.evaluate("stream => ({...framemesh.tiles.get(stream)})", stream)
        return report

    def until(self, condition: str, seconds: float = 5.0) -> None:
        """Wait for a JavaScript expression; `tile("cam0")` is that stream's report, or undefined. On a slow machine as
        much longer as that is slower."""
        held, report = self._watch(condition, seconds)
        if not held:
            held, report = self._watch(condition, seconds * (slowness_now() - 1))
        assert held, f"not within {seconds} s: {condition}; {report} {self.complaints}"

    def _watch(self, condition: str, seconds: float) -> tuple[bool, str]:
        """Whether it holds within the time, and what the page measures if not."""
        held, report = self.page.evaluate(
            """async ([condition, ms]) => {
              const holds = new Function("tile", `return ${condition}`);
              const deadline = performance.now() + ms;
              while (performance.now() < deadline) {
                if (window.framemesh && holds((stream) => framemesh.tiles.get(stream))) return [true, ""];
                await new Promise((resolve) => setTimeout(resolve, 10));
              }
              return [false, JSON.stringify([...(window.framemesh?.tiles ?? [])])];
            }""",
            [condition, seconds * 1e3],
        )
        return held, report

    def playing(self, stream: str, seconds: float = 5.0, frames: int = 5) -> None:
        """Wait until pictures of `stream` are on screen."""
        self.until(
            f"tile('{stream}')?.state === 'playing' && tile('{stream}').framesPresented >= {frames}", seconds=seconds
        )

    def unmute(self, stream: str) -> None:
        self.page.click(f'.tile[data-stream="{stream}"] button.sound')

    def stats(self) -> dict[str, Any]:
        """`inbound-rtp` of getStats() by kind: video, audio. For a page that plays one stream."""
        found: dict[str, Any] = self.page.evaluate(_STATS)
        return found

    def thumbnail(self, stream: str) -> npt.NDArray[np.uint8]:
        """What is on screen, shape (36, 64, 3)."""
        rgba = self.page.evaluate(_THUMBNAIL, [stream, THUMBNAIL_WIDTH, THUMBNAIL_HEIGHT])
        return np.array(rgba, np.uint8).reshape(THUMBNAIL_HEIGHT, THUMBNAIL_WIDTH, 4)[:, :, :3]


@contextlib.contextmanager
def console_page() -> Iterator[ConsolePage]:
    """A fresh browser with one empty page."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=ARGUMENTS)
        try:
            yield ConsolePage(browser.new_page(viewport={"width": 1440, "height": 900}))
        finally:
            browser.close()
