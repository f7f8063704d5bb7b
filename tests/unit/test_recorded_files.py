"""A cut-off recording is made whole again, wherever it was cut; its files are remembered."""

import threading
from pathlib import Path

import pytest

from schemas.errors import ErrorInfo
from schemas.resources import OutputSpec
from services.publisher.file_figures import cut_broken_end, read_figures
from services.publisher.outputs.base import OutputSettings
from services.publisher.recorded_files import RecordedFiles, forget_all_but
from services.publisher.writer import OutputWriter
from tests.support.packets import clip
from tests.support.peers import probe

_FPS = 30
_FRAME_NS = 1_000_000_000 // _FPS


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Three seconds in four fragments."""
    root = tmp_path_factory.mktemp("recorded")
    spec = OutputSpec(stream="cam0", output="archive", to="file://a.mp4")
    writer = OutputWriter(spec, spec.to, OutputSettings(file_roots=(root,)), lambda _: None, expected_tracks=("video",))
    writer.start()
    for header, payload in clip(3.0, tracks=("video",)):
        writer.feed(header, memoryview(payload))
    assert writer.finish(5)
    progress = writer.progress
    assert (progress.state, progress.recorded) == ("finished", (str(root / "a.mp4"),))
    assert progress.duration_ns == pytest.approx(3_000_000_000, abs=_FRAME_NS)
    assert progress.video is not None
    assert (progress.video.width, progress.video.height, progress.video.fps) == (320, 240, _FPS)
    assert progress.started_ns == clip(3.0, tracks=("video",))[0].header.captured_ns
    return (root / "a.mp4").read_bytes()


def _boxes(data: bytes) -> list[tuple[int, bytes]]:
    """Where each box ends, and its kind."""
    found, position = [], 0
    while position < len(data):
        kind = data[position + 4 : position + 8]
        position += int.from_bytes(data[position : position + 4], "big")
        found.append((position, kind))
    assert position == len(data)
    return found


def test_a_file_is_cut_to_its_last_whole_fragment(recorded: bytes, tmp_path: Path) -> None:
    file = tmp_path / "cut.mp4"
    ends = [end for end, kind in _boxes(recorded) if kind != b"moof"]
    assert len(ends) >= 5
    boundaries = {end for end, _ in _boxes(recorded)}
    sizes = {0, 1, 7, 8, *boundaries, *(end + shift for end in boundaries for shift in (-1, 1, 8, 9, 500))}
    for size in sorted(size for size in sizes if size <= len(recorded)):
        file.write_bytes(recorded[:size])
        cut_broken_end(file)
        assert file.stat().st_size == max((end for end in ends if end <= size), default=size), size


def test_what_is_told_of_a_cut_file_is_what_ffprobe_finds(recorded: bytes, tmp_path: Path) -> None:
    file = tmp_path / "cut.mp4"
    for size in range(len(recorded) // 2, len(recorded), len(recorded) // 7):
        file.write_bytes(recorded[:size])
        figures = read_figures(file)
        video = probe(file)["video"]
        assert figures.size_bytes == file.stat().st_size
        assert figures.duration_ns == pytest.approx((video.seconds + 1 / _FPS) * 1e9, abs=_FRAME_NS)
        assert video.decoded == len(video.pts)


@pytest.mark.parametrize("data", [b"", b"\0\0\0\1", b"\0\0\0\0mdat", b"\xff" * 64, b"\0\0\0\1mdat" + b"\xff" * 8])
def test_what_is_no_recording_is_no_trouble(data: bytes, tmp_path: Path) -> None:
    file = tmp_path / "x.mp4"
    file.write_bytes(data)
    assert read_figures(file).duration_ns == 0
    assert read_figures(tmp_path / "gone.mp4").video is None


def test_files_are_remembered_and_summed(recorded: bytes, tmp_path: Path) -> None:
    journal = tmp_path / "state" / "x.json"
    first = RecordedFiles(journal, "file://x.mp4")
    for number in range(3):
        (tmp_path / f"{number}.mp4").write_bytes(recorded)
        first.begin(str(tmp_path / f"{number}.mp4"), 100 + number)
        first.reached(5)
        if number < 2:
            first.settle()
    again = RecordedFiles(journal, "file://x.mp4")  # after a kill
    again.load()
    assert again.names == tuple(str(tmp_path / f"{number}.mp4") for number in range(3))
    assert again.duration_ns == pytest.approx(9_000_000_000, abs=3 * _FRAME_NS)
    assert again.size_bytes == 3 * len(recorded)
    assert again.started_ns == 100
    again.end(ErrorInfo(code=503, message="full"))
    last = RecordedFiles(journal, "file://x.mp4")
    last.load()
    assert last.error is not None
    other = RecordedFiles(journal, "file://y.mp4")
    other.load()
    assert (other.names, other.error) == ((), None)
    last.forget()
    assert not journal.exists()


@pytest.mark.parametrize("data", [b"{", b'{"to": "\xff"}', b"\xff\xfe", b"[" * 100_000, b'{"to": 5}'])
def test_what_is_kept_and_cannot_be_read_is_as_if_it_were_not_there(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "cam0--archive.files.json").write_bytes(data)
    (tmp_path / "cam0--archive.json").write_bytes(data)
    spec = OutputSpec(stream="cam0", output="archive", to="file://a.mp4")
    settings = OutputSettings(file_roots=(tmp_path,), state_dir=tmp_path)
    writer = OutputWriter(spec, spec.to, settings, lambda _: None)
    assert writer.resume_position() is None
    assert not writer.begun
    assert not writer.ended


def test_files_without_a_picture_go_and_are_not_told_of(recorded: bytes, tmp_path: Path) -> None:
    first_fragment = next(position for position, (_, kind) in enumerate(_boxes(recorded)) if kind == b"moof")
    header = recorded[: _boxes(recorded)[first_fragment - 1][0]]
    for number, data in enumerate((b"", header, header + recorded[len(header) :][:100], recorded, b"not of ours")):
        (tmp_path / f"{number}.mp4").write_bytes(data)
    files = RecordedFiles(tmp_path / "x.json", "file://x.mp4")
    for number in range(3):
        files.begin(str(tmp_path / f"{number}.mp4"), 100 + number)
        files.settle()
        assert (files.names, files.started_ns) == ((), 0)
        assert not (tmp_path / f"{number}.mp4").exists()
    for number in (3, 4):
        files.begin(str(tmp_path / f"{number}.mp4"), 100 + number)
        files.settle()
    assert files.names == (str(tmp_path / "3.mp4"), str(tmp_path / "4.mp4"))
    assert files.started_ns == 103


def test_what_is_kept_of_outputs_that_are_gone_goes(tmp_path: Path) -> None:
    for name in ("cam0--recording.json", "cam0--recording.files.json", "cam1--x.json", "notes.json"):
        (tmp_path / name).write_text("{}")
    forget_all_but(tmp_path, lambda output_id: output_id == "cam1--x")
    assert {path.name for path in tmp_path.iterdir()} == {"cam1--x.json", "notes.json"}
    forget_all_but(tmp_path / "missing", lambda _: False)
    forget_all_but(None, lambda _: False)


def test_what_had_failed_when_a_recording_was_ended_is_told(tmp_path: Path) -> None:
    spec = OutputSpec(stream="cam0", output="recording", to="file://a.mp4")
    settings = OutputSettings(file_roots=(tmp_path / "gone",), track_wait_seconds=0.1)
    retrying = threading.Event()
    writer = OutputWriter(
        spec,
        spec.to,
        settings,
        lambda progress: retrying.set() if progress.state == "retrying" else None,
        expected_tracks=("video",),
    )
    writer.start()
    for header, payload in clip(1.0, tracks=("video",)):
        writer.feed(header, memoryview(payload))
    assert retrying.wait(10)
    assert writer.finish(5)
    assert writer.progress.error is not None
    assert "does not exist" in writer.progress.error.message
    assert (writer.progress.file, writer.progress.recorded) == ("", ())


def test_of_very_many_files_the_sums_stay_true(recorded: bytes, tmp_path: Path) -> None:
    files = RecordedFiles(tmp_path / "x.json", "file://x.mp4")
    (tmp_path / "a.mp4").write_bytes(recorded)
    for number in range(70):
        files.begin(str(tmp_path / "a.mp4"), 100 + number)
        files.settle()
    assert len(files.names) == 64
    assert files.size_bytes == 70 * len(recorded)
    assert files.duration_ns == pytest.approx(70 * 3_000_000_000, abs=70 * _FRAME_NS)
    assert files.started_ns == 100
