"""The pictures of the documents, by headless Chromium out of a real mesh: `make pictures`.

python -m tests.pictures            all of them, into docs/
python -m tests.pictures console    one
"""

import argparse
import io
import subprocess
import sys
from pathlib import Path
from typing import Final

from PIL import Image
from playwright.sync_api import expect

from tests.support.console import PAGE_SECONDS, ConsolePage, console_page
from tests.support.mesh import RunningMesh

DOCS: Final = Path(__file__).parents[1] / "docs"
_COLOURS: Final = 256  # a console has few; with a palette a picture is a third as large, and looks the same
_PLAYED_SECONDS: Final = 25.0  # so that curves have something to show
_SMOOTH_FPS: Final = 13  # of 15
_PROMPT_MS: Final = 200  # and what a mix holds back; more means that the machine has something else to do
_SMOOTH_SECONDS: Final = 60.0  # of a machine with something else to do; at once on another
# Made by ffmpeg's own generators: nobody else's pictures.
_CLIPS: Final = {
    "line1": "mandelbrot=size=640x360:rate=15:start_scale=0.02:end_scale=0.0008:end_pts=150",
    "press": "life=size=160x90:mold=10:rate=15:ratio=0.12:death_color=#b4361c:life_color=#ffd27d:seed=7,"
    "scale=640:360:flags=neighbor",
}
_MADE: Final = "libx264 -preset veryfast -g 15 -pix_fmt yuv420p -t 10"


def _prepare(mesh: RunningMesh) -> None:
    """Four streams, one of them lost, a mix, a recording, and a rendition beside the usual one."""
    mesh.call("capture.start", stream="cam0", source="test://?size=640x360&fps=15", timecode=True)
    for stream, source in _CLIPS.items():
        clip = mesh.media_dir / f"{stream}.mp4"
        made = ["ffmpeg", "-v", "error", "-f", "lavfi", "-i", source, "-c:v", *_MADE.split(), "-y", str(clip)]
        subprocess.run(made, check=True, timeout=120)
        mesh.call("capture.start", stream=stream, source=clip.as_uri())
    lost = {"stream": "gate", "source": "rtsp://viewer:pa55@127.0.0.1:9/stream1"}
    mesh.run("call", "capture.start", str(lost).replace("'", '"'))  # refused, and tried again: that is what is shown
    mesh.call("publisher.start", stream="cam0", output="archive", to="file://{stream}/{start:%H%M%S}.mp4")
    mesh.call("hw-encode.start", stream="cam0", rendition="small", size="320x180", bitrate="200k", always=True)
    inputs = ["mesh://line1", "mesh://cam0", "mesh://press"]
    created = mesh.run(
        "mix", "create", "wall", *inputs, "--layout", "focus", "--focus", "line1", "--size", "1280x720", "--fps", "15"
    )
    assert created.returncode == 0, created.stderr


def _console(page: ConsolePage, console: str) -> None:
    page.open(f"{console}#/")
    for stream in ("cam0", *_CLIPS, "wall"):
        page.playing(stream, PAGE_SECONDS)
    # Five players begin at once: what is shown is how they go on.
    smooth = (
        f"tile('{stream}').fps > {_SMOOTH_FPS} && (tile('{stream}').latencyMs ?? {_PROMPT_MS}) < {_PROMPT_MS}"
        for stream in ("cam0", *_CLIPS, "wall")
    )
    page.until(" && ".join(smooth), _SMOOTH_SECONDS)


def _stream(page: ConsolePage, console: str) -> None:
    page.page.set_viewport_size({"width": 1440, "height": 1060})  # with the curves
    page.open(f"{console}#/stream/cam0")
    page.playing("cam0", PAGE_SECONDS)
    page.until(f"Date.now() - tile('cam0').firstPictureAt > {_PLAYED_SECONDS * 1e3}", _PLAYED_SECONDS + PAGE_SECONDS)


def _mix(page: ConsolePage, console: str) -> None:
    page.open(f"{console}#/mixes/wall")
    expect(page.page.locator(".mix-boxes")).to_be_visible()
    page.page.wait_for_function("() => document.querySelector('video')?.currentTime > 1")


_PICTURES: Final = {"console": _console, "console-stream": _stream, "console-mix": _mix}


def _saved(name: str, screenshot: bytes) -> Path:
    path = DOCS / f"{name}.png"
    picture = Image.open(io.BytesIO(screenshot)).convert("RGB")
    picture.quantize(_COLOURS, dither=Image.Dither.NONE).save(path, optimize=True)
    return path


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("names", nargs="*", choices=[*_PICTURES, []], metavar="NAME", help="all when left out")
    names: list[str] = parser.parse_args().names
    with RunningMesh(environment={"FRAMEMESH_NODE": "edge1"}) as mesh:
        _prepare(mesh)
        for name in names or _PICTURES:
            with console_page() as page:
                page.page.emulate_media(color_scheme="dark")
                _PICTURES[name](page, mesh.console)
                path = _saved(name, page.page.screenshot())
            print(f"{path.relative_to(DOCS.parent)}: {path.stat().st_size // 1024} KiB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
