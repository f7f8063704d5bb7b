"""Pictures as files: whole or not at all, below their root or nowhere."""

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from services.frame_extractor.storage import Places, StorageError, StorageSettings
from services.frame_extractor.storage import folders as storage_folders
from services.frame_extractor.storage.folders import open_file, settle, write_file


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "pictures"


def failure(root: Path, relative: str) -> StorageError:
    with pytest.raises(StorageError) as caught:
        write_file(root, relative, b"x")
    assert caught.value.kind == "storage"
    return caught.value


@pytest.mark.parametrize("nameless", [True, False])
def test_written_whole_over_what_is_there(root: Path, monkeypatch: pytest.MonkeyPatch, nameless: bool) -> None:
    if not nameless:  # a file system that knows no O_TMPFILE
        monkeypatch.setattr(os, "O_TMPFILE", os.O_DIRECTORY | os.O_RDWR)
    write_file(root, "a/b/picture.jpg", b"first")
    with open_file(root, "a/b/picture.jpg") as before:
        write_file(root, "a/b/picture.jpg", b"second, longer")
        assert before.read() == b"first"  # who reads has a whole picture
    assert (root / "a/b/picture.jpg").read_bytes() == b"second, longer"
    assert os.listdir(root / "a/b") == ["picture.jpg"]
    assert (root / "a/b/picture.jpg").stat().st_mode & 0o777 == 0o640
    settle(root)


def test_no_link_is_followed(root: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "mine.jpg").write_bytes(b"mine")
    root.mkdir()
    (root / "out").symlink_to(outside)
    (root / "link.jpg").symlink_to(outside / "mine.jpg")
    assert "a link or a file stands" in failure(root, "out/new.jpg").message
    assert "a link or a file stands" in failure(root, "link.jpg/new.jpg").message
    write_file(root, "link.jpg", b"new")  # the link is replaced, not what it leads to
    assert (outside / "mine.jpg").read_bytes() == b"mine"
    assert os.listdir(outside) == ["mine.jpg"]
    (root / "back.jpg").symlink_to(outside / "mine.jpg")
    for path in ("back.jpg", "out/mine.jpg"):
        with pytest.raises(StorageError, match="a link or a file stands"):
            open_file(root, path)


def test_the_root_may_be_a_link(root: Path, tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    root.symlink_to(tmp_path / "disk")
    write_file(root, "a/x.jpg", b"x")
    assert (tmp_path / "disk/a/x.jpg").read_bytes() == b"x"


def test_what_stands_in_the_way(root: Path) -> None:
    write_file(root, "file", b"x")
    (root / "folder").mkdir()
    assert "stands where" in failure(root, "file/x.jpg").message
    assert not failure(root, "folder").may_pass
    assert "too long" in failure(root, "n" * 256).message
    assert sorted(os.listdir(root)) == ["file", "folder"]
    os.mkfifo(root / "pipe")
    for path in ("pipe", "folder", "absent"):
        with pytest.raises(StorageError):
            open_file(root, path)


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a tmpfs needs root")
def test_a_full_disk(root: Path) -> None:
    root.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(root)], check=True)
    try:
        with pytest.raises(StorageError, match="the disk is full") as caught:
            write_file(root, "large.jpg", bytes(100_000))
        assert caught.value.may_pass
        assert os.listdir(root) == []
        write_file(root, "small.jpg", b"x")
    finally:
        subprocess.run(["umount", str(root)], check=True)


@pytest.mark.parametrize("nameless", [True, False])
def test_a_killed_process_leaves_whole_pictures_only(root: Path, nameless: bool) -> None:
    code = (
        "import os; from pathlib import Path; from services.frame_extractor.storage.folders import write_file\n"
        f"os.O_TMPFILE = os.O_TMPFILE if {nameless} else os.O_DIRECTORY | os.O_RDWR\n"
        "for number in range(10**6):\n"
        f"    write_file(Path({str(root)!r}), f'job/{{number % 3}}.jpg', bytes([number % 256]) * 3_000_000)\n"
        "    print(number, flush=True)"
    )
    for pictures in (3, 7):
        process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
        assert process.stdout is not None
        for _ in range(pictures):
            process.stdout.readline()
        process.kill()
        process.wait(10)
        process.stdout.close()
    for name in ("0.jpg", "1.jpg", "2.jpg"):
        body = (root / "job" / name).read_bytes()
        assert body == body[:1] * 3_000_000
    left = [path for path in (root / "job").iterdir() if path.suffix == ".part"]
    assert not nameless or not left


def test_what_others_left_is_swept_once_it_is_old(root: Path) -> None:
    folder = root / "job"
    folder.mkdir(parents=True)
    names = {".0123456789abcdef.part": 7200, ".fedcba9876543210.part": 10, ".mine.part": 7200, "0123456789abcdef": 7200}
    for name, age_seconds in names.items():
        (folder / name).write_bytes(b"half a picture")
        os.utime(folder / name, (time.time() - age_seconds,) * 2)
    write_file(root, "job/000.jpg", b"x")
    assert sorted(os.listdir(folder)) == [".fedcba9876543210.part", ".mine.part", "000.jpg", "0123456789abcdef"]


def test_many_writers_of_one_name_leave_one_whole_picture(root: Path) -> None:
    bodies = [bytes([number]) * 200_000 for number in range(8)]
    threads = [threading.Thread(target=write_file, args=(root, "a/one.jpg", body)) for body in bodies]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert (root / "a/one.jpg").read_bytes() in bodies
    assert os.listdir(root / "a") == ["one.jpg"]


def test_paths_lie_under_the_roots(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    second.mkdir()
    (tmp_path / "linked").symlink_to(second)
    settings = StorageSettings(data_dir=tmp_path / "data", picture_roots=(first, tmp_path / "linked"))
    places = Places(settings, {})
    for template in ("file://job/{index}.jpg", f"file://{first}/{{index}}.jpg", f"file://{second}/a%20b/{{index}}.jpg"):
        places.check_template(template)
        writer = places.writer(template)
        writer.write(1, b"x")
        writer.settle()
        with places.open_picture(writer.path(1)) as picture:
            assert picture.read() == b"x"
        with places.open_video(writer.path(1)) as video:  # a job may look at what another wrote
            assert video.size_bytes == 1
    assert (first / "job/001.jpg").exists()
    assert (first / "001.jpg").exists()
    assert (second / "a b/001.jpg").exists()
    for template in (f"file://{tmp_path}/{{index}}.jpg", "file:///etc/{index}", f"file://{first}x/{{index}}"):
        with pytest.raises(StorageError, match="pictures must lie under") as caught:
            places.check_template(template)
        assert caught.value.kind == "storage"


def test_videos_lie_under_the_roots(tmp_path: Path) -> None:
    media = tmp_path / "data/media"
    media.mkdir(parents=True)
    (media / "clip é.mp4").write_bytes(b"video")
    (media / "inside.mp4").symlink_to(media / "clip é.mp4")
    (media / "passwd.mp4").symlink_to("/etc/passwd")
    (media / "root").symlink_to("/")
    os.mkfifo(media / "pipe.mp4")
    places = Places(StorageSettings(data_dir=tmp_path / "data"), {})
    for url in (f"file://{media}/clip%20é.mp4", "file://clip%20%C3%A9.mp4", "file://inside.mp4"):
        with places.open_video(url) as video:
            assert (video.path, video.size_bytes, video.fetched) == (media / "clip é.mp4", 5, False)
        assert (media / "clip é.mp4").exists()
    for url in (
        "file:///etc/passwd",
        "file://passwd.mp4",
        "file://root/etc/passwd",
        "file://pipe.mp4",
        f"file://{tmp_path}/data",
        "file:///proc/self/environ",
        "file:///dev/zero",
    ):
        with pytest.raises(StorageError) as caught:
            places.open_video(url)
        assert caught.value.kind == "url", url
    with pytest.raises(StorageError, match="no such file") as caught:
        places.open_video("file://absent.mp4")
    assert (caught.value.kind, caught.value.may_pass) == ("download", False)
    small = Places(StorageSettings(data_dir=tmp_path / "data", video_bytes=4), {})
    with pytest.raises(StorageError, match="VIDEO_BYTES") as caught:
        small.open_video("file://inside.mp4")
    assert caught.value.kind == "video"


def test_a_disk_that_cannot_settle(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root.mkdir()

    class BrokenDisk:
        @staticmethod
        def syncfs(_: int) -> int:
            storage_folders.ctypes.set_errno(5)
            return -1

    monkeypatch.setattr(storage_folders, "_libc", BrokenDisk)
    with pytest.raises(StorageError, match="Input/output error"):
        settle(root)
