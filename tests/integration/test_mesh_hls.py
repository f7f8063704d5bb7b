"""A stream of a running mesh played over HLS: by hls.js with parts and without, by Chromium itself, and by ffmpeg."""

import statistics
import subprocess
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from tests.support.console import ARGUMENTS, CHROMIUM
from tests.support.hls import HLS_JS, broken_rules, read_playlist
from tests.support.mesh import RunningMesh
from tests.support.pace import slowness

pytestmark = [
    pytest.mark.integration,
    pytest.mark.browser,
    pytest.mark.alone,
    pytest.mark.long,
    pytest.mark.timeout(120),
    pytest.mark.skipif(not CHROMIUM.exists(), reason="needs Chromium"),
]
needs_hls_js = pytest.mark.skipif(not HLS_JS.exists(), reason="needs hls.js, which ops/test-programs.sh fetches")
_LATENCY_SECONDS = 2.0  # three parts of 0.22 s, the part being made, and what the player adds

PLAY = """async ([url, options]) => {
  const { TimecodeReader } = await import("/console/timecode.js");
  const video = document.createElement("video");
  video.muted = true;
  video.autoplay = true;
  document.body.append(video);
  const player = { video, errors: [], latencies_ms: [], frames: 0 };
  (window.players ??= []).push(player);
  const reader = new TimecodeReader();
  let read_ms = 0;
  const look = (now_ms) => {
    player.frames += 1;
    if (now_ms - read_ms > 200) { // reading costs a page that a shared machine runs more than showing
      read_ms = now_ms;
      const code_ms = reader.read(video, Date.now());
      if (code_ms !== null) player.latencies_ms.push(Date.now() - code_ms);
    }
    video.requestVideoFrameCallback(look);
  };
  video.requestVideoFrameCallback(look);
  if (options === null) {
    video.src = url;
    video.play().catch((error) => player.errors.push([String(error), true]));
    return;
  }
  player.hls = new Hls(options);
  player.hls.on(Hls.Events.ERROR, (event, data) => player.errors.push([data.details, data.fatal]));
  player.hls.loadSource(url);
  player.hls.attachMedia(video);
}"""
UNTIL = """async ([condition, ms]) => {
  const holds = new Function("players", `return ${condition}`);
  const deadline = performance.now() + ms;
  while (performance.now() < deadline && !holds(players)) await new Promise((resolve) => setTimeout(resolve, 50));
  return players.map(({ video, errors, latencies_ms, frames, hls }) => ({
    errors, latencies_ms, frames, time_s: video.currentTime, width: video.videoWidth, held: holds(players),
    told_s: hls?.latency ?? null,
  }));
}"""


def player_page(browser: Browser, mesh: RunningMesh) -> Page:
    page = browser.new_context(bypass_csp=True).new_page()
    page.goto(f"{mesh.console}api/status")
    if HLS_JS.exists():
        page.add_script_tag(path=HLS_JS)
    return page


def until(page: Page, condition: str, seconds: float) -> list[dict[str, Any]]:
    """What the players have seen once the expression about `players` holds; it must."""
    found: list[dict[str, Any]] = page.evaluate(UNTIL, [condition, seconds * 1e3 * slowness()])
    assert found[0]["held"], f"not within {seconds} s: {condition}; {found}"
    return found


@pytest.fixture(scope="module")
def mesh() -> Iterator[RunningMesh]:
    with RunningMesh() as running:
        running.call("capture.start", stream="cam0", source="test://?size=480x270&fps=15&timecode=1")
        yield running


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=str(CHROMIUM), headless=True, args=ARGUMENTS)
        yield launched
        launched.close()


def no_fatal_errors(seen: list[dict[str, Any]]) -> bool:
    return not any(fatal for one in seen for _, fatal in one["errors"])


@needs_hls_js
def test_low_latency_in_a_page(mesh: RunningMesh, browser: Browser) -> None:
    page = player_page(browser, mesh)
    for _ in range(3):
        page.evaluate(PLAY, [f"{mesh.console}hls/cam0/index.m3u8", {"lowLatencyMode": True}])
    seen = until(page, "players.every((one) => one.latencies_ms.length >= 15)", 20)
    assert no_fatal_errors(seen)
    latencies_s = [statistics.median(one["latencies_ms"][-8:]) / 1e3 for one in seen]
    print(f"latency of three players: {', '.join(f'{one:.2f}' for one in latencies_s)} s")
    assert statistics.median(latencies_s) < _LATENCY_SECONDS * slowness()
    page.context.close()


@needs_hls_js
def test_plain_players(mesh: RunningMesh, browser: Browser) -> None:
    page = player_page(browser, mesh)
    url = f"{mesh.console}hls/cam0/index.m3u8"
    page.evaluate(PLAY, [url, {"lowLatencyMode": False}])
    page.evaluate(PLAY, [url, None])
    seen = until(page, "players.every((one) => one.frames >= 30)", 20)
    assert no_fatal_errors(seen)
    assert [one["width"] for one in seen] == [480, 480]
    latencies_s = [statistics.median(one["latencies_ms"]) / 1e3 for one in seen]
    print(f"hls.js without parts {latencies_s[0]:.1f} s behind, Chromium's own player {latencies_s[1]:.1f} s")
    page.context.close()


def test_ffmpeg_plays_pictures_out_of_order(mesh: RunningMesh) -> None:
    command = "ffmpeg -v error -f lavfi -i testsrc2=size=320x180:rate=25 -f lavfi -i sine -t 2 -pix_fmt yuv420p -g 25"
    command += " -preset ultrafast -c:v libx264 -bf 2 -b_strategy 0 -c:a aac"
    subprocess.run([*command.split(), str(mesh.media_dir / "b.mp4")], check=True)
    mesh.call("capture.start", stream="film", source="file://b.mp4")
    show = ["-show_entries", "stream=codec_name,has_b_frames", "-of", "default=noprint_wrappers=1:nokey=1"]
    url = f"{mesh.console}hls/film/source/index.m3u8"
    found = subprocess.run(["ffprobe", "-v", "error", *show, url], capture_output=True, text=True, timeout=40)
    assert (found.stdout.split()[:3], found.stderr) == (["h264", "2", "aac"], "")
    played = subprocess.run(
        ["ffmpeg", "-v", "error", "-i", url, "-t", "2", "-f", "null", "-"], capture_output=True, text=True, timeout=40
    )
    assert (played.returncode, played.stderr) == (0, "")


@needs_hls_js
def test_a_producer_that_dies(mesh: RunningMesh, browser: Browser) -> None:
    page = player_page(browser, mesh)
    for _ in range(2):
        page.evaluate(PLAY, [f"{mesh.console}hls/cam0/index.m3u8", {"lowLatencyMode": True}])
    until(page, "players.every((one) => one.frames >= 10)", 20)
    page.evaluate("() => { const one = players.pop(); one.hls.destroy(); one.video.remove(); }")
    before = until(page, "true", 1)
    mesh.kill("hw-encode")
    more = before[0]["frames"] + 60
    after = until(page, f"players.every((one) => one.frames > {more})", 30)
    assert no_fatal_errors(after)
    text = urllib.request.urlopen(f"{mesh.console}hls/cam0/main/index.m3u8", timeout=10).read().decode()
    listed = read_playlist(text)
    assert listed.segments[-1].discontinuity_number >= 1
    # A picture that stood while there was no encoder makes a long part, beside which the usual ones are short.
    assert [one for one in broken_rules(listed) if not one.endswith("too short")] == []
    page.context.close()
