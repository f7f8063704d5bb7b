"""Samples: their names, what is motion, what is taken away, and what is refused."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from schemas.errors import BadRequest, InvalidValue
from schemas.mesh_file import plan_from_mapping
from schemas.sample_resources import SampleSpec, check_sample
from schemas.subjects import events_like
from services.frame_extractor.live.samples.changes import COLUMNS, ROWS, Changes, brightness
from services.frame_extractor.live.samples.names import SampleNames
from services.frame_extractor.live.samples.retention import take_away

NS = 1_000_000_000


def spec(**fields: Any) -> SampleSpec:
    return SampleSpec(**{"stream": "cam0", "sample": "gate", "to": "file://{sequence}.jpg", "every": "1s", **fields})


# -- names -------------------------------------------------------------------------------------------------------


def test_a_name_follows_from_the_picture_alone() -> None:
    names = SampleNames(spec(to="file://{stream}/{sample}/{start:%Y-%m/%d-%H%M%S}-{epoch}-{sequence}.{autoext}"))
    path = names.path(1_777_888_999 * NS + 5, 7, 42)
    assert path == "file://cam0/gate/2026-05/04-100319-7-42.jpg"
    assert names.pattern().fullmatch(path)
    assert not names.pattern().fullmatch(path.replace("cam0", "cam1"))
    assert not names.pattern().fullmatch(path + ".txt")
    assert names.folder_of("cam0/gate/2026-05/04-100319-7-42.jpg") == "cam0/gate"


@pytest.mark.parametrize(
    "to",
    [
        "file://{sequence.__class__}.jpg",
        "file://{sequence}{index}.jpg",
        "file://{sequence}-{start:%s}.jpg",
        "file://{sequence}-{start:%c}.jpg",
        "file://{sequence}{.jpg",
        "file://../{sequence}.jpg",
        "ftp://host/{sequence}.jpg",
        "file://{sequence}-{epoch:09999d}.jpg",
        "file://{sequence}.gif",
    ],
)
def test_a_name_that_cannot_be_is_refused(to: str) -> None:
    with pytest.raises(InvalidValue, match="to"):
        SampleNames(spec(to=to))


# -- what is asked for -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("every", None),
        ("every", "100ms"),
        ("at_most_every", "0s"),
        ("quiet_for", "soon"),
        ("event", "capture cam0"),
        ("event", "a.b.c.d"),
        ("event", "a.>.b"),
        ("event", "capture"),
        ("to", "file://picture.jpg"),
        ("keep_bytes", "many"),
    ],
)
def test_what_can_never_work_names_the_field(field: str, value: str | None) -> None:
    with pytest.raises(InvalidValue, match=field):
        check_sample(spec(**{field: value}))


def test_a_bucket_keeps_by_rules_of_its_own() -> None:
    with pytest.raises(InvalidValue, match="keep_for"):
        check_sample(spec(to="s3://bucket/{sequence}.jpg", keep_for="1d"))


@pytest.mark.parametrize(
    ("pattern", "subject"),
    [("capture.>", "capture.*.*"), (">", "*.*.*"), ("*.cam0.state", "*.cam0.state"), ("a.b.>", "a.b.*")],
)
def test_events_are_of_a_service_an_id_and_a_name(pattern: str, subject: str) -> None:
    check_sample(spec(every=None, event=pattern))
    assert events_like(pattern) == f"mesh.v1.evt.{subject}"


def test_a_mesh_file_has_samples() -> None:
    sample = {"to": "file://{sequence}.png", "motion": 0.1, "pictures": {"format": "png", "width": 320}}
    plan = plan_from_mapping({"streams": {"cam0": {"source": "test://", "samples": {"gate": sample}}}})
    [start] = plan.samples
    assert (start.stream, start.sample, start.motion, start.pictures.width) == ("cam0", "gate", 0.1, 320)
    with pytest.raises(BadRequest, match=r"streams\.cam0\.samples\.gate\.every"):
        plan_from_mapping(
            {"streams": {"cam0": {"source": "test://", "samples": {"gate": {"to": "file://{sequence}"}}}}}
        )


# -- motion and scenes -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pixel_format", ["yuv420p", "bgr24", "gray", "gray16le"])
def test_brightness_is_that_of_the_cells(pixel_format: Any) -> None:
    height, width = 90, 160
    value = 200 << 8 if pixel_format == "gray16le" else 200
    shape = {"yuv420p": (height * 3 // 2, width), "bgr24": (height, width, 3)}.get(pixel_format, (height, width))
    picture = np.zeros(shape, np.uint16 if pixel_format == "gray16le" else np.uint8)
    picture[: height // 2, : width // 2] = value
    grid = brightness(picture, pixel_format, width, height)
    assert grid.shape == (ROWS, COLUMNS)
    assert np.all(grid[: ROWS // 2, : COLUMNS // 2] == 200)
    assert not grid[ROWS // 2 :].any()
    assert not grid[:, COLUMNS // 2 :].any()


def grid_of(moved: int) -> Any:
    grid = np.zeros((ROWS, COLUMNS), np.float32)
    grid.reshape(-1)[:moved] = 100
    return grid


def test_motion_that_goes_on_is_one_motion_until_it_was_quiet() -> None:
    changes = Changes(motion=0.02, scene=None, levels=12, quiet_ns=2 * NS)
    cells = ROWS * COLUMNS
    shown = [0, cells // 20, 0, cells // 20, 0, 0, 0, 0, cells // 20]  # one picture a second
    said = [changes.look(grid_of(moved), number * NS) for number, moved in enumerate(shown)]
    assert said == [None, "motion", None, None, None, None, None, None, "motion"]


def test_noise_is_no_motion_and_a_cut_is_a_scene() -> None:
    changes = Changes(motion=0.02, scene=30, levels=12, quiet_ns=NS)
    noise = np.random.default_rng(1)
    for number in range(20):
        assert changes.look(noise.uniform(100, 111, (ROWS, COLUMNS)).astype(np.float32), number * NS) is None
    assert changes.look(np.full((ROWS, COLUMNS), 20, np.float32), 20 * NS) == "scene"


# -- what is taken away ------------------------------------------------------------------------------------------


def test_the_oldest_go_and_nothing_else(tmp_path: Path) -> None:
    names = SampleNames(spec(to="file://{stream}/{sequence}.jpg"))
    folder = tmp_path / "cam0"
    folder.mkdir()
    for number in range(5):
        file = folder / f"{number}.jpg"
        file.write_bytes(bytes(100))
        os.utime(file, (1000 + number, 1000 + number))
    others = [folder / "notes.txt", folder / "x5.jpg", tmp_path / "6.jpg"]
    for other in others:
        other.write_bytes(bytes(100))
        os.utime(other, (1, 1))
    (folder / "7.jpg").symlink_to(others[0])
    gone = take_away(tmp_path, "cam0", names.pattern(), "file://", 1004.0, 2.5, None)
    assert (gone, sorted(file.name for file in folder.glob("[0-9].jpg"))) == (2, ["2.jpg", "3.jpg", "4.jpg", "7.jpg"])
    os.unlink(folder / "7.jpg")
    assert take_away(tmp_path, "cam0", names.pattern(), "file://", 1004.0, None, 200) == 1
    assert all(other.exists() for other in others)
    assert not (folder / "2.jpg").exists()
