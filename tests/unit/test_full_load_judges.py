"""What judges the mesh under full load sees what is wrong: torn pictures, gaps, rings that nobody writes."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from shared.ring import RingReader
from tests.chaos.full_load import pictures
from tests.chaos.full_load.flows import Back, back
from tests.chaos.full_load.invariants import LEASE_SECONDS, ORPHAN_SECONDS, Rings, Window, check_recordings
from tests.chaos.full_load.recovery import Recovered, markdown, table
from tests.support.ring import make_writer, put, ring_folder

__all__ = ["ring_folder"]


def test_a_picture_of_two_is_torn() -> None:
    older, newer = pictures.draw(41), pictures.draw(42)
    assert pictures.is_whole(older)
    for row in (1, 200, pictures.ROWS - 1):
        torn = np.concatenate((newer[:row], older[row:]))
        assert not pictures.is_whole(torn)
    newer[17, 3] ^= 1
    assert not pictures.is_whole(newer)


@pytest.mark.parametrize(
    ("gaps", "last", "found"),
    [
        ([], 102.9, Back(0.0, "x")),
        ([[99.0, 101.25]], 102.9, Back(1.25, "x")),
        ([[90.0, 95.0]], 102.9, Back(0.0, "x")),  # of an earlier one
        ([[99.0, 102.5]], 102.9, None),  # not steady yet
        ([[99.0, 101.0], [102.0, 102.5]], 102.9, Back(2.5, "x")),  # a slow machine's own: it costs, and is calm
        ([], 99.9, None),  # nothing has come since
        ([], 101.0, None),  # nothing comes now
    ],
)
def test_a_flow_is_back_after_its_last_gap(gaps: list[list[float]], last: float, found: Back | None) -> None:
    told = {"last": last, "gaps": gaps, "patience_seconds": 0.7, "count": 9}
    assert back("x", told, since=100.0, now=103.0, steady_seconds=1.0) == found


def test_the_table_has_the_worst_of_each_kind() -> None:
    ones = [Recovered("kill", seconds / 10, f"flow {seconds}", True) for seconds in range(1, 21)]
    rows = table([*ones, Recovered("cut", 0.0, "", True)])
    assert rows["kill"] == {"times": 20, "median_s": 1.05, "p95_s": 1.9, "worst_s": 2.0, "last": "flow 20"}
    assert "| kill | 20 | 1.05 | 1.90 | 2.00 | flow 20 |" in markdown(rows)


def test_a_ring_that_nobody_writes_is_told_once(ring_folder: Path) -> None:
    writer = make_writer(ring_folder)
    put(writer, 1)
    rings = Rings(ring_folder)
    (ring,) = ring_folder.glob("*.ring")
    orphan = ring.with_name(ring.name.replace("cam0", "cam7"))
    shutil.copy(ring, orphan)
    for at in (0.0, ORPHAN_SECONDS - 1):
        rings.look(at)
        assert rings.wrong == []  # a restart
    for at in (ORPHAN_SECONDS + 1, 2 * ORPHAN_SECONDS + 2):
        rings.look(at)
        assert len(rings.wrong) == 1
    assert orphan.name in rings.wrong[0]
    writer.close()


def test_a_lease_that_is_never_given_back_is_told(ring_folder: Path) -> None:
    writer = make_writer(ring_folder)
    reader = RingReader(ring_folder)
    rings = Rings(ring_folder)
    with reader.lease(put(writer, 1)):
        rings.look(0.0)
        for value in range(2, 6):
            put(writer, value)
        rings.look(1.0)
        rings.look(LEASE_SECONDS + 2)
    assert ["holds picture 1" in line for line in rings.wrong] == [True]
    rings.look(LEASE_SECONDS + 3)
    assert len(rings.wrong) == 1
    reader.close()
    writer.close()


def test_a_recording_that_does_not_play_is_told(tmp_path: Path) -> None:
    file = tmp_path / "broken.mp4"
    file.write_bytes(b"no recording")
    wrong = check_recordings([file], [Window("kill", 0, 1)])
    assert len(wrong) == 1
    assert "broken.mp4" in wrong[0]
