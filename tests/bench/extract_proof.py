"""Whether pictures are the right ones: by hash, by their colours, and those of peers by comparison.

`python -m tests.bench.extract_proof <video> <seconds between pictures> <workers>` prints the MD5 of the planes of every
picture that the engine hands over, as JSON.
"""

import hashlib
import json
import subprocess
import sys
import threading
from bisect import bisect_right
from pathlib import Path

import numpy as np
import numpy.typing as npt
import simplejpeg

from tests.bench.extract_clips import RATE, clip, exhaustive

ROOT = Path(__file__).parents[2]
_SMALL = 16  # pictures are compared at an eighth of their size, or nearest to it with so many lines or more
_SAME_DB = 30.0  # two codings of one picture have 38 and more, of two pictures in motion 15 to 28
_EXACT = "flags=accurate_rnd+full_chroma_int+full_chroma_inp"
_MOST_LEVELS = 1.0
"""Of 255: limited range taken for full is 8 off on average, BT.709 taken for BT.601 4 and more in colourful places."""


def wanted(name: str, step_s: float) -> list[str]:
    """The MD5 of the picture that an exhaustive decode shows in the middle of each step."""
    pictures = exhaustive(name)
    times = [at_s for at_s, _ in pictures]
    found: list[str] = []
    while (at_s := (len(found) + 0.5) * step_s) < times[-1] + 1 / RATE:
        found.append(pictures[bisect_right(times, at_s + 1e-6) - 1][1])
    return found


def equal(name: str, step_s: float, workers: int, source: str = "") -> tuple[int, int]:
    """How many of the engine's pictures have the hash that they should have, and how many there should be."""
    command = [sys.executable, "-m", "tests.bench.extract_proof", source or str(clip(name)), str(step_s), str(workers)]
    said = subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT).stdout
    got: dict[str, str] = json.loads(said)
    expected = wanted(name, step_s)
    right = sum(got.get(str(number)) == digest for number, digest in enumerate(expected))
    return right - max(0, len(got) - len(expected)), len(expected)


def alike(ours: Path, theirs: Path) -> int:
    """How many pictures of two folders show the same, one by one."""
    pairs = zip(sorted(ours.iterdir()), sorted(theirs.iterdir()), strict=False)
    return sum(_psnr_db(_small(one), _small(other)) >= _SAME_DB for one, other in pairs)


def colour_error(name: str, pictures: Path, step_s: float) -> float:
    """Levels of 255 that a channel of the first picture is off, on average, from ffmpeg's exact conversion."""
    number = int(step_s / 2 * RATE)
    choice = f"select='eq(n,{number})',scale=in_color_matrix=bt709:in_range=tv:{_EXACT},format=rgb24"
    command = ["ffmpeg", "-v", "error", "-i", clip(name), "-vf", choice, "-frames:v", "1", "-f", "rawvideo", "-"]
    raw = subprocess.run(command, check=True, capture_output=True).stdout
    picture = simplejpeg.decode_jpeg(sorted(pictures.iterdir())[0].read_bytes(), "RGB")
    reference = np.frombuffer(raw, np.uint8).reshape(picture.shape)
    # By ninths: errors of two places must not make up for each other.
    parts = [
        np.abs(mine.mean((0, 1)) - exact.mean((0, 1))).max()
        for rows, exact_rows in zip(np.array_split(picture, 3), np.array_split(reference, 3), strict=True)
        for mine, exact in zip(np.array_split(rows, 3, 1), np.array_split(exact_rows, 3, 1), strict=True)
    ]
    return float(max(parts))


def right_colours(levels: float) -> bool:
    return levels <= _MOST_LEVELS


def _small(path: Path) -> npt.NDArray[np.float32]:
    data = path.read_bytes()
    height = simplejpeg.decode_jpeg_header(data)[0]
    picture = simplejpeg.decode_jpeg(data, "GRAY", min_height=max(_SMALL, height // 8), min_width=1, min_factor=1)
    return np.asarray(picture, np.float32)


def _psnr_db(one: npt.NDArray[np.float32], other: npt.NDArray[np.float32]) -> float:
    if one.shape != other.shape:
        return 0.0
    return float(10 * np.log10(255**2 / max(1e-9, float(np.square(one - other).mean()))))


def _hashes(source: str, step_s: float, workers: int) -> dict[int, str]:
    from schemas.sampling import Sampling
    from services.frame_extractor.engine import OpenVideo, Taken, take
    from shared.netguard import Policy, check

    if source.startswith("http:"):
        video = OpenVideo.of_url(check(source, Policy(schemes=frozenset(("http",)), allow_private=True)))
    else:
        video = OpenVideo.of_path(source)
    found: dict[int, str] = {}
    lock = threading.Lock()

    def on_picture(taken: Taken) -> None:
        digest = hashlib.md5(taken.frame.to_ndarray(), usedforsecurity=False).hexdigest()
        with lock:
            found[taken.number] = digest

    take(video, Sampling(fps=1 / step_s), on_picture, threads=workers)
    return found


if __name__ == "__main__":
    print(json.dumps(_hashes(sys.argv[1], float(sys.argv[2]), int(sys.argv[3]))))
