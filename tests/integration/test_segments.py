"""Recordings in segments: cut exactly, indexed exactly, kept as long as asked for."""

import os
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from msgspec.structs import replace

from schemas.errors import InvalidValue
from schemas.resources import OutputSpec
from services.publisher.file_limits import check_limits
from services.publisher.file_names import own_folder
from services.publisher.mp4_fragments import fragments
from services.publisher.outputs.base import OutputSettings
from services.publisher.progress import OutputProgress
from services.publisher.repair import cut_before, repair_index
from services.publisher.retention import KeptFile, Retention
from services.publisher.writer import OutputWriter
from shared.backoff import Backoff
from shared.recording_index import ESTIMATED, KEY, RECORD, cut_index, index_path, read_index, read_summary
from tests.support.packets import FPS, NANOSECONDS, Made, clip
from tests.support.peers import probe

pytestmark = pytest.mark.integration

_SECONDS = 9.0
_KEY_EVERY = FPS // 2
# One sound packet of 21 ms may lie to either side of a cut.
_SOUND_PACKET_SECONDS = 1024 / 48_000


class Rig:
    """A writer, its events, and packets as fast as it takes them."""

    def __init__(self, root: Path, **spec: Any) -> None:
        self.settings = OutputSettings(
            file_roots=(root,), state_dir=root.parent / "state", min_free_bytes=spec.pop("min_free_bytes", 0)
        )
        self.spec = OutputSpec(stream="cam0", output="archive", node="edge1", **spec)
        self.events: list[tuple[str, dict[str, Any]]] = []
        self._changed = threading.Condition()
        self.keys_asked = 0
        self.writer = self._make()

    def _make(self) -> OutputWriter:
        return OutputWriter(
            self.spec,
            self.spec.to,
            self.settings,
            self._hear_state,
            expected_tracks=("video", "aac"),
            on_need_key=self._need_key,
            on_event=self._hear,
            backoff=Backoff(jitter=lambda: 0.0),
        )

    def _need_key(self) -> None:
        self.keys_asked += 1

    def _hear_state(self, _: OutputProgress) -> None:
        with self._changed:
            self._changed.notify_all()

    def _hear(self, name: str, detail: dict[str, Any]) -> None:
        with self._changed:
            self.events.append((name, detail))
            self._changed.notify_all()

    def wait(self, condition: Callable[[], bool], seconds: float = 10.0) -> None:
        with self._changed:
            assert self._changed.wait_for(condition, seconds), (self.writer.progress, self.events)

    def named(self, name: str) -> list[dict[str, Any]]:
        return [detail for event, detail in self.events if event == name]

    def record(self, packets: tuple[Made, ...]) -> None:
        """All of it, and end the output."""
        self.writer.start()
        for header, payload in packets:
            self.writer.feed(header, memoryview(payload))
        assert self.writer.stop(10)
        self.writer.forget_position()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "media").mkdir()
    return tmp_path / "media"


def media() -> tuple[Made, ...]:
    return clip(_SECONDS, key_every=_KEY_EVERY, tracks=("video", "aac"))


def sound_packets() -> int:
    """Those that are not before the first picture."""
    first_ns = min(header.pts_ns for header, _ in media() if header.track == "video")
    return sum(header.track == "aac" and header.pts_ns >= first_ns for header, _ in media())


def check_index(file: Path) -> np.ndarray[Any, Any]:
    """Every picture that a decoder finds, at its time and place, and no other."""
    header, records = read_index(index_path(file))
    with av.open(file) as container:
        stream = container.streams.video[0]
        assert stream.time_base is not None
        packets = [packet for packet in container.demux(stream) if packet.size]
        # Nanoseconds of the container's own clock, rounded as times in the index are.
        pts_ns = [round(packet.pts * stream.time_base * NANOSECONDS) for packet in packets if packet.pts is not None]
        lead_ns = pts_ns[0] if header.format == "ts" else 0  # there a clock runs ahead
        assert records["pts_ns"].tolist() == pytest.approx([time_ns - lead_ns for time_ns in pts_ns], abs=1)
        assert ((records["flags"] & KEY) != 0).tolist() == [packet.is_keyframe for packet in packets]
    with av.open(file) as container:
        assert sum(1 for _ in container.decode(video=0)) == len(records)
    assert header.start_ns == records["captured_ns"][0]
    if header.format == "mp4":
        with file.open("rb") as opened:
            found = [fragment.offset for fragment in fragments(opened.fileno()) for _ in fragment.samples]
        assert records["offset"].tolist() == found
    else:
        assert (np.diff(records["offset"].astype(np.int64)) >= 0).all()
        assert records["offset"][-1] < file.stat().st_size
    return records


@pytest.mark.parametrize(
    ("suffix", "limit"),
    [
        (".mp4", {"segment": "2s"}),
        (".mp4", {"segment_bytes": "100k"}),
        (".ts", {"segment": "2s"}),
        (".mkv", {"segment": "2s"}),
    ],
)
def test_every_picture_is_in_one_segment(root: Path, suffix: str, limit: dict[str, str]) -> None:
    rig = Rig(root, to=f"file://{{stream}}/{{start:%H%M%S}}{suffix}", **limit)
    rig.record(media())
    files = sorted((root / "cam0").glob(f"*{suffix}"))
    assert len(files) in (5, *range(2, 30)) if "segment_bytes" in limit else len(files) == 5
    indexed = [check_index(file) for file in files]
    sequences = np.concatenate([records["sequence"] for records in indexed])
    assert sequences.tolist() == list(range(1, round(_SECONDS * FPS) + 1)), "none lost, none twice, all in order"
    sound = 0
    for number, file in enumerate(files):
        tracks = probe(file)
        assert abs(min(tracks["video"].pts) - min(tracks["audio"].pts)) < 0.040, "sound and pictures start together"
        ends = [max(track.pts) for track in (tracks["video"], tracks["audio"])]
        if number < len(files) - 1:
            assert abs(ends[0] - ends[1]) < 1 / FPS + _SOUND_PACKET_SECONDS, "and end together"
        if suffix != ".ts":  # there the clock runs ahead
            assert min(tracks["video"].pts) < 0.040
        if limit.get("segment") and number < len(files) - 1:
            assert len(tracks["video"].pts) == 2 * FPS
        sound += len(tracks["audio"].pts)
    assert sound == sound_packets(), "no sound is lost at a cut"
    told = rig.named("segment-finished")
    assert [detail["file_name"] for detail in told] == [str(file) for file in files]
    assert [detail["pictures"] for detail in told] == [len(records) for records in indexed]
    assert sum(detail["duration_s"] for detail in told) == pytest.approx(_SECONDS, abs=0.01)
    assert [name for name, _ in rig.events if name != "segment-finished"] == ["recording-started", "recording-stopped"]


def test_a_segment_that_is_due_asks_for_a_key_picture(root: Path) -> None:
    rig = Rig(root, to="file://{stream}/{start:%H%M%S}.mp4", segment="1s")
    rig.record(clip(4.0, key_every=3 * FPS, tracks=("video", "aac")))
    assert rig.keys_asked >= 2  # the first when it began
    assert len(list((root / "cam0").glob("*.mp4"))) == 2


def test_sound_that_is_late_or_early_stays_with_its_pictures(root: Path) -> None:
    """An encoder gives its pictures 0.2 s late, another one its sound."""
    packets = media()
    for number, late in enumerate(("video", "aac")):
        rig = Rig(root, to=f"file://{number}/{{start:%H%M%S}}.mp4", segment="2s")
        rig.record(
            tuple(sorted(packets, key=lambda one: one.header.dts_ns + (one.header.track == late) * NANOSECONDS // 5))
        )
        files = sorted((root / str(number)).glob("*.mp4"))
        assert len(files) == 5
        tracks = [probe(file) for file in files]
        assert sum(len(track["audio"].pts) for track in tracks) == sound_packets(), late
        for track in tracks[:-1]:
            assert abs(max(track["video"].pts) - max(track["audio"].pts)) < 0.060, late


def test_an_index_is_made_to_agree_with_its_file(root: Path) -> None:
    rig = Rig(root, to="file://a.mp4")
    rig.record(media())
    file = root / "a.mp4"
    whole = read_index(index_path(file)).records
    for kept in (100, 0):
        cut_index(index_path(file), kept)  # killed between the file and its index
        assert repair_index(file) is not None
        completed = check_index(file)
        for name in ("sequence", "epoch", "run", "index", "captured_ns"):
            assert np.abs(completed[name].astype(np.int64) - whole[name].astype(np.int64)).max() < 20_000, name
        assert completed["index"].tolist() == whole["index"].tolist()
        assert ((completed["flags"] & ESTIMATED) != 0).tolist() == [number >= kept for number in range(len(whole))]
    with index_path(file).open("ab") as torn:
        torn.write(b"x" * (RECORD.itemsize - 1))
    os.truncate(file, int(whole["offset"][200]))  # a power cut took the file's end
    assert repair_index(file) is not None
    assert len(check_index(file)) < 200
    before = len(read_index(index_path(file)).records)
    assert cut_before(file, 1, 91) is None, "no key picture"
    assert cut_before(file, 2, 90) is None, "another run"
    assert cut_before(file, 1, 0) == 0
    assert cut_before(file, 1, 90) == 90 < before
    assert len(check_index(file)) == 90


@pytest.mark.parametrize(
    ("field", "value"),
    [("segment", "soon"), ("segment_bytes", "0"), ("keep_for", "-1s"), ("keep_bytes", "1X"), ("keep_free", "0")],
)
def test_limits_that_are_none_are_refused_at_once(root: Path, field: str, value: str) -> None:
    with pytest.raises(InvalidValue, match=field):
        Rig(root, to="file://a.mp4", **{field: value})
    with pytest.raises(InvalidValue, match=field):
        check_limits(OutputSpec(stream="cam0", output="a", to="file://a.mp4", **{field: value}), "mp4")
    push = OutputSpec(stream="cam0", output="a", to="rtmp://h/a/k", **{field: "10d" if field == "keep_for" else "10s"})
    with pytest.raises(InvalidValue, match=field):
        check_limits(push, "flv")


# -- what is kept ------------------------------------------------------------------------------------------------


def test_the_oldest_go_and_nothing_else(root: Path) -> None:
    to = "file://{stream}/{start:%d}/{start:%H%M%S}.mp4"
    other = Rig(root, to=to.replace("{start:%H", "other-{start:%H"), segment="2s")
    other.spec = replace(other.spec, output="other")
    other.writer = other._make()
    other.record(media())
    rig = Rig(root, to=to, segment="1s")
    rig.record(media())
    mine = [Path(detail["file_name"]) for detail in rig.named("segment-finished")]
    assert len(mine) == 9
    (mine[0].parent / "notes.mp4").write_bytes(b"x")
    sizes = [file.stat().st_size for file in mine]
    deleted: list[tuple[Path, str]] = []
    limit = sum(sizes) - sizes[0] - sizes[2] - sizes[3]
    spec = replace(rig.spec, keep_bytes=str(limit))
    retention = Retention(spec, own_folder(spec, spec.to, (root,)), lambda *what: deleted.append(what))
    retention.scan()  # what an earlier run has left
    retention.begun(mine[1])  # as if it were being written
    retention.apply(now_ns=0)
    gone = [mine[0], mine[2], mine[3]]
    assert deleted == [(file, "keep_bytes") for file in gone]
    assert not any(file.exists() or index_path(file).exists() for file in gone)
    assert len(list(mine[0].parent.glob("*.mp4"))) == 6 + 5 + 1, "another output's, and what is no output's, stay"
    aged = Retention(replace(spec, keep_bytes=None, keep_for="60s"), mine[0].parent, lambda *what: deleted.append(what))
    aged.scan()
    aged.apply(now_ns=mine[-1].stat().st_mtime_ns)
    assert len(deleted) == 3, "of capture clocks that are years behind none is old"
    aged.apply(now_ns=mine[-1].stat().st_mtime_ns + 61 * NANOSECONDS)
    assert len(deleted) == 9
    assert {reason for _, reason in deleted[3:]} == {"keep_for"}


def test_a_file_that_cannot_be_deleted_does_not_stop_it(root: Path) -> None:
    (root / "a.mp4").mkdir()  # unlink fails
    (root / "b.mp4").write_bytes(b"x")
    spec = OutputSpec(stream="cam0", output="archive", to="file://a.mp4", keep_bytes="1")
    retention = Retention(spec, root, lambda *_: None)
    retention.add(root / "a.mp4", KeptFile(1, 1, 5))
    retention.add(root / "b.mp4", KeptFile(2, 2, 5))
    retention.apply(now_ns=0)
    assert not (root / "b.mp4").exists()


def test_after_the_clock_was_set_back_what_came_before_goes_first(root: Path) -> None:
    spec = OutputSpec(stream="cam0", output="archive", to="file://a.mp4", keep_bytes="12", keep_for="1h")
    deleted: list[str] = []
    retention = Retention(spec, root, lambda file, reason: deleted.append(f"{file.name} {reason}"))
    now_ns, year_ns = 50 * 365 * 86_400 * NANOSECONDS, 365 * 86_400 * NANOSECONDS
    for name, end_ns in {
        "new": now_ns,
        "late": now_ns + 2 * year_ns,
        "early": now_ns + year_ns,
        "old": year_ns,
    }.items():
        retention.add(root / f"{name}.mp4", KeptFile(end_ns - 1, end_ns, 5))
    retention.apply(now_ns)
    assert deleted == ["early.mp4 keep_bytes", "late.mp4 keep_bytes", "old.mp4 keep_for"]


def test_an_index_that_a_kill_left_alone_goes(root: Path) -> None:
    rig = Rig(root, to="file://{start:%d}/a.mp4", keep_bytes="1G")
    rig.record(media())
    [file] = root.glob("*/a.mp4")
    retention = Retention(rig.spec, root, lambda *_: None)
    retention.scan()
    assert index_path(file).exists()
    file.unlink()
    other = Retention(replace(rig.spec, output="other"), root, lambda *_: None)
    other.scan()
    assert index_path(file).exists(), "another output's is not touched"
    retention.scan()
    assert not any(root.iterdir())


def test_a_running_output_keeps_within_its_limit(root: Path) -> None:
    rig = Rig(root, to="file://{stream}/{start:%H%M%S}.mp4", segment="1s", keep_bytes="150k")
    rig.writer.start()
    for header, payload in media():
        rig.writer.feed(header, memoryview(payload))
    rig.wait(lambda: len(rig.named("segment-finished")) >= 7)
    rig.wait(lambda: sum(file.stat().st_size for file in (root / "cam0").glob("*.mp4")) <= 150_000)
    assert rig.writer.stop(5)
    told = [detail["file_name"] for detail in rig.named("recording-deleted")]
    assert told == sorted(told)
    assert rig.writer.progress.deleted == {"keep_bytes": len(told)}
    assert len(told) >= 1
    left = sorted((root / "cam0").glob("*.mp4"))
    assert set(rig.writer.progress.recorded) >= {str(file) for file in left}


# -- a full disk -------------------------------------------------------------------------------------------------


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a tmpfs needs root")
def test_a_full_disk_stops_it_cleanly_until_there_is_room(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(disk)], check=True)
    try:
        (disk / "ballast").write_bytes(bytes(900_000))
        rig = Rig(disk, to="file://{stream}/{start:%H%M%S}.mp4", segment="1s", min_free_bytes=800_000)
        packets, stop = clip(20.0, key_every=_KEY_EVERY, tracks=("video", "aac"), noise=True), threading.Event()

        def feed() -> None:
            for header, payload in packets:
                if stop.wait(0.004):
                    return
                rig.writer.feed(header, memoryview(payload))

        rig.writer.start()
        feeder = threading.Thread(target=feed)
        feeder.start()
        rig.wait(lambda: rig.writer.progress.state == "retrying")
        error = rig.writer.progress.error
        assert error is not None
        assert error.code == 507
        assert "bytes needed" in error.message
        assert len(rig.named("disk-full")) == 1
        files = sorted((disk / "cam0").glob("*.mp4"))
        assert files
        for file in files:
            check_index(file)
            probe(file)
        count = len(list(disk.rglob("*")))
        rig.wait(lambda: rig.writer.progress.retries >= 2)
        assert len(list(disk.rglob("*"))) == count, "no attempt litters"
        (disk / "ballast").unlink()
        rig.wait(lambda: rig.writer.progress.state == "running")
        assert len(rig.named("recording-resumed")) == 1
        stop.set()
        feeder.join()
        assert rig.writer.stop(5)
        assert len(rig.named("disk-full")) == 1
        assert read_summary(index_path(Path(rig.writer.progress.file))).pictures
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)
