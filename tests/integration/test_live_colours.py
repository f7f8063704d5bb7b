"""Colour bars of known values through a running mesh: files of the ring and of packets, and Chromium as a viewer."""

import asyncio
import base64
import io
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image
from playwright.async_api import Page, async_playwright
from test_whep_chromium import ARGUMENTS, CHROMIUM, PLAYER

from tests.support.mesh import RunningMesh

pytestmark = [
    pytest.mark.integration,
    pytest.mark.browser,
    pytest.mark.long,
    pytest.mark.timeout(120),
    pytest.mark.skipif(not Path(CHROMIUM).exists(), reason="needs Chromium"),
]

# 75 % bars in sRGB.
BARS = [(191, 191, 191), (191, 191, 0), (0, 191, 191), (0, 191, 0), (191, 0, 191), (191, 0, 0), (0, 0, 191)]
_LEVELS_OFF = 3  # rounding in 8 bits, once in the clip and once here; the other matrix is 30 off
# Chromium without a graphics card draws BT.709 of limited range with six bits of each factor: of a file with these bars
# it shows 9 off as well. So its frames are read, and its canvas only held against another matrix.
_CANVAS_OFF = 12
_H264 = "-c:v libx264 -preset ultrafast -crf 8 -g 10 -x264-params"
_709 = "colormatrix=bt709:colorprim=bt709:transfer=bt709"
# Size, matrix, range and format of the pictures, and what the file says of them.
SOURCES = {
    "hd": ("1920x1080", "bt709", "tv", "yuv420p", _709),
    "deep": ("1280x720", "bt709", "tv", "yuv420p10le", _709),
    "full": ("1280x720", "bt709", "pc", "yuv420p", f"{_709}:fullrange=on"),
    "webcam": ("1280x720", "bt601", "tv", "yuv420p", "colormatrix=smpte170m"),
}
SMALL = "small"  # of the first, scaled by capture to a size that is taken for BT.601 where nothing is said

FRAME = """
async () => {
  const frame = new VideoFrame(player.video);
  const {codedWidth: width, codedHeight: height} = frame;
  const data = new Uint8Array(frame.allocationSize()), space = frame.colorSpace;
  const planes = await frame.copyTo(data);
  const canvas = new OffscreenCanvas(width, height), pixels = [], samples = [];
  const context = canvas.getContext('2d', {willReadFrequently: true});
  context.drawImage(player.video, 0, 0);
  for (let bar = 0; bar < 7; bar++) {
    const x = Math.floor((bar + 0.5) * width / 7), y = height >> 1;
    pixels.push(Array.from(context.getImageData(x, y, 1, 1).data).slice(0, 3));
    samples.push(planes.map(({offset, stride}, plane) =>
      plane ? data[offset + (y >> 1) * stride + (x >> 1)] : data[offset + y * stride + x]));
  }
  const found = {format: frame.format, matrix: space.matrix, full: space.fullRange, width, height, pixels, samples};
  frame.close(); player.pc.close(); player.video.remove();
  return found;
}
"""


def make(path: Path, size: str, matrix: str, levels: str, pixel_format: str, said: str) -> None:
    width = int(size.partition("x")[0])
    bars = ",".join(
        f"drawbox=x={number * width // 7}:y=0:w={width // 7 + 1}:h=ih:color=0x{red:02x}{green:02x}{blue:02x}:t=fill"
        for number, (red, green, blue) in enumerate(BARS)
    )
    into = (
        f"scale=out_color_matrix={matrix}:out_range={levels}:flags=accurate_rnd+full_chroma_int,format={pixel_format}"
    )
    given = ["-f", "lavfi", "-i", f"color=black:size={size}:rate=10:duration=1"]
    subprocess.run(
        ["ffmpeg", "-v", "error", "-y", *given, "-vf", f"format=gbrp,{bars},{into}", *_H264.split(), said, str(path)],
        check=True,
        stdin=subprocess.DEVNULL,
    )


def off(pixels: Any) -> int:
    """Levels that the worst channel of the bars is away from the truth."""
    return int(np.abs(np.asarray(pixels).astype(int) - BARS).max())


def bars_of(picture: dict[str, Any]) -> npt.NDArray[np.uint8]:
    shown = np.asarray(Image.open(io.BytesIO(base64.b64decode(picture["data"]))).convert("RGB"))
    height, width = shown.shape[:2]
    return np.array([shown[height // 2, int((bar + 0.5) * width / 7)] for bar in range(7)])


def rgb_of(samples: list[list[int]], matrix: str, full: bool) -> npt.NDArray[np.float64]:
    """By the formulas of H.273."""
    kr, kb = {"bt709": (0.2126, 0.0722), "smpte170m": (0.299, 0.114)}[matrix]
    luma, blue, red = np.array(samples, float).T
    luma, scale = (luma / 255, 255) if full else ((luma - 16) / 219, 224)
    blue, red = (blue - 128) / scale, (red - 128) / scale
    r, b = luma + 2 * (1 - kr) * red, luma + 2 * (1 - kb) * blue
    g = (luma - kr * r - kb * b) / (1 - kr - kb)
    return np.clip(np.stack((r, g, b), 1), 0, 1) * 255


async def seen(page: Page, path: str) -> dict[str, Any]:
    await page.evaluate(PLAYER, path)
    found: dict[str, Any] = await page.evaluate(FRAME)
    return found


async def test_bars_keep_their_colours_on_every_way(tmp_path: Path) -> None:
    with RunningMesh() as mesh:
        for name, (size, *form) in SOURCES.items():
            file = mesh.media_dir / f"{name}.mp4"
            await asyncio.to_thread(make, file, size, *form)
            mesh.call("capture.start", stream=name, source=f"file://{file}?loop=1")
        mesh.call("capture.start", stream=SMALL, source=f"file://{mesh.media_dir}/hd.mp4?loop=1", size="640x360")
        names = [*SOURCES, SMALL]
        for name in names:
            for kind in ("png", "jpg"):
                form = {"format": kind, "quality": 95}
                pictures = {
                    "snapshot": mesh.call(f"capture.{name}.snapshot", **form),
                    "next": mesh.call("frame-extractor.picture", stream=name, pictures=form),
                    "past": mesh.call("frame-extractor.picture", stream=name, at="-1s", pictures=form),
                    "still": mesh.call("hw-encode.test.pic-encode", stream=name, **form),
                }
                found = {way: off(bars_of(picture)) for way, picture in pictures.items()}
                assert max(found.values()) <= _LEVELS_OFF, (name, kind, found)
        mesh.call("hw-encode.start", stream="hd", rendition="vp8", codec="vp8", encoder="software", bitrate="8M")
        async with async_playwright() as playwright:
            context = await playwright.chromium.launch_persistent_context(
                str(tmp_path), executable_path=CHROMIUM, headless=True, args=ARGUMENTS
            )
            try:
                page = await context.new_page()
                await page.goto(mesh.console)
                for name in names:
                    frame = await seen(page, f"/whep/{name}/main")
                    said = "smpte170m" if name == "webcam" else "bt709"
                    assert (frame["matrix"], frame["full"], frame["format"]) == (said, False, "I420"), (name, frame)
                    assert off(rgb_of(frame["samples"], said, full=False)) <= _LEVELS_OFF, (name, frame)
                    assert off(frame["pixels"]) <= _CANVAS_OFF, (name, frame)
                found = off((await seen(page, "/whep/hd/vp8"))["pixels"])
                assert found <= _CANVAS_OFF, "VP8 cannot say what it is, and is drawn as BT.601"
            finally:
                await context.close()
