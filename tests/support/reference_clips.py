"""Short videos of one known picture, in the kinds that cameras, phones and broadcasters make; one run of ffmpeg."""

import subprocess
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tests.support.reference_pictures import rgb_truth

WIDTH, HEIGHT = 320, 192
_PICTURES = 3
_LOSSLESS = ["-c:v", "libx264", "-preset", "ultrafast", "-qp", "1", "-bf", "0"]
_BT709 = "scale=out_color_matrix=bt709:out_range=tv:flags=accurate_rnd+full_chroma_int+bicubic"


@dataclass(frozen=True)
class Kind:
    """How a reference clip is made of the picture."""

    filters: str = f"{_BT709},format=yuv420p"
    options: tuple[str, ...] = ("-colorspace", "bt709", "-color_range", "tv")
    ending: str = "mp4"


def _bt2020(transfer: str) -> Kind:
    return Kind(
        "scale=out_color_matrix=bt2020:out_range=tv:flags=accurate_rnd+full_chroma_int+bicubic,format=yuv420p10le",
        ("-colorspace", "bt2020nc", "-color_primaries", "bt2020", "-color_trc", transfer, "-color_range", "tv"),
    )


KINDS = {
    "hd": Kind(),
    "sd": Kind("scale=out_color_matrix=bt601:out_range=tv,format=yuv420p", ("-colorspace", "smpte170m")),
    "full-range": Kind(
        "scale=out_color_matrix=bt709:out_range=pc,format=yuvj420p", ("-colorspace", "bt709", "-color_range", "pc")
    ),
    "ten-bit": Kind(f"{_BT709},format=yuv420p10le"),
    "4:2:2": Kind(f"{_BT709},format=yuv422p"),
    "4:4:4": Kind(f"{_BT709},format=yuv444p"),
    "odd": Kind(f"crop=319:191:0:0:exact=1,{_BT709},format=yuv444p"),
    "anamorphic": Kind(f"{_BT709},format=yuv420p,setsar=4/3"),
    "interlaced": Kind(
        f"{_BT709},format=yuv420p,setfield=tff",
        ("-flags", "+ildct+ilme", "-x264opts", "tff=1", "-colorspace", "bt709", "-color_range", "tv"),
    ),
    "variable-rate": Kind(
        f"{_BT709},format=yuv420p,setpts=N*N/10/TB", ("-vsync", "vfr", "-colorspace", "bt709", "-color_range", "tv")
    ),
    "pq": _bt2020("smpte2084"),
    "hlg": _bt2020("arib-std-b67"),
}


def make_clips(folder: Path) -> dict[str, Path]:
    """All kinds; takes half a second."""
    pictures = np.round(rgb_truth(WIDTH, HEIGHT) * 255).astype(np.uint8).tobytes() * _PICTURES
    command = [
        "ffmpeg",
        "-v",
        "error",
        "-y",
        "-f",
        "rawvideo",
        "-pix_fmt",
        "rgb24",
        "-s",
        f"{WIDTH}x{HEIGHT}",
        "-i",
        "-",
    ]
    paths = {}
    for name, kind in KINDS.items():
        paths[name] = folder / f"{name.replace(':', '')}.{kind.ending}"
        command += ["-vf", kind.filters, *_LOSSLESS, *kind.options, str(paths[name])]
    subprocess.run(command, input=pictures, check=True, timeout=60)
    return paths


def turned_file(path: Path, matrix: tuple[int, int, int, int]) -> bytes:
    """An mp4 with a, b, c and d of another display matrix: ISO/IEC 14496-12, 8.3.2."""
    data = bytearray(path.read_bytes())
    start = data.index(b"tkhd") + 4 + 40  # version 0: the matrix follows 40 bytes of other fields
    for place, value in zip((0, 1, 3, 4), matrix, strict=True):
        data[start + place * 4 : start + place * 4 + 4] = (value * 65_536).to_bytes(4, "big", signed=True)
    return bytes(data)
