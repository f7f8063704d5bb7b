"""Files that are there whole or not at all."""

import os
import stat
from pathlib import Path

import pytest

from shared.whole_file import NEW_SUFFIX, write_whole


def test_the_new_one_takes_the_old_ones_place(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    write_whole(path, b"old")
    with path.open("rb") as reader:
        write_whole(path, b"new", sync=True)
        assert reader.read() == b"old", "who has it open reads on"
    assert path.read_bytes() == b"new"
    assert os.listdir(tmp_path) == ["state.json"]


def test_what_must_outlive_the_power_is_synced_before_its_name_and_then_the_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "state.json"
    synced: list[tuple[str, bool]] = []

    def fsync(descriptor: int) -> None:
        synced.append((os.readlink(f"/proc/self/fd/{descriptor}"), path.exists()))

    monkeypatch.setattr(os, "fsync", fsync)
    write_whole(path, b"usual")
    assert synced == []
    path.unlink()
    write_whole(path, b"kept", sync=True)
    assert synced == [(str(tmp_path / f".state.json{NEW_SUFFIX}"), False), (str(tmp_path), True)]


def test_rights(tmp_path: Path) -> None:
    umask = os.umask(0o027)
    try:
        write_whole(tmp_path / "usual", b"")
        write_whole(tmp_path / "secret", b"", mode=0o600)
    finally:
        os.umask(umask)
    assert {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()} == {
        "usual": 0o640,
        "secret": 0o600,
    }


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_it_belongs_to_who_the_folder_belongs_to(tmp_path: Path) -> None:
    os.chown(tmp_path, 10001, 10002)
    write_whole(tmp_path / "key", b"", owner_of=tmp_path)
    about = (tmp_path / "key").stat()
    assert (about.st_uid, about.st_gid) == (10001, 10002)


def test_what_a_killed_writer_left_is_written_over_and_not_followed(tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.write_bytes(b"mine")
    (tmp_path / f".state{NEW_SUFFIX}").symlink_to(other)
    write_whole(tmp_path / "state", b"new")
    assert other.read_bytes() == b"mine"
    assert not (tmp_path / "state").is_symlink()


def test_a_refusal_changes_nothing_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "inside").touch()
    with pytest.raises(OSError, match="directory"):
        write_whole(tmp_path / "folder", b"no file can take its place")
    assert os.listdir(tmp_path) == ["folder"]
