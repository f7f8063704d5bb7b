"""Short clips of every kind that videos come in, and what an exhaustive decode makes of them."""

import functools
import hashlib
import subprocess
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np

# Moving, with an edge that is no multiple of anything.
_SOURCE = "testsrc2=size=178x100:rate=25:duration={seconds}"
_X264 = "-c:v libx264 -preset veryfast -sc_threshold 0"
_OPEN = "-x264-params open-gop=1:keyint=20:bframes=4:b-pyramid=normal:ref=4:b-adapt=0"

RECIPES = {
    "long.mp4": f"{_X264} -g 250 -bf 3",
    "groups.mp4": f"{_X264} -g 20 -bf 3",
    "open.mp4": f"{_X264} {_OPEN}",
    "open.mkv": f"{_X264} {_OPEN}",
    "open.ts": f"{_X264} {_OPEN}",
    "refresh.ts": f"{_X264} -x264-params intra-refresh=1:keyint=20",
    "fields.ts": f"{_X264} -g 20 -bf 2 -flags +ildct+ilme -x264-params tff=1",
    "live.flv": f"{_X264} -g 20 -bf 2",
    "timeless.h264": f"{_X264} -g 20 -bf 3",
    "decoding-times.avi": f"{_X264} -g 20 -bf 3",
    "hevc.mp4": "-c:v libx265 -preset ultrafast -x265-params log-level=none:keyint=20:open-gop=1:bframes=3",
    "layers.mkv": "-c:v libx265 -preset superfast -x265-params "
    "log-level=none:keyint=20:temporal-layers=1:bframes=7:b-adapt=0:b-pyramid=1:open-gop=0",
    "vp9.webm": "-c:v libvpx-vp9 -g 20 -deadline realtime -cpu-used 8 -lag-in-frames 8 -auto-alt-ref 1",
    "vp8.webm": "-c:v libvpx -g 20 -deadline good -cpu-used 5 -lag-in-frames 8 -auto-alt-ref 1",
    "av1.mp4": "-c:v libaom-av1 -cpu-used 8 -usage realtime -g 20",
    "layers-av1.mkv": "-c:v libsvtav1 -preset 10 -g 20",
    "mpeg4.avi": "-c:v mpeg4 -g 20 -bf 2",
    "mpeg4.mp4": "-c:v mpeg4 -g 20 -bf 2",
    "mpeg2.ts": "-c:v mpeg2video -g 15 -bf 2 -flags +ildct+ilme",
    "mjpeg.mov": "-c:v mjpeg",
    "prores.mov": "-c:v prores -profile:v 0",
    "loop.gif": "-vf fps=10",
    "one.jpg": "-frames:v 1",
    "one.png": "-frames:v 1",
    "rates.mp4": f"-vf select=not(mod(n\\,3))+not(mod(n\\,7)) -fps_mode vfr {_X264} -g 20",
    "late.mkv": f"{_X264} -g 20 -output_ts_offset 7.7",
}


class Picture(NamedTuple):
    """A decoded picture."""

    pts: int | None
    digest: str
    size: tuple[int, int]


class Clips:
    """Clips in a folder, made when they are first asked for."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __getitem__(self, name: str) -> Path:
        path = self.folder / name
        if not path.exists():
            self.make(name, RECIPES[name])
        return path

    def make(self, name: str, arguments: str, source: str = "", seconds: float = 2.0) -> Path:
        path = self.folder / name
        given = ["-f", "lavfi", "-i", source or _SOURCE.format(seconds=seconds)]
        pixels = (
            [] if name.endswith(("gif", "jpg", "png")) else ["-pix_fmt", "yuv422p10" if "prores" in name else "yuv420p"]
        )
        subprocess.run(
            ["ffmpeg", "-v", "error", "-y", *given, *pixels, *arguments.split(), str(path)],
            check=True,
            stdin=subprocess.DEVNULL,
            capture_output=True,
        )
        return path

    def derived(self, name: str, source: str, *before: str, after: str = "-c copy") -> Path:
        """Another clip's packets in another container."""
        path = self.folder / name
        if not path.exists():
            subprocess.run(
                ["ffmpeg", "-v", "error", "-y", *before, "-i", str(self[source]), *after.split(), str(path)],
                check=True,
                stdin=subprocess.DEVNULL,
                capture_output=True,
            )
        return path


def digest(frame: av.VideoFrame) -> str:
    """Of the planes, without the padding of their lines."""
    total = hashlib.blake2b(digest_size=12)
    sample_bytes = (frame.format.components[0].bits + 7) // 8
    for plane in frame.planes:
        lines = np.frombuffer(plane, np.uint8)[: abs(plane.line_size) * plane.height].reshape(plane.height, -1)
        width = min(lines.shape[1], plane.width * sample_bytes) if len(frame.planes) > 1 else lines.shape[1]
        total.update(np.ascontiguousarray(lines[:, :width]).tobytes())
    return total.hexdigest()


@functools.cache
def exhaustive(path: Path) -> tuple[Picture, ...]:
    """Every picture that libav makes of the file, in its order; broken packets make none."""
    pictures: list[Picture] = []
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.thread_type = "NONE"
        for packet in container.demux(stream):
            try:
                frames = packet.decode()
            except av.InvalidDataError:
                continue
            pictures += [Picture(frame.pts, digest(frame), (frame.width, frame.height)) for frame in frames]
    return tuple(pictures)
