"""A soak finds what grows, forgives what only moves, and says so."""

import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.soak import picture, report
from tests.soak.looks import Look, process_values, used_bytes
from tests.soak.verdicts import MEASURES, judge, slope, worst

pytestmark = pytest.mark.unit

_MINUTES_30 = 1800


def _looks(measure: str, value_at: dict[str, Callable[[float], float]]) -> list[Look]:
    """One each five seconds of half an hour; `value_at` has a function of seconds for each thing."""
    return [
        Look(at, {(measure, of): value(at) for of, value in value_at.items()}) for at in range(0, _MINUTES_30 + 1, 5)
    ]


def test_a_leak_is_found_in_noise_and_noise_is_none() -> None:
    dice = random.Random(1)
    looks = _looks(
        "memory",
        {
            "leaks": lambda at: 60 + at / 60 * 0.6 + dice.uniform(-3, 3),  # 36 MiB an hour
            "moves": lambda at: 60 + dice.uniform(-3, 3),
            "saws": lambda at: 60 + at % 120 / 10,
        },
    )
    verdicts = {one.of: one for one in judge(looks)}
    assert not verdicts["leaks"].good
    assert verdicts["leaks"].per_hour == pytest.approx(36, rel=0.1)
    assert verdicts["moves"].good
    assert verdicts["saws"].good
    assert [one.of for one in worst(verdicts.values())] == ["leaks"]


def test_what_grows_while_it_warms_up_is_none() -> None:
    looks = _looks("threads", {"pool": lambda at: min(40.0, 4 + at / 5)})
    assert judge(looks)[0].good


def test_a_descriptor_for_each_turn_is_found() -> None:
    looks = _looks("descriptors", {"gateway": lambda at: 20.0 + at // 60})
    found = judge(looks)[0]
    assert not found.good
    assert found.growth == pytest.approx(24, abs=1)


def test_one_bad_look_bends_no_line() -> None:
    points = [(float(at), 1.0) for at in range(0, 100, 5)]
    points[-1] = (95.0, 1e6)
    assert slope(points) == (0.0, 1.0)


@pytest.mark.parametrize("late", [(0.0, -60.0), (0.0, 60.0), (100.0, 100.0)])
def test_sound_that_drifts_or_is_always_late_is_found(late: tuple[float, float]) -> None:
    first, last = late
    looks = _looks("sound", {"cam0": lambda at: first + (last - first) * at / _MINUTES_30})
    assert not judge(looks)[0].good


def test_times_may_be_longer_on_a_slow_machine_and_nothing_else() -> None:
    looks = _looks("latency", {"encoded": lambda at: 10 + at / 100})
    assert not judge(looks)[0].good
    assert judge(looks, slowness=2.0)[0].good
    leak = _looks("memory", {"capture": lambda at: at / 60})
    assert not judge(leak, slowness=4.0)[0].good


def test_what_was_seen_too_seldom_has_no_verdict_and_is_told() -> None:
    looks = _looks("memory", {"capture": lambda at: 60.0})
    looks[-1].values["sound", "cam0"] = 5.0
    found = _report(looks)
    assert [one["measure"] for one in found["verdicts"]] == ["memory"]
    assert set(found["not_measured"]) == MEASURES.keys() - {"memory"}
    assert not found["good"], "what nobody measured is not good"


def test_the_report_names_what_is_wrong_and_the_picture_shows_it() -> None:
    looks = _looks("memory", {"capture": lambda at: at / 10, "publisher": lambda at: 60.0})
    found = _report(looks, failed=["turn 3, a job: 503"], restarts=["publisher: 1, then 2"])
    text = report.markdown(found)
    rows = [line for line in text.splitlines() if line.startswith("| memory")]
    assert "capture" in rows[0], "the worst comes first"
    assert "**no**" in rows[0]
    assert "**no**" not in rows[1]
    assert "turn 3, a job: 503" in text
    assert "publisher: 1, then 2" in text
    drawn = picture.draw(found)
    assert "1 beyond their limits" in drawn
    assert drawn.count("<polyline") >= 2


def _report(looks: list[Look], failed: list[str] | None = None, restarts: list[str] | None = None) -> dict[str, Any]:
    return report.make(
        seconds=_MINUTES_30,
        verdicts=judge(looks),
        turns=5,
        failed=failed or [],
        restarts=restarts or [],
        fewest_packets_per_second=1.0,
        machine={"slowness": 1.0, "load_before": 0.0},
    )


_HOLDER = """
import os, sys
sys.stdin.readline()
pipe = os.pipe()
block = bytearray(32 << 20)
block[::4096] = b"x" * len(block[::4096])  # pages that are only promised are not in memory
print(flush=True)
sys.stdin.readline()
"""


def test_a_process_is_looked_at_from_outside() -> None:
    # One of its own: that of the tests frees memory, and children of it end, whenever they like.
    with subprocess.Popen(
        [sys.executable, "-Ic", _HOLDER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        print(file=process.stdin, flush=True)
        process.stdout.readline()
        found = process_values(process.pid)
        process.stdin.close()
    assert found["descriptors"] == 3 + 2
    assert found["memory"] == pytest.approx(32 + 6, abs=6), "the block, and an interpreter"
    assert found["threads"] == 1


def test_holes_take_no_room(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b"
    folder.mkdir(parents=True)
    with (folder / "hole").open("wb") as file:
        file.truncate(1 << 30)
    (folder / "full").write_bytes(b"x" * 100_000)
    assert 100_000 <= used_bytes(tmp_path) < 200_000
