"""Rows of pictures: which ones, in what form, and what becomes of videos that have none."""

import base64
import logging
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from schemas.errors import InvalidValue
from schemas.sampling import PictureOptions, Sampling
from services.frame_extractor.engine import Limits, OpenVideo, VideoError
from services.frame_extractor.sampled import Destination, SampledRow, Wanted, rows_to_arrow, sample_video
from services.frame_extractor.sampled.pile import Pile
from services.frame_extractor.sampler import VideoFrameSampler
from tests.support.clips import Clips

MAGIC = {"jpg": b"\xff\xd8\xff", "png": b"\x89PNG", "webp": b"RIFF"}
NOTHING: dict[str, list[Any]] = {name: [] for name in ("frames", "base64", "timestamps", "frame_indices", "tos_paths")}
EVERY_TENTH = {"sample_mode": "by_interval_frames", "interval_frames": 10}


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seconds, 50 pictures, 178x100."""
    return Clips(tmp_path_factory.mktemp("sampler"))["groups.mp4"]


@pytest.fixture(autouse=True)
def data_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("ACCESS_KEY", "SECRET_KEY", "TOS_ENDPOINT", "TOS_REGION"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("FRAMEMESH_DATA_DIR", str(tmp_path / "data"))
    return tmp_path / "data"


def light(**arguments: Any) -> VideoFrameSampler:
    return VideoFrameSampler(**{"output_frames": False, "output_base64": False, **arguments})


@pytest.mark.parametrize(
    ("arguments", "indices"),
    [
        ({"count_k": 1, "start_time_sec": 1.0}, [25]),
        ({"count_k": 3}, [0, 25, 49]),
        ({"count_k": 3, "start_time_sec": 0.4, "end_time_sec": 1.2}, [10, 20, 30]),
        ({"count_k": 2, "start_time_sec": -5.0, "end_time_sec": 1.0}, [0, 25]),
        ({"sample_mode": "by_interval_time", "interval_sec": 0.5}, [0, 12, 25, 37]),
        ({"sample_mode": "by_interval_time", "interval_sec": 0.5, "end_time_sec": 1.0}, [0, 12, 25]),
        ({"sample_mode": "by_interval_time", "interval_sec": 1, "count_k": -7}, [0, 25]),
        ({"sample_mode": "by_fps", "target_fps": 4.0, "start_time_sec": 1.0}, [25, 31, 37, 43]),
        ({"sample_mode": "by_fps", "target_fps": np.float32(2), "max_frames": np.int64(3)}, [0, 12, 25]),
        ({"sample_mode": "by_timestamps", "timestamps_sec": [1.0, 0.2, -3, 99.0, 0.2]}, [5, 5, 25]),
        ({"sample_mode": "by_timestamps", "timestamps_sec": np.array([1.0, 0.2]), "start_time_sec": 0.5}, [25]),
        ({**EVERY_TENTH, "start_time_sec": 0.2, "end_time_sec": 1.3}, [5, 15, 25]),
        ({**EVERY_TENTH, "end_time_sec": 90.0}, [0, 10, 20, 30, 40]),
    ],
)
def test_modes_take_the_pictures_that_are_shown(clip: Path, arguments: dict[str, Any], indices: list[int]) -> None:
    row = light(**arguments).sample(str(clip))
    assert row.frame_indices == indices
    assert row.timestamps == pytest.approx([index / 25 for index in indices])


def test_frames_are_those_of_opencv_and_lie_in_one_block(clip: Path) -> None:
    row = VideoFrameSampler(**EVERY_TENTH, img_type=".png").sample(str(clip))
    reader = cv2.VideoCapture(str(clip))
    expected = [image for index in range(50) if (image := reader.read()[1]) is not None and index % 10 == 0]
    assert len(row.frames) == len(expected) == 5
    for frame, file, wanted in zip(row.frames, row.base64, expected, strict=True):
        assert frame.shape == (100, 178, 3)
        assert frame.dtype == np.uint8
        assert np.shares_memory(frame, row.pixels)
        # By other filters for colour, which the pattern is full of; red and blue exchanged differ by 60.
        assert np.abs(frame.astype(int) - wanted).mean() < 6
        decoded = cv2.imdecode(np.frombuffer(base64.b64decode(file, validate=True), np.uint8), cv2.IMREAD_COLOR)
        assert np.array_equal(decoded, frame)


@pytest.mark.parametrize(
    ("img_type", "file_format"),
    [(".jpg", "jpg"), (".png", "png"), (".webp", "webp"), (".bmp", "jpg"), ("png", "jpg"), ("", "jpg")],
)
def test_pictures_are_files_of_their_type_in_a_folder_of_their_video(
    clip: Path, data_folder: Path, img_type: str, file_format: str
) -> None:
    row = light(**EVERY_TENTH, img_type=img_type, output_tos_dir="tos://tos_bucket/a/b/").sample(str(clip))
    assert list(row.tos_paths) == [f"tos://tos_bucket/a/b/groups/frame_{n:04d}.{file_format}" for n in range(5)]
    for path in row.tos_paths:
        written = data_folder / "tos" / path.removeprefix("tos://")
        assert written.read_bytes().startswith(MAGIC[file_format])
    assert (row.frames, row.base64) == ([], [])


def test_columns_in_any_combination(clip: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    data, path, missing = clip.read_bytes(), str(clip), str(tmp_path / "none.mp4")
    sampler = light(sample_mode="by_interval_time", interval_sec=1, output_tos_dir=str(tmp_path / "out"))

    def taken(*columns: Any, **named: Any) -> list[int]:
        return [len(row["timestamps"]) for row in sampler(*columns, **named).to_pylist()]

    assert taken([path, None, ""], [None, data, data]) == [2, 2, 2]
    assert taken([path], [b"no video"]) == [2]
    assert taken([missing], [data]) == [0]
    assert taken(video_binaries=[data, None, b""], video_formats=["mp4", "mov", None]) == [2, 0, 0]
    assert taken([path] * 4, video_durations=[0.7, 0.0, None, -1]) == [1, 2, 2, 2]
    assert taken([path], None, None, [float("nan")]) == [2]
    assert taken([]) == []
    assert len([record for record in caplog.records if "no pictures of" in record.message]) == 3
    with pytest.raises(ValueError, match="one length"):
        sampler([path], [data, data])
    with pytest.raises(ValueError, match="video_paths or video_binaries"):
        sampler()
    # A binary has no name; its folder is called by what is in it.
    (first, second) = (sampler.sample(None, data).tos_paths[0] for _ in range(2))
    assert first == second
    assert Path(first.removeprefix("file://")).is_file()


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        (None, "give the path"),
        ("", "give the path"),
        ("none.mp4", "no such file"),
        (".", ""),
        (__file__, "not media"),
        ("/dev/zero", ""),
        ("a\0b", "control"),
        ("a.mp4\nERROR all is lost", "control"),
        ("bad\udcff.mp4", ""),
        (7, ""),
        ("ftp://user:secret-word@host/a.mp4", "http"),
        ("http://127.0.0.1:1/a.mp4?token=secret-word", "this machine"),
        ("http://[bad/secret.mp4", ""),
        ("s3://bucket/a.mp4", "credentials"),
    ],
)
def test_a_video_without_pictures_is_an_empty_row_and_one_line(
    path: Any, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    sampler = VideoFrameSampler(count_k=2, output_tos_dir="tos://bucket/x")
    assert sampler([path]).to_pylist() == [NOTHING]
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert reason in record.message
    assert "secret-word" not in record.message
    assert "\n" not in record.message


def test_a_video_that_has_none_or_not_all_of_its_pictures_is_told_of(
    clip: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert light(**EVERY_TENTH, start_time_sec=9.0)([str(clip)]).to_pylist() == [NOTHING]
    assert "no moment" in caplog.text
    caplog.clear()
    cut = tmp_path / "cut.mp4"
    Clips(clip.parent).derived("whole.ts", clip.name)
    data = (clip.parent / "whole.ts").read_bytes()
    # The middle of it is gone: the pictures of a group cannot be decoded, those of the others can.
    cut.write_bytes(data[: len(data) // 3] + bytes(len(data) // 3) + data[len(data) // 3 * 2 :])
    row = light(sample_mode="by_interval_frames", interval_frames=1).sample(str(cut))
    assert 5 < len(row.timestamps) < 50
    (record,) = caplog.records
    assert record.message.startswith("not all pictures of")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({}, "count_k None"),
        ({"count_k": 0}, "count_k 0"),
        ({"count_k": "many"}, "count_k 'many'"),
        ({"sample_mode": "by_interval_time"}, "interval_sec None"),
        ({"sample_mode": "by_interval_time", "interval_sec": 0.0}, "interval_sec 0.0"),
        ({"sample_mode": "by_interval_frames", "interval_frames": 2.5}, "interval_frames 2.5"),
        ({"sample_mode": "by_fps", "target_fps": -1.0}, "target_fps -1.0"),
        ({"sample_mode": "by_timestamps"}, "timestamps_sec None"),
        ({"sample_mode": "by_timestamps", "timestamps_sec": ["soon"]}, "timestamps_sec 'soon'"),
        ({"sample_mode": "by_timestamps", "timestamps_sec": 5}, "timestamps_sec 5"),
        ({"sample_mode": "by_timestamps", "timestamps_sec": [1.0], "start_time_sec": 2.0}, "timestamps_sec [1.0]"),
        ({"count_k": 2, "start_time_sec": float("nan")}, "start_time_sec nan"),
        ({"count_k": 2, "start_time_sec": 5.0, "end_time_sec": 4.0}, "end_time_sec 4.0"),
        ({"count_k": 2, "max_frames": 0}, "max_frames 0"),
        ({"count_k": 2, "output_tos_dir": "folder/of/mine"}, "output_tos_dir 'folder/of/mine'"),
        ({"count_k": 2, "output_tos_dir": "tos://B/x"}, "output_tos_dir"),
        ({"count_k": 2, "output_tos_dir": 5}, "output_tos_dir 5"),
    ],
)
def test_bad_arguments_are_told_once_and_every_row_is_empty(
    clip: Path, arguments: dict[str, Any], told: str, caplog: pytest.LogCaptureFixture
) -> None:
    sampler = VideoFrameSampler(**arguments)
    assert sampler([str(clip)] * 2).to_pylist() == [NOTHING] * 2
    (record,) = caplog.records
    assert told in record.message


def test_only_an_unknown_mode_is_refused() -> None:
    with pytest.raises(ValueError, match=r"by_magic.*by_count_uniform, by_interval_time"):
        VideoFrameSampler(sample_mode="by_magic", count_k=2)


def test_a_place_that_refuses_empties_the_row(
    clip: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("TOS_ENDPOINT", "http://127.0.0.1:1")
    sampler = VideoFrameSampler(count_k=1, output_tos_dir="tos://bucket/x")
    assert sampler([str(clip)]).to_pylist() == [NOTHING]
    assert "ACCESS_KEY" in caplog.text


def test_many_threads_may_share_a_sampler(clip: Path) -> None:
    sampler = VideoFrameSampler(sample_mode="by_fps", target_fps=5.0, output_base64=False)
    with ThreadPoolExecutor(4) as pool:
        rows = list(pool.map(lambda _: sampler.sample(str(clip)), range(8)))
    assert all(np.array_equal(row.pixels, rows[0].pixels) for row in rows)
    assert len(rows[0].shapes) == 10


@pytest.mark.parametrize(("frames", "field"), [(True, "output_frames"), (False, "output_base64")])
def test_one_video_takes_no_more_memory_than_it_may(clip: Path, frames: bool, field: str) -> None:
    wanted = Wanted(
        sampling=Sampling(mode="frames", interval_frames=1),
        pictures=PictureOptions(),
        frames=frames,
        base64=True,
        threads=1,
        most_bytes=100_000,
        limits=Limits(),
    )
    with pytest.raises(VideoError, match=f"max_frames.*{field}=False.*JOB_MEMORY_BYTES"):
        sample_video(OpenVideo.of_path(clip), wanted)


def test_pictures_of_other_sizes_and_those_that_are_missing() -> None:
    pile = Pile(1000)
    pile.expected = 4
    pile.place(2, (2, 3, 3))[:] = 2
    pile.place(0, (2, 3, 3))[:] = 1
    pile.place(3, (1, 2, 3))[:] = 3
    pixels, shapes = pile.pixels([0, 2, 3])
    row = SampledRow(pixels=pixels, shapes=shapes, timestamps=[0.0, 1.0, 2.0], frame_indices=[0, None, 9])
    assert [(frame.shape, set(frame.flat)) for frame in row.frames] == [
        ((2, 3, 3), {1}),
        ((2, 3, 3), {2}),
        ((1, 2, 3), {3}),
    ]
    (empty, made) = rows_to_arrow([SampledRow(), row]).to_pylist()
    assert empty == NOTHING
    assert [tensor["shape"] for tensor in made["frames"]] == [list(shape) for shape in shapes]
    assert [level for tensor in made["frames"] for level in tensor["data"]] == pixels.tolist()
    assert made["frame_indices"] == [0, None, 9]


def test_the_pixels_of_a_row_are_not_copied(clip: Path) -> None:
    row = VideoFrameSampler(count_k=4, output_base64=False).sample(str(clip))
    data = rows_to_arrow([row]).field("frames").values.field("data").values
    assert data.buffers()[1].address == row.pixels.ctypes.data


def test_every_video_has_a_folder_that_its_name_cannot_leave() -> None:
    def folder(path: str | None, binary: bytes | None = None) -> str:
        template = destination.template(path, binary, "png", marks.setdefault)
        assert template.startswith("tos://bucket/out/")
        assert template.endswith("/frame_{index:04d}.png")
        return template.removeprefix("tos://bucket/out/").removesuffix("/frame_{index:04d}.png")

    marks: dict[str, bytes] = {}
    destination = Destination("tos://bucket/out")
    assert folder("/a/clip.take2.mp4") == "clip"
    assert list(marks) == ["tos://bucket/out/clip/.video"]
    assert folder("/a/clip.take2.mp4") == "clip"
    assert folder("/b/clip.mp4").startswith("clip-")
    assert folder("https://host/film.mp4?signature=secret&x=/y.z") == "film"
    assert folder("tos://bucket/videos/影片.mp4") == "影片"
    assert folder("/a/{index}.mp4") == "_index_"
    assert folder("/a/new\nline.mp4") == "new_line"
    for strange in ("/a/..", "/a/.hidden.mp4", "/", "/a/" + "x" * 300, "https://host"):
        assert folder(strange).startswith("video-") or folder(strange) == "host"
    assert folder(None, b"one") != folder(None, b"two")
    with pytest.raises(InvalidValue, match="braces"):
        Destination("tos://bucket/{index}")


def test_workers_that_know_nothing_of_each_other_share_no_folder(
    clip: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    videos = []
    for name in ("a", "b"):
        videos.append(tmp_path / name / "clip.mp4")
        videos[-1].parent.mkdir()
        videos[-1].write_bytes(clip.read_bytes())
    out = tmp_path / "out"
    workers = [light(count_k=1, output_tos_dir=str(out)) for _ in range(8)]
    with ThreadPoolExecutor(8) as pool:
        rows = list(pool.map(lambda number: workers[number].sample(str(videos[number % 2])), range(8)))
    folders = [row.tos_paths[0].split("/")[-2] for row in rows]
    assert len(set(folders[::2])) == len(set(folders[1::2])) == 1
    assert sorted(set(folders))[0] == "clip"
    assert len(list(out.rglob("*.jpg"))) == len(set(folders)) == 2
    # Where nothing can be marked, pictures are written as ever.
    (tmp_path / "other" / "clip" / ".video").mkdir(parents=True)
    row = light(count_k=1, output_tos_dir=str(tmp_path / "other")).sample(str(videos[0]))
    assert row.tos_paths[0].endswith("/other/clip/frame_0000.jpg")
    assert "may share a folder" in caplog.text


def test_a_folder_of_this_machine_may_have_any_name(clip: Path, tmp_path: Path) -> None:
    video = tmp_path / "100% {of it}.mp4"
    video.write_bytes(clip.read_bytes())
    row = light(count_k=1, output_tos_dir=str(tmp_path / "100% out")).sample(str(video))
    (written,) = (tmp_path / "100% out").rglob("*.jpg")
    assert written == tmp_path / "100% out" / "100% _of it_" / "frame_0000.jpg"
    assert len(row.tos_paths) == 1
