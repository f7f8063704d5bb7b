"""The room for fetched videos: one budget for all processes, nothing left behind."""

import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from services.frame_extractor.storage import Places, StorageSettings
from services.frame_extractor.storage.spool import NoRoom, Spool

NEVER = threading.Event()
MIB = 1 << 20


def test_a_file_has_what_it_needs_and_gives_back_the_rest(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool", 100 * MIB)
    file = spool.create()
    file.reserve(3 * MIB, 0, NEVER)
    assert spool.used_bytes() == 3 * MIB
    file.append(b"abc", 0, NEVER)
    file.append(b"def", 0, NEVER)
    file.finish()
    assert file.path.read_bytes() == b"abcdef"
    assert spool.used_bytes() == 6
    assert file.path.stat().st_mode & 0o777 == 0o600
    assert spool.sweep() == 0
    file.remove()
    file.remove()
    assert list(tmp_path.glob("spool/*.video")) == []


def test_what_is_full_waits_for_others(tmp_path: Path) -> None:
    first, second = Spool(tmp_path, 10 * MIB), Spool(tmp_path, 10 * MIB)  # as two processes have it
    held = first.create()
    held.reserve(8 * MIB, 0, NEVER)
    wanting = second.create()
    with pytest.raises(NoRoom, match="FETCH_BYTES") as caught:
        wanting.reserve(3 * MIB, 0, NEVER)
    assert (caught.value.kind, caught.value.may_pass) == ("download", True)
    wanting.reserve(2 * MIB, 0, NEVER)
    threading.Timer(0.3, held.remove).start()
    wanting.reserve(9 * MIB, 10, NEVER)
    assert first.used_bytes() == 9 * MIB
    stop = threading.Event()
    threading.Timer(0.2, stop.set).start()
    began = time.monotonic()
    with pytest.raises(NoRoom):
        wanting.reserve(11 * MIB, 30, stop)
    assert time.monotonic() - began < 5
    wanting.remove()


def test_many_at_once_never_pass_the_budget(tmp_path: Path) -> None:
    spool = Spool(tmp_path, 10 * MIB)
    most: list[int] = []

    def fetch() -> None:
        for _ in range(5):
            file = spool.create()
            file.reserve(3 * MIB, 30, NEVER)
            most.append(spool.used_bytes())
            file.remove()

    threads = [threading.Thread(target=fetch) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(most) == 30
    assert max(most) <= 10 * MIB
    assert spool.used_bytes() == 0


def test_a_killed_process_gives_its_room_back(tmp_path: Path) -> None:
    code = (
        "import sys, threading, time; from pathlib import Path;"
        "from services.frame_extractor.storage.spool import Spool;"
        f"file = Spool(Path({str(tmp_path)!r}), {10 * MIB}).create();"
        f"file.reserve({9 * MIB}, 0, threading.Event()); print('ready', flush=True); time.sleep(60)"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    spool = Spool(tmp_path, 10 * MIB)
    file = spool.create()
    with pytest.raises(NoRoom):
        file.reserve(5 * MIB, 0, NEVER)
    process.kill()
    process.wait(10)
    process.stdout.close()
    file.reserve(5 * MIB, 0, NEVER)  # who needs the room removes what the dead left
    assert spool.used_bytes() == 5 * MIB
    file.remove()


def test_what_nobody_has_is_swept(tmp_path: Path) -> None:
    (tmp_path / "0123.video").write_bytes(b"left")
    (tmp_path / "other.txt").write_bytes(b"not ours")
    spool = Spool(tmp_path, MIB)
    mine = spool.create()
    assert spool.sweep() == 1
    assert mine.path.exists()
    assert (tmp_path / "other.txt").exists()
    mine.remove()


def test_the_dead_are_swept_at_start(tmp_path: Path) -> None:
    Places(StorageSettings(data_dir=tmp_path), {})
    assert list(tmp_path.iterdir()) == []  # nothing is made before it is needed
    folder = tmp_path / "frame-extractor/fetched"
    folder.mkdir(parents=True)
    (folder / "0123.video").write_bytes(b"left")
    Places(StorageSettings(data_dir=tmp_path), {})
    assert list(folder.glob("*.video")) == []


def test_a_folder_that_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(NoRoom, match="folder for fetched videos"):
        Spool(tmp_path / "file" / "spool", MIB).create()
