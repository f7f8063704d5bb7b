"""A recording for minutes while its publisher is killed again and again: `make soak-kills`, or

    python -m tests.soak.kills [SECONDS] [KILLS]

Prints one line of JSON; exits with 1 when a rule is broken.
"""

import json
import random
import sys
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

from shared.recording_index import index_path, read_index
from tests.support.mesh import RunningMesh
from tests.support.recorded_set import check_set

_SECONDS = 600.0
_KILLS = 10
_SEGMENT_SECONDS = 20
_FPS = 30
_MAX_LOST_PICTURES_PER_KILL = _FPS  # one fragment of a second
_MAX_AV_OFFSET_MS = 40.0
_SEED = 1


def kill_times(seconds: float, kills: int) -> Iterator[float]:
    """One in each part of the time, somewhere in its middle half."""
    moments = random.Random(_SEED)
    for number in range(kills):
        yield (number + moments.uniform(0.25, 0.75)) * seconds / kills


def run(seconds: float, kills: int) -> dict[str, object]:
    segment_seconds = min(_SEGMENT_SECONDS, max(1, int(seconds / kills / 3)))
    with RunningMesh() as mesh:
        mesh.call("capture.start", stream="cam0", source=f"test://?size=640x360&fps={_FPS}", wait_s=10)
        to = "file://soak/{start:%Y%m%d-%H%M%S}.mp4"
        mesh.call("publisher.start", stream="cam0", output="soak", to=to, segment=f"{segment_seconds}s", wait_s=10)
        began = time.monotonic()
        for due in kill_times(seconds, kills):
            time.sleep(max(0.0, began + due - time.monotonic()))
            mesh.kill("publisher")
        time.sleep(max(0.0, began + seconds - time.monotonic()))
        mesh.call("publisher.stop", stream="cam0", output="soak", wait_s=10)
        files = sorted((mesh.media_dir / "soak").glob("*.mp4"), key=_started)
        found = check_set(files)
        report: dict[str, object] = {
            "seconds": seconds,
            "kills": kills,
            "files": len(files),
            "pictures": sum(found.pictures),
            "lost": found.lost,
            "doubled": found.doubled,
            "estimated": found.estimated,
            "largest_av_offset_ms": round(found.largest_av_offset_ms, 1),
            "monotonic": _monotonic(files),
            "megabytes": round(sum(file.stat().st_size for file in files) / 1e6, 1),
        }
        report["good"] = (
            found.lost <= kills * _MAX_LOST_PICTURES_PER_KILL
            and found.doubled == 0
            and found.largest_av_offset_ms < _MAX_AV_OFFSET_MS
            and bool(report["monotonic"])
        )
        return report


def _started(file: Path) -> int:
    return int(read_index(index_path(file), 0, 1).records[0]["captured_ns"])


def _monotonic(files: list[Path]) -> bool:
    """Over all files, in their order, every picture is later than the one before."""
    times = [int(time_ns) for file in files for time_ns in read_index(index_path(file)).records["captured_ns"]]
    return all(b > a for a, b in pairwise(times))


if __name__ == "__main__":
    given = [float(argument) for argument in sys.argv[1:3]]
    told = run(given[0] if given else _SECONDS, int(given[1]) if len(given) > 1 else _KILLS)
    print(json.dumps(told))
    sys.exit(0 if told["good"] else 1)
