"""The file of a backup: written whole, read only when nothing is missing, changed or foreign."""

import gzip
import os
import stat
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.errors import BadRequest, Conflict, NotFound, Unavailable
from schemas.resources import StreamSpec
from schemas.subjects import DESIRED_BUCKET, MIX_TASKS_BUCKET, SECRETS_BUCKET, USAGE_BUCKET
from shared.backup import Backup, Header, Record, read_archive, write_archive

pytestmark = pytest.mark.unit

SPEC = msgspec.json.encode(StreamSpec(stream="cam0", node="edge", source="test://")).decode()
HEADER = Header(version="0.1.0", made_ns=1, schemas={"capture": 1}, secrets=True)
GZIP_END_BYTES = (
    10  # the last block's end, sum and length: all lines are whole without them, and have a sum of their own
)
RECORDS = [
    Record(bucket=DESIRED_BUCKET, key="capture.cam0", value=SPEC, revision=7),
    Record(bucket=SECRETS_BUCKET, key="publisher.cam0--live", value="rtmp://host/app/ké\n", revision=3),
]


def written(path: Path, records: list[Record]) -> Path:
    write_archive(Backup(HEADER, records), path, overwrite=True)
    return path


def test_what_is_written_is_read(tmp_path: Path) -> None:
    path = tmp_path / "mesh.backup"
    size_bytes = write_archive(Backup(HEADER, RECORDS), path)
    assert read_archive(path) == Backup(HEADER, RECORDS)
    assert size_bytes == path.stat().st_size
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert os.listdir(tmp_path) == ["mesh.backup"]


def test_a_file_that_is_there_stays(tmp_path: Path) -> None:
    path = tmp_path / "mesh.backup"
    path.write_text("mine")
    with pytest.raises(Conflict, match="is there already"):
        write_archive(Backup(HEADER, RECORDS), path)
    assert path.read_text() == "mine"
    assert os.listdir(tmp_path) == ["mesh.backup"]
    with pytest.raises(Unavailable, match="No such file"):
        write_archive(Backup(HEADER, RECORDS), tmp_path / "nowhere" / "mesh.backup")


def test_whatever_is_cut_off_or_changed_is_noticed(tmp_path: Path) -> None:
    whole = written(tmp_path / "whole", RECORDS).read_bytes()
    plain = gzip.decompress(whole)
    other = tmp_path / "other"
    for length in range(len(whole) - GZIP_END_BYTES):
        other.write_bytes(whole[:length])
        with pytest.raises(BadRequest):
            read_archive(other)
    lines = plain.splitlines(keepends=True)
    for left_out in range(len(lines)):
        other.write_bytes(gzip.compress(b"".join(lines[:left_out] + lines[left_out + 1 :])))
        with pytest.raises(BadRequest):
            read_archive(other)
    other.write_bytes(gzip.compress(plain.replace(b"test://", b"test:xx")))
    with pytest.raises(BadRequest, match="line 4: was changed"):
        read_archive(other)


@settings(max_examples=200, deadline=None)
@given(noise=st.binary(max_size=300), packed=st.booleans())
def test_any_file_is_one_clear_error(tmp_path_factory: pytest.TempPathFactory, noise: bytes, packed: bool) -> None:
    path = tmp_path_factory.getbasetemp() / "noise"
    path.write_bytes(gzip.compress(noise) if packed else noise)
    with pytest.raises(BadRequest, match="noise"):
        read_archive(path)


@pytest.mark.parametrize(
    ("bucket", "key", "value", "text"),
    [
        ("mesh_actual", "capture.cam0", "{}", "bucket 'mesh_actual' is none of"),
        (DESIRED_BUCKET, "nobody.cam0", SPEC, "has no keys like 'nobody.cam0'"),
        (DESIRED_BUCKET, "capture.cam0.x", SPEC, "has no keys like"),
        (DESIRED_BUCKET, "capture.>", SPEC, "has no keys like"),
        (DESIRED_BUCKET, "capture.CAM 0", SPEC, "has no keys like"),
        (DESIRED_BUCKET, "capture.cam0", "[]", "capture.cam0: Expected `object`"),
        (DESIRED_BUCKET, "capture.cam0", "no json", "capture.cam0: JSON is malformed"),
        (DESIRED_BUCKET, "capture.cam1", SPEC, "capture.cam1: is of stream 'cam0', whose key is another"),
        (DESIRED_BUCKET, "capture.cam0", SPEC.replace("test://", "rtsp://me:hush@a/"), "credentials in 'source'"),
        (
            DESIRED_BUCKET,
            "capture.cam0",
            SPEC.replace("{", '{"source_secret":"secret://publisher.cam0--live@3",', 1),
            "'source_secret' is the secret of something else",
        ),
        (USAGE_BUCKET, "me.20260504", '{"pictures": "many"}', "me.20260504: "),
        (MIX_TASKS_BUCKET, "task.1", "", "Input data was truncated"),
    ],
)
def test_a_record_that_no_mesh_would_write_is_refused(
    tmp_path: Path, bucket: str, key: str, value: str, text: str
) -> None:
    path = written(tmp_path / "odd", [RECORDS[0], Record(bucket=bucket, key=key, value=value, revision=1)])
    with pytest.raises(BadRequest, match=r"odd, line 3: ") as error:
        read_archive(path)
    assert text in error.value.message
    assert "hush" not in error.value.message


def test_what_a_terminal_would_obey_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "odd"
    write_archive(Backup(msgspec.structs.replace(HEADER, version="9\x1b[2J"), []), path)
    with pytest.raises(BadRequest, match="line 1: is no backup of framemesh"):
        read_archive(path)


def test_another_format_and_no_file(tmp_path: Path) -> None:
    newer = msgspec.structs.replace(HEADER, framemesh_backup=2)
    path = tmp_path / "newer"
    write_archive(Backup(newer, []), path)
    with pytest.raises(BadRequest, match="line 1: is of format 2, this framemesh reads format 1"):
        read_archive(path)
    with pytest.raises(NotFound, match="nowhere"):
        read_archive(tmp_path / "nowhere")
    with pytest.raises(NotFound, match="Is a directory"):
        read_archive(tmp_path)


def test_what_unpacks_to_too_much_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    path = tmp_path / "bomb"
    with gzip.open(path, "wb", compresslevel=1) as file:
        for _ in range(9):
            file.write(bytes(1 << 20))
    with pytest.raises(BadRequest, match="larger than anything a mesh keeps"):
        read_archive(path)
