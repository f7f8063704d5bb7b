"""Who of several instances of a service does what: places, portions and the lead, held by real kernel locks."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from schemas.errors import Conflict, InvalidValue
from shared.place import ANY, Place
from shared.share import Portion, Share

CAMERAS = [f"cam{number}" for number in range(4)]


class Clock:
    """Seconds that pass when told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Instance:
    """An instance with one portion, that is done with a group the moment it gives it up."""

    def __init__(self, folder: Path, clock: Clock, wish: str = ANY) -> None:
        self.place = Place.take(folder, "capture", "edge", wish, 8)
        self.share = Share(self.place, clock)
        self.portion: Portion = self.share.portion("capture", self.choose)
        self.wanted: list[str] = []
        self.runs: frozenset[str] = frozenset()
        self.moves = 0

    def want(self, groups: list[str]) -> None:
        self.wanted = groups
        self.choose()

    def choose(self) -> None:
        before, self.runs = self.runs, self.portion.choose(self.wanted)
        for group in before - self.runs:
            self.moves += 1
            self.portion.release(group)

    def die(self) -> None:
        self.place.close()
        self.runs = frozenset()


def settle(*instances: Instance) -> list[list[str]]:
    for _ in range(3):
        for instance in instances:
            instance.share.look()
    shares = [sorted(instance.runs) for instance in instances]
    everything = [group for share in shares for group in share]
    assert len(everything) == len(set(everything)), "nothing runs twice"
    return shares


def started(folder: Path, clock: Clock, count: int, wanted: list[str]) -> list[Instance]:
    instances = [Instance(folder, clock) for _ in range(count)]
    for instance in instances:
        instance.want(wanted)
    settle(*instances)
    return instances


@pytest.mark.parametrize(
    ("count", "sizes"), [(1, [4]), (2, [2, 2]), (3, [2, 1, 1]), (4, [1, 1, 1, 1]), (6, [1, 1, 1, 1, 0, 0])]
)
def test_parts_are_equal(tmp_path: Path, count: int, sizes: list[int]) -> None:
    instances = started(tmp_path, Clock(), count, CAMERAS)
    shares = settle(*instances)
    assert [len(share) for share in shares] == sizes
    assert sorted(group for share in shares for group in share) == CAMERAS


def test_one_more_stream_moves_no_other(tmp_path: Path) -> None:
    instances = started(tmp_path, Clock(), 3, CAMERAS)
    before = [instance.runs for instance in instances]
    moves = [instance.moves for instance in instances]
    for instance in instances:
        instance.want([*CAMERAS, "aaa"])
    settle(*instances)
    assert [instance.moves for instance in instances] == moves
    assert all(was <= instance.runs for was, instance in zip(before, instances, strict=True))
    assert {group for instance in instances for group in instance.runs} == {*CAMERAS, "aaa"}


def test_what_is_left_stays_where_it_is(tmp_path: Path) -> None:
    instances = started(tmp_path, Clock(), 4, CAMERAS)
    last = next(instance for instance in instances if instance.runs == {"cam3"})
    moves = last.moves
    for count in (3, 2, 1):
        for instance in instances:
            instance.want(CAMERAS[-count:])
        settle(*instances)
    assert (last.runs, last.moves) == ({"cam3"}, moves)


def test_one_that_has_more_than_others_is_waited_for_too(tmp_path: Path) -> None:
    clock = Clock()
    first, second, third = started(tmp_path, clock, 3, CAMERAS)
    had = first.runs
    assert len(had) == 2
    first.die()
    clock.now += 1.0
    settle(second, third)
    again = Instance(tmp_path, clock)
    again.want(CAMERAS)
    settle(again, second, third)
    assert again.runs == had
    assert [len(instance.runs) for instance in (second, third)] == [1, 1]


def test_one_that_dies_is_waited_for_and_finds_its_own(tmp_path: Path) -> None:
    clock = Clock()
    first, second = started(tmp_path, clock, 2, CAMERAS)
    had, kept = second.runs, first.runs
    second.die()
    clock.now += 1.0
    assert settle(first) == [sorted(kept)], "its groups are not moved for a restart"
    again = Instance(tmp_path, clock)
    assert again.share.number == 2
    again.want(CAMERAS)
    settle(first, again)
    assert (first.runs, again.runs) == (kept, had)


def test_one_that_stays_away_is_stood_in_for(tmp_path: Path) -> None:
    clock = Clock()
    first, second = started(tmp_path, clock, 2, CAMERAS)
    second.die()
    clock.now += 2.1
    assert settle(first) == [CAMERAS]


def test_who_stood_in_gives_back_what_it_took(tmp_path: Path) -> None:
    clock = Clock()
    instances = started(tmp_path, clock, 4, CAMERAS)
    runs = [instance.runs for instance in instances]
    for dead in (0, 2):
        instances[dead].die()
        clock.now += 2.1
        assert sum(map(len, settle(*(one for one in instances if one.runs)))) == 4
        instances[dead] = Instance(tmp_path, clock)
        instances[dead].want(CAMERAS)
        settle(*instances)
        assert [instance.runs for instance in instances] == runs


def test_a_group_is_not_taken_before_it_has_ended(tmp_path: Path) -> None:
    first, second = (Instance(tmp_path, Clock()) for _ in range(2))
    first.want(["cam0"])
    assert first.runs == {"cam0"}
    second.want(["cam0"])  # its part is none
    assert second.runs == frozenset()
    assert second.portion.elsewhere("cam0")
    # By the first one's end alone, with no word from it.
    first.place.close()
    assert not second.portion.elsewhere("cam0")


def test_what_is_given_up_stays_locked_until_it_is_released(tmp_path: Path) -> None:
    clock = Clock()
    first, second = Instance(tmp_path, clock), Instance(tmp_path, clock)
    first.want(["a", "b"])
    second.want(["a", "b"])
    left = first.portion.choose(["a", "b"])
    assert left == {"a"}
    assert second.portion.choose(["a", "b"]) == frozenset(), "its first owner has not let go"
    first.portion.release("b")
    assert second.portion.choose(["a", "b"]) == {"b"}


def test_one_leads(tmp_path: Path) -> None:
    clock = Clock()
    first, second = Instance(tmp_path, clock), Instance(tmp_path, clock)
    led: list[int] = []
    for instance in (first, second):
        instance.share.on_lead(lambda number=instance.share.number: led.append(number))  # type: ignore[misc]
    assert first.share.leads()
    settle(first, second)
    assert led == [1]
    assert not second.share.leads()
    first.die()
    second.share.look()
    assert led == [1, 2]
    second.share.look()
    assert led == [1, 2]


def test_places(tmp_path: Path) -> None:
    first = Place.take(tmp_path, "capture", "edge", "1", 8)
    with pytest.raises(Conflict, match=r"capture already runs on node edge; .*FRAMEMESH_CAPTURE_INSTANCE=any"):
        Place.take(tmp_path, "capture", "edge", "1", 8)
    assert Place.take(tmp_path, "capture", "other", "1", 8).number == 1
    third = Place.take(tmp_path, "capture", "edge", "3", 8)
    second = Place.take(tmp_path, "capture", "edge", ANY, 8)
    assert (second.number, third.number) == (2, 3)
    first.close()
    again = Place.take(tmp_path, "capture", "edge", ANY, 8)
    assert again.number == 1
    with pytest.raises(Conflict, match="already runs on node edge 3 times"):
        Place.take(tmp_path, "capture", "edge", ANY, 3)


@pytest.mark.parametrize(
    ("service", "wish", "most", "words"),
    [
        ("capture", "9", 8, "FRAMEMESH_CAPTURE_INSTANCE '9': capture: at most 8 share a node"),
        ("publisher", "2", 1, "FRAMEMESH_PUBLISHER_INSTANCE '2': publisher: it runs once on a node"),
    ],
)
def test_places_that_there_are_not(tmp_path: Path, service: str, wish: str, most: int, words: str) -> None:
    with pytest.raises(InvalidValue, match=words):
        Place.take(tmp_path, service, "edge", wish, most)


def test_any_place_of_a_service_that_runs_once(tmp_path: Path) -> None:
    place = Place.take(tmp_path, "publisher", "edge", ANY, 1)
    assert place.number == 1
    with pytest.raises(Conflict, match="publisher already runs on node edge; stop it"):
        Place.take(tmp_path, "publisher", "edge", ANY, 1)


def test_a_lock_file_that_is_taken_away(tmp_path: Path) -> None:
    gone = Place.take(tmp_path, "capture", "edge", "1", 8)
    (tmp_path / ".capture.edge.lock").unlink()
    now = Place.take(tmp_path, "capture", "edge", "1", 8)
    with pytest.raises(Conflict):
        Place.take(tmp_path, "capture", "edge", "1", 8)
    gone.close()
    now.close()


def test_a_killed_process_has_no_place(tmp_path: Path) -> None:
    hold = (
        "import pathlib, sys, time; from shared.place import Place; "
        f"place = Place.take(pathlib.Path({str(tmp_path)!r}), 'capture', 'edge', '1', 8); print('held', flush=True); "
        "time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", hold], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        with pytest.raises(Conflict):
            Place.take(tmp_path, "capture", "edge", "1", 8)
        os.kill(process.pid, signal.SIGKILL)
        process.wait(10)
        assert Place.take(tmp_path, "capture", "edge", "1", 8).number == 1
