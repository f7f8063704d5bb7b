"""The sampler as a column of Daft: on its native runner and on Ray, written to an object store and to a folder."""

import gc
import os
import re
import subprocess
import sys
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.clips import Clips
from tests.support.object_store import S3Server, s3_server

os.environ["DO_NOT_TRACK"] = "1"  # Daft would tell its makers of every import

pytestmark = pytest.mark.integration

PAGE = Path(__file__).parents[2] / "docs" / "las-api.md"
_made: "list[weakref.ref[Any]]" = []
"""Pixels of rows: here, where classes that are sent to workers find it."""
_RUN_SECONDS = 90.0  # Ray takes fifteen to start, of a busy machine more


@pytest.fixture(scope="module")
def store() -> Iterator[S3Server]:
    with s3_server() as server:
        yield server


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten seconds: 250 pictures, 178x100."""
    return Clips(tmp_path_factory.mktemp("daft")).make("clip.mp4", "-c:v libx264 -preset ultrafast -g 50", seconds=10.0)


def run_documented(clip: Path, folder: Path, **environment: str) -> str:
    """The program that the documentation shows; what it printed."""
    (program,) = (text for text in re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL) if "las_udf" in text)
    script = folder / "sample.py"
    script.write_text(program)
    done = subprocess.run(
        [sys.executable, str(script)],
        env={
            **{name: value for name, value in os.environ.items() if not name.startswith(("FRAMEMESH_", "TOS_"))},
            "FRAMEMESH_DATA_DIR": str(folder / "data"),
            "COLUMNS": "300",
            "VIDEO": str(clip),
            **environment,
        },
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=_RUN_SECONDS,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def tos(store: S3Server, bucket: str) -> dict[str, str]:
    return {
        "TOS_ENDPOINT": store.url,
        "TOS_REGION": "cn-beijing",
        "ACCESS_KEY": "key-of-sampler",
        "SECRET_KEY": "secret-of-sampler",
        "TOS_TEST_DIR": store.bucket(bucket),
    }


def check_store(store: S3Server, bucket: str, printed: str) -> None:
    assert "List[Tensor[UInt8]]" in printed
    assert "[0, 100, 200]" in printed
    assert store.keys(bucket) == ["samples/clip/.video", *(f"samples/clip/frame_{n:04d}.jpg" for n in range(3))]
    assert store.body(bucket, "samples/clip/frame_0001.jpg").startswith(b"\xff\xd8\xff")


def test_the_documented_program_writes_to_an_object_store(clip: Path, store: S3Server, tmp_path: Path) -> None:
    printed = run_documented(clip, tmp_path, **tos(store, "native"))
    check_store(store, "native", printed)


@pytest.mark.long
def test_the_documented_program_runs_on_ray(clip: Path, store: S3Server, tmp_path: Path) -> None:
    printed = run_documented(clip, tmp_path, DAFT_RUNNER="ray", RAY_USAGE_STATS_ENABLED="0", **tos(store, "on-ray"))
    check_store(store, "on-ray", printed)


def test_columns_of_daft(clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import daft
    from daft import DataType, col

    from services.frame_extractor.daft_udf import las_udf
    from services.frame_extractor.sampler import VideoFrameSampler

    for name in ("ACCESS_KEY", "SECRET_KEY", "TOS_ENDPOINT", "TOS_REGION"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("FRAMEMESH_DATA_DIR", str(tmp_path))
    arguments = {"sample_mode": "by_interval_time", "interval_sec": 2.0, "output_tos_dir": "tos://local_bucket/out"}
    plain = VideoFrameSampler(**arguments).sample(str(clip))
    assert [len(part) for part in (plain.frames, plain.base64, plain.tos_paths)] == [5, 5, 5]
    table = daft.from_pydict(
        {
            "row": [0, 1, 2, 3],
            "path": [str(clip), None, str(tmp_path / "none.mp4"), str(clip)],
            "data": [None, clip.read_bytes(), None, b"a path wins"],
            "form": ["mp4", "mp4", None, None],
            "seconds": [None, None, None, 3.0],
        }
    )

    def rows(options: dict[str, Any], *columns: Any, **named: Any) -> list[dict[str, Any]]:
        sampler = las_udf(VideoFrameSampler, arguments, **options)
        taken = table.with_column("results", sampler(*columns, **named))
        field = taken.schema()["results"]
        assert field.dtype == VideoFrameSampler.return_dtype()
        assert field.dtype.fields["frames"] == DataType.list(DataType.tensor(DataType.uint8()))
        return list(taken.sort("row").select("results").to_pydict()["results"])

    everything = (col("path"), col("data"), col("form"), col("seconds"))
    for options in ({}, {"num_cpus": 1, "batch_size": 3}, {"memory_bytes": 1 << 28, "num_gpus": 0}):
        found = rows(options, *everything)
        assert [len(row["timestamps"]) for row in found] == [5, 5, 0, 2]
        assert not any(found[2].values())
        for row in found[:2]:
            assert row["base64"] == plain.base64
            assert row["frame_indices"] == [0, 50, 100, 150, 200]
            assert all(np.array_equal(*pair) for pair in zip(row["frames"], plain.frames, strict=True))
            assert all((tmp_path / "tos" / path[len("tos://") :]).is_file() for path in row["tos_paths"])
        assert found[0]["tos_paths"] == plain.tos_paths != found[1]["tos_paths"]
    assert [len(row["frames"]) for row in rows({}, video_binaries=col("data"))] == [0, 5, 0, 0]


def test_who_keeps_the_timestamps_keeps_no_frames() -> None:
    import daft
    from daft import col

    from services.frame_extractor.daft_udf import las_udf
    from services.frame_extractor.sampled import SampledRow
    from services.frame_extractor.sampler import VideoFrameSampler

    class Made(VideoFrameSampler):
        def sample(self, path: str | None, binary: bytes | None = None, duration_s: float | None = None) -> SampledRow:
            pixels = np.full(2 * 3 * 3, int(path or 0), np.uint8)
            _made.append(weakref.ref(pixels))
            return SampledRow(pixels=pixels, shapes=[(2, 3, 3)], timestamps=[1.5])

    taken = daft.from_pydict({"path": ["1", "2"]}).select(las_udf(Made, {"count_k": 1})(col("path")).alias("results"))
    frames = taken.select(col("results")["frames"].alias("kept")).collect()
    assert len([reference for reference in _made if reference() is not None]) == 2
    assert sorted(int(row[0].max()) for row in frames.to_pydict()["kept"]) == [1, 2]
    _made.clear()
    timestamps = taken.select(col("results")["timestamps"].alias("kept")).collect()
    gc.collect()
    assert len(_made) == 2
    assert not any(reference() is not None for reference in _made)
    assert timestamps.to_pydict()["kept"] == [[1.5], [1.5]]


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"construct_args": {"sample_mode": "by_magic"}}, "sample_mode 'by_magic'"),
        ({"batch_size": 0}, "batch_size 0"),
        ({"concurrency": 0}, "concurrency 0"),
        ({"num_cpus": -1}, "num_cpus must be non-negative"),
    ],
)
def test_what_is_wrong_is_told_before_any_work(given: dict[str, Any], told: str) -> None:
    from services.frame_extractor.daft_udf import las_udf
    from services.frame_extractor.sampler import VideoFrameSampler

    with pytest.raises(ValueError, match=told):
        las_udf(VideoFrameSampler, **{"construct_args": {"count_k": 1}, **given})


@pytest.mark.long
def test_instances_in_processes_of_their_own(clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import daft
    from daft import col

    from services.frame_extractor.daft_udf import las_udf
    from services.frame_extractor.sampler import VideoFrameSampler

    sampler = las_udf(VideoFrameSampler, {"count_k": 3}, concurrency=2)
    taken = daft.from_pydict({"path": [str(clip)] * 4}).select(sampler(col("path")).alias("results"))
    assert [[frame.shape for frame in row["frames"]] for row in taken.to_pydict()["results"]] == [
        [(100, 178, 3)] * 3
    ] * 4
