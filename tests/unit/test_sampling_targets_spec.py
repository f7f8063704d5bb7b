"""Moments and pictures by the specification alone: every picture of the clips has its own number painted on it."""

import math
import subprocess
import threading
from pathlib import Path
from typing import Any

import av
import msgspec
import numpy as np
import pytest

from schemas.errors import InvalidValue
from schemas.extraction import VideoFacts
from schemas.sampling import Sampling, check_sampling
from services.frame_extractor.engine import OpenVideo, Taken, VideoError, take

_BITS, _BLOCK = 10, 16
_CODED = ["-c:v", "libx264", "-preset", "ultrafast", "-g", "20", "-bf", "2", "-pix_fmt", "yuv420p"]

# pictures, pictures a second, what ffmpeg does to them, ending
CLIPS: dict[str, tuple[int, str, list[str], str]] = {
    "plain": (100, "25", [], "mp4"),
    "eleven": (281, "25", [], "mp4"),  # 11.24 s: the document's 11.234 s have 11 pictures at 1 fps
    "ntsc": (120, "30000/1001", [], "mp4"),
    "variable": (7, "10", ["-vf", "setpts=N*N/10/TB", "-fps_mode", "vfr"], "mp4"),  # 0 .1 .4 .9 1.6 2.5 3.6
    "one": (1, "25", [], "mp4"),
    "late": (100, "25", ["-output_ts_offset", "7.7"], "mkv"),
    "endless": (50, "25", ["-f", "matroska", "-live", "1"], "mkv"),  # nobody knows how long it is
}


def numbered(count: int) -> bytes:
    """Grey pictures; one white or black block for each bit of their number."""
    bits = (np.arange(count)[:, None] >> np.arange(_BITS)) & 1
    lines = np.repeat((bits * 219 + 16).astype(np.uint8), _BLOCK, axis=1)
    return np.repeat(lines[:, None, :], _BLOCK, axis=1).tobytes()


def number_of(frame: av.VideoFrame) -> int:
    luma = frame.to_ndarray(format="gray")
    return sum(int(luma[_BLOCK // 2, bit * _BLOCK + _BLOCK // 2] > 128) << bit for bit in range(_BITS))


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("numbered")
    made = {}
    for name, (count, rate, arguments, ending) in CLIPS.items():
        made[name] = folder / f"{name}.{ending}"
        given = ["-f", "rawvideo", "-pix_fmt", "gray", "-s", f"{_BITS * _BLOCK}x{_BLOCK}", "-r", rate, "-i", "-"]
        command = ["ffmpeg", "-v", "error", *given, *_CODED, *arguments, str(made[name])]
        subprocess.run(command, input=numbered(count), check=True, timeout=30)
    return made


def sampled(path: Path, sampling: Sampling) -> tuple[list[float], list[int], VideoFacts]:
    """Moments and numbers on the pictures, in the order of the result."""
    got: dict[int, tuple[float, int]] = {}

    def on_picture(one: Taken) -> None:
        painted = number_of(one.frame)
        assert one.frame_index in (None, painted)
        got[one.number] = one.timestamp_s, painted

    facts = take(OpenVideo.of_path(path), sampling, on_picture, threads=2, stop=threading.Event())
    assert sorted(got) == list(range(len(got)))
    ordered = [got[number] for number in sorted(got)]
    return [moment for moment, _ in ordered], [painted for _, painted in ordered], facts


def steps(first: float, step: float, count: int) -> list[float]:
    return [first + number * step for number in range(count)]


Case = tuple[str, dict[str, Any], list[float], list[int]]
CASES: list[Case] = [
    # middle: (i + 0.5) / fps before the end
    ("plain", {}, [0.5, 1.5, 2.5, 3.5], [12, 37, 62, 87]),
    ("plain", {"fps": 1, "max_frames": 2}, [0.5, 1.5], [12, 37]),
    ("plain", {"fps": 10}, steps(0.05, 0.1, 40), [int(1.25 + 2.5 * n) for n in range(40)]),
    ("plain", {"fps": 240}, steps(0.5 / 240, 1 / 240, 960), [(2 * n + 1) * 25 // 480 for n in range(960)]),
    ("plain", {"fps": 0.25}, [2.0], [50]),
    ("plain", {"fps": 0.125}, [2.0], [50]),  # its first middle is the end: shorter than that, so its own middle
    ("plain", {"fps": 0.1}, [2.0], [50]),
    ("plain", {"start_s": 1, "end_s": 3}, [1.5, 2.5], [37, 62]),
    ("plain", {"end_s": 1.5}, [0.5], [12]),
    ("eleven", {}, steps(0.5, 1, 11), [12 + 25 * n for n in range(11)]),
    ("ntsc", {}, [0.5, 1.5, 2.5, 3.5], [14, 44, 74, 104]),
    ("one", {}, [0.02], [0]),
    ("late", {}, [0.5, 1.5, 2.5, 3.5], [12, 37, 62, 87]),
    # uniform: K points, both ends among them
    ("plain", {"mode": "uniform", "count": 1}, [0], [0]),
    ("plain", {"mode": "uniform", "count": 1, "start_s": 1.5}, [1.5], [37]),
    ("plain", {"mode": "uniform", "count": 5}, [0, 1, 2, 3, 4], [0, 25, 50, 75, 99]),
    ("plain", {"mode": "uniform", "count": 4}, [0, 4 / 3, 8 / 3, 4], [0, 33, 66, 99]),
    ("plain", {"mode": "uniform", "count": 3, "start_s": 1, "end_s": 2}, [1, 1.5, 2], [25, 37, 50]),
    ("plain", {"mode": "uniform", "count": 3, "start_s": 2, "end_s": 2}, [2], [50]),
    ("plain", {"mode": "uniform", "count": 3, "max_frames": 2}, [0, 2], [0, 50]),
    ("plain", {"mode": "uniform", "count": 3, "end_s": 100}, [0, 2, 4], [0, 50, 99]),
    ("plain", {"mode": "uniform", "count": 3, "start_s": 5}, [], []),
    ("plain", {"mode": "uniform", "count": 201}, steps(0, 0.02, 201), [min(99, n // 2) for n in range(201)]),
    ("one", {"mode": "uniform", "count": 5}, steps(0, 0.01, 5), [0] * 5),
    ("variable", {"mode": "uniform", "count": 4, "end_s": 3}, [0, 1, 2, 3], [0, 3, 4, 5]),
    # interval: start, start + d, ... <= end
    ("plain", {"mode": "interval", "interval_s": 1}, [0, 1, 2, 3], [0, 25, 50, 75]),
    ("plain", {"mode": "interval", "interval_s": 1, "end_s": 2}, [0, 1, 2], [0, 25, 50]),
    ("plain", {"mode": "interval", "interval_s": 1, "end_s": 4}, [0, 1, 2, 3], [0, 25, 50, 75]),
    ("plain", {"mode": "interval", "interval_s": 0.1, "end_s": 0.3}, [0, 0.1, 0.2, 0.3], [0, 2, 5, 7]),
    ("plain", {"mode": "interval", "interval_s": 0.7, "start_s": 0.2}, steps(0.2, 0.7, 6), [5, 22, 40, 57, 75, 92]),
    ("plain", {"mode": "interval", "interval_s": 0.04}, steps(0, 0.04, 100), list(range(100))),
    ("plain", {"mode": "interval", "interval_s": 100}, [0], [0]),
    ("plain", {"mode": "interval", "interval_s": 1e300}, [0], [0]),
    ("plain", {"mode": "interval", "interval_s": 1, "start_s": 4}, [], []),
    ("variable", {"mode": "interval", "interval_s": 0.5, "end_s": 2}, steps(0, 0.5, 5), [0, 2, 3, 3, 4]),
    # fps: the same, from the start on and not from the middle
    ("plain", {"mode": "fps", "fps": 1}, [0, 1, 2, 3], [0, 25, 50, 75]),
    ("plain", {"mode": "fps", "fps": 2, "start_s": 1, "end_s": 2}, [1, 1.5, 2], [25, 37, 50]),
    ("plain", {"mode": "fps", "fps": 3}, steps(0, 1 / 3, 12), [n * 25 // 3 for n in range(12)]),
    ("plain", {"mode": "fps", "fps": 25}, steps(0, 0.04, 100), list(range(100))),
    ("plain", {"mode": "fps", "fps": 50}, steps(0, 0.02, 200), [n // 2 for n in range(200)]),
    ("plain", {"mode": "fps", "fps": 0.001}, [0], [0]),
    ("ntsc", {"mode": "fps", "fps": 1}, [0, 1, 2, 3, 4], [0, 29, 59, 89, 119]),
    ("variable", {"mode": "fps", "fps": 1, "end_s": 3}, [0, 1, 2, 3], [0, 3, 4, 5]),
    ("late", {"mode": "fps", "fps": 1}, [0, 1, 2, 3], [0, 25, 50, 75]),
    # timestamps: those within start and end, sorted, none of them taken for another
    ("plain", {"mode": "timestamps", "timestamps_s": (3, 1, 1, 2)}, [1, 1, 2, 3], [25, 25, 50, 75]),
    ("plain", {"mode": "timestamps", "timestamps_s": (1, 2, 3), "start_s": 1.5, "end_s": 2.5}, [2], [50]),
    ("plain", {"mode": "timestamps", "timestamps_s": (1, 2, 3), "start_s": 1, "end_s": 3}, [1, 2, 3], [25, 50, 75]),
    ("plain", {"mode": "timestamps", "timestamps_s": (4.1, 4, 1e300)}, [4], [99]),
    (
        "plain",
        {"mode": "timestamps", "timestamps_s": (0.039, 0.04, 0.0799, 0.08)},
        [0.039, 0.04, 0.0799, 0.08],
        [0, 1, 1, 2],
    ),
    ("variable", {"mode": "timestamps", "timestamps_s": (0.39, 0.4, 3.59)}, [0.39, 0.4, 3.59], [1, 2, 5]),
    # frames: by number, from the first at or after the start on, not beyond the end
    ("plain", {"mode": "frames", "interval_frames": 30}, [0, 1.2, 2.4, 3.6], [0, 30, 60, 90]),
    ("plain", {"mode": "frames", "interval_frames": 1}, steps(0, 0.04, 100), list(range(100))),
    ("plain", {"mode": "frames", "interval_frames": 2**53 - 1}, [0], [0]),
    ("plain", {"mode": "frames", "interval_frames": 30, "start_s": 1}, [1, 2.2, 3.4], [25, 55, 85]),
    ("plain", {"mode": "frames", "interval_frames": 30, "end_s": 1.2}, [0, 1.2], [0, 30]),
    ("plain", {"mode": "frames", "interval_frames": 30, "max_frames": 3}, [0, 1.2, 2.4], [0, 30, 60]),
    ("variable", {"mode": "frames", "interval_frames": 2}, [0, 0.4, 1.6, 3.6], [0, 2, 4, 6]),
    ("one", {"mode": "frames", "interval_frames": 7}, [0], [0]),
    # length unknown: the first picture at or after each multiple
    ("endless", {"mode": "interval", "interval_s": 0.5}, [0, 0.5, 1, 1.5], [0, 13, 25, 38]),
    ("endless", {"mode": "fps", "fps": 2, "max_frames": 3}, [0, 0.5, 1], [0, 13, 25]),
    ("endless", {"mode": "frames", "interval_frames": 20}, [0, 0.8, 1.6], [0, 20, 40]),
]


@pytest.mark.parametrize(("clip", "fields", "moments", "pictures"), CASES)
def test_moments_and_their_pictures(
    clips: dict[str, Path], clip: str, fields: dict[str, Any], moments: list[float], pictures: list[int]
) -> None:
    sampling = Sampling(**fields)
    check_sampling(sampling)
    got_moments, got_pictures, facts = sampled(clips[clip], sampling)
    assert got_pictures == pictures
    assert got_moments == pytest.approx(moments, abs=1e-6)
    assert facts.duration_s == pytest.approx({"plain": 4, "eleven": 11.24, "late": 4}.get(clip, facts.duration_s))


def test_a_length_that_nobody_knows_leaves_a_fair_choice(clips: dict[str, Path]) -> None:
    def draw(seed: int, count: int = 5) -> list[int]:
        moments, pictures, _ = sampled(clips["endless"], Sampling(mode="uniform", count=count, seed=seed))
        assert moments == sorted(moments)
        return pictures

    by_seed = {seed: draw(seed) for seed in range(8)}
    assert draw(3) == by_seed[3] == sorted(set(by_seed[3]))
    assert len({tuple(pictures) for pictures in by_seed.values()}) > 4
    assert sampled(clips["endless"], Sampling(mode="uniform", count=5))[1] == draw(42)
    assert draw(1, 60) == list(range(50))


WRONG: list[dict[str, Any]] = [
    *({"fps": value} for value in (0, -1, math.nan, math.inf, -math.inf, 241, "1", True)),
    *({"mode": "uniform", "count": value} for value in (0, -1, 1.5, None, 2**63, math.nan)),
    *({"mode": "interval", "interval_s": value} for value in (0, -1, None, math.nan)),
    *({"mode": "frames", "interval_frames": value} for value in (0, -1, 0.5, None, 2**64)),
    *({"mode": "timestamps", "timestamps_s": value} for value in ([], [-1], [1, math.nan], [math.inf], 3, None)),
    *({"mode": mode} for mode in ("fps", "uniform", "interval", "frames", "timestamps", "by_fps", "", None)),
    *({"start_s": value} for value in (-1, math.nan, math.inf, 1e300)),
    *({"end_s": value} for value in (-1, math.nan, math.inf, 1e300)),
    {"start_s": 2, "end_s": 1},
    *({"max_frames": value} for value in (0, -1, 1.5, 2**64)),
    *({"seed": value} for value in (1.5, 2**64, "x")),
    {"unknown": 1},
]


@pytest.mark.parametrize("fields", WRONG)
def test_what_is_no_sampling_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises((msgspec.ValidationError, InvalidValue)):
        check_sampling(msgspec.convert(fields, Sampling))


@pytest.mark.parametrize(
    "fields", [{"mode": "interval", "interval_s": 1e-9}, {"mode": "interval", "interval_s": 5e-324}]
)
def test_more_pictures_than_allowed_are_refused(clips: dict[str, Path], fields: dict[str, Any]) -> None:
    with pytest.raises(VideoError) as raised:
        sampled(clips["plain"], Sampling(**fields))
    assert raised.value.kind == "parameter"
    assert sampled(clips["plain"], Sampling(**fields, max_frames=2))[1] == [0, 0]
