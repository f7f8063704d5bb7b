"""The same glass to glass through ffmpeg and Janus: its streaming plugin, in a page of the same browser.

Run as a program it is the camera: 720p30 pictures of the test pattern as capture draws them, the time code burnt in
last, as raw video on its output.
"""

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from playwright.sync_api import Page

from shared.media.pattern import Pattern
from shared.media.timecode import burn
from tests.bench.egress_peers import janus_server

WIDTH, HEIGHT, FPS = 1280, 720, 30
_CONSOLE = Path("services/webrtc_gateway/console")
# As the mesh's encoder is set for the demo; no buffer in the muxer, a key picture every 2 s.
_ENCODE = (
    f"ffmpeg -v error -fflags nobuffer -f rawvideo -pix_fmt yuv420p -s {WIDTH}x{HEIGHT} -r {FPS} -i - "
    "-c:v libx264 -preset ultrafast -tune zerolatency -profile:v baseline -b:v 4M -maxrate 4M -bufsize 4M "
    "-g 60 -flush_packets 1 -max_delay 0 -payload_type 96 -f rtp"
)

_PAGE = """<!doctype html><title>Janus</title><video autoplay muted playsinline width="1280"></video>"""
_PLAY = """async (base) => {
  const asked = performance.now();
  let number = 0;
  const ask = async (path, message) => {
    const body = JSON.stringify({ transaction: `t${number++}`, ...message });
    return (await fetch(base + path, { method: "POST", body })).json();
  };
  const session = `/${(await ask("", { janus: "create" })).data.id}`;
  const handle = `${session}/${(await ask(session, { janus: "attach", plugin: "janus.plugin.streaming" })).data.id}`;
  await ask(handle, { janus: "message", body: { request: "watch", id: 1 } });
  let offer;
  while (!offer) offer = (await (await fetch(base + session)).json()).jsep;
  const peer = new RTCPeerConnection();
  window.peers = [peer];
  const video = document.querySelector("video");
  peer.ontrack = ({ receiver, streams, track }) => {
    receiver.jitterBufferTarget = 0;
    video.srcObject = streams[0] ?? new MediaStream([track]);
  };
  await peer.setRemoteDescription(offer);
  await peer.setLocalDescription(await peer.createAnswer());
  await ask(handle, { janus: "message", body: { request: "start" }, jsep: peer.localDescription });
  setInterval(() => ask(session, { janus: "keepalive" }), 20_000);
  await new Promise((resolve) => video.requestVideoFrameCallback(resolve));
  return performance.now() - asked;
}"""
_MEASURE = """async (ms) => {
  const { TimecodeReader } = await import("/timecode.js");
  const reader = new TimecodeReader();
  const video = document.querySelector("video");
  const late = [];
  const end = performance.now() + ms;
  await new Promise((resolve) => {
    const onFrame = () => {
      const shown = performance.now();
      const wall = performance.timeOrigin + shown;
      const code = reader.read(video, wall);
      late.push(code === null ? null : wall - code);
      if (shown < end) video.requestVideoFrameCallback(onFrame);
      else resolve();
    };
    video.requestVideoFrameCallback(onFrame);
  });
  return late;
}"""


@contextlib.contextmanager
def janus_page(page: Page) -> Iterator[tuple[Page, float]]:
    """Janus fed by ffmpeg, playing in the page; and the milliseconds until its first picture."""

    def feed(to: str) -> subprocess.Popen[bytes]:
        camera = subprocess.Popen([sys.executable, "-m", "tests.bench.glass_janus"], stdout=subprocess.PIPE)
        cameras.append(camera)
        return subprocess.Popen([*_ENCODE.split(), to], stdin=camera.stdout, stdout=subprocess.DEVNULL)

    def serve(route: Any) -> None:
        name = route.request.url.rpartition("/")[2]
        script = _CONSOLE / name
        if script.suffix == ".js" and script.is_file():
            route.fulfill(body=script.read_text(), content_type="text/javascript")
        elif name == "page":
            route.fulfill(body=_PAGE, content_type="text/html")
        else:
            route.continue_()

    cameras: list[subprocess.Popen[bytes]] = []
    try:
        with janus_server(feed) as (_, url):
            # Of Janus's own origin, so that the page may ask it.
            page.route(f"{url.rpartition('/')[0]}/*", serve)
            page.goto(f"{url.rpartition('/')[0]}/page")
            yield page, float(page.evaluate(_PLAY, url))
    finally:
        for camera in cameras:
            camera.kill()
            camera.wait()


def watch_janus(page: Page, seconds: float) -> list[float | None]:
    """How late each picture was, in milliseconds by its time code; None: unreadable."""
    late: list[float | None] = page.evaluate(_MEASURE, seconds * 1e3)
    return late


def main() -> None:
    pattern, picture = Pattern(WIDTH, HEIGHT), np.empty((HEIGHT * 3 // 2, WIDTH), np.uint8)
    began, number = time.monotonic(), 0
    with contextlib.suppress(BrokenPipeError):
        while True:
            pattern.draw(picture, number, time.time_ns())
            burn(picture, time.time_ns() // 1_000_000)
            _write_all(memoryview(picture).cast("B"))
            number += 1
            time.sleep(max(0.0, began + number / FPS - time.monotonic()))


def _write_all(data: memoryview) -> None:
    while data:
        data = data[os.write(1, data) :]


if __name__ == "__main__":
    main()
