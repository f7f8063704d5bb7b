"""The packet ring in one process: what readers get of what was written, and damaged files."""

import os
import random
import stat
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.errors import InvalidValue, NotFound, OutOfSpace
from schemas.frames import RingName
from schemas.packets import PacketHeader, Track
from shared.packet_ring import PacketRingReader, PacketRingWriter, sweep
from shared.packet_ring.layout import HEADER_BYTES, MIN_CAPACITY_BYTES
from shared.ring import BadRing

pytestmark = pytest.mark.unit

FRAME_NS = 40_000_000


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(dir="/dev/shm", prefix="packet-ring-test-") as name:
        yield Path(name) / "rings"


def packet(
    index: int, *, track: Track = "video", key: bool = False, pts_ns: int | None = None, run: int = 1
) -> PacketHeader:
    return PacketHeader(
        stream="cam0",
        rendition="main",
        track=track,
        codec="h264" if track == "video" else track,
        epoch=1,
        sequence=index,
        run=run,
        index=index,
        key=key or track != "video",
        pts_ns=index * FRAME_NS if pts_ns is None else pts_ns,
        dts_ns=index * FRAME_NS if pts_ns is None else pts_ns,
        captured_ns=0,
    )


def make(folder: Path, run: int = 1, *, seconds: float = 60.0, max_bytes: int = MIN_CAPACITY_BYTES) -> PacketRingWriter:
    return PacketRingWriter.create(folder, "cam0", "main", run, seconds=seconds, max_bytes=max_bytes)


def fill(writer: PacketRingWriter, count: int, *, key_every: int = 10, payload_bytes: int = 100, run: int = 1) -> None:
    for index in range(1, count + 1):
        writer.append(
            packet(index, key=index % key_every == 1 % key_every, run=run), bytes([index % 256]) * payload_bytes
        )


def indexes(packets: object) -> list[int]:
    return [header.index for header, _ in packets]  # type: ignore[attr-defined]


def test_the_current_group_of_pictures_with_its_sound(folder: Path) -> None:
    writer = make(folder)
    fill(writer, 10)
    # Sound of the next key picture's time is written before that picture, and a late block of earlier sound after it.
    writer.append(packet(1, track="opus", pts_ns=11 * FRAME_NS), b"early")
    writer.append(packet(11, key=True), b"key")
    writer.append(packet(2, track="opus", pts_ns=10 * FRAME_NS), b"of before")
    writer.append(packet(12), b"next")
    with PacketRingReader.open_latest(folder, "cam0", "main") as reader:
        group = reader.from_last_key()
    assert [(header.track, header.index, payload) for header, payload in group] == [
        ("opus", 1, b"early"),
        ("video", 11, b"key"),
        ("video", 12, b"next"),
    ]
    writer.close()


def test_going_on_starts_at_the_key_that_is_needed(folder: Path) -> None:
    writer = make(folder)
    fill(writer, 35)
    with PacketRingReader.open_latest(folder, "cam0", "main") as reader:
        assert indexes(reader.after(1, 25)) == list(range(21, 36))
        assert indexes(reader.after(1, 20)) == list(range(21, 36)), "the next picture is a key: nothing twice"
        assert indexes(reader.after(1, 19)) == list(range(11, 36))
        assert indexes(reader.after(9, 25)) == list(range(1, 36)), "another run: all there is"
        assert indexes(reader.after(1, 99)) == list(range(31, 36))
        later = reader.after(1, 35)
        writer.append(packet(36), b"")
        assert indexes(later) == [31, 32, 33, 34, 35, 36], "up to the writer as it is by then"
    writer.close()


def test_pre_roll(folder: Path) -> None:
    writer = make(folder)
    fill(writer, 35)
    with PacketRingReader.open_latest(folder, "cam0", "main") as reader:
        assert indexes(reader.since(21 * FRAME_NS))[0] == 21
        assert indexes(reader.since(21 * FRAME_NS - 1))[0] == 11
        assert indexes(reader.since(0))[0] == 1
    writer.close()


def test_memory_is_bounded_and_the_newest_stay(folder: Path) -> None:
    writer = make(folder)
    fill(writer, 5_000, payload_bytes=700)
    with PacketRingReader.open_latest(folder, "cam0", "main") as reader:
        held = list(reader.since(0))
    assert (folder / writer.name).stat().st_size == HEADER_BYTES + MIN_CAPACITY_BYTES
    assert indexes(held)[-1] == 5_000
    assert 60 <= len(held) <= MIN_CAPACITY_BYTES // 700
    assert indexes(held) == list(range(indexes(held)[0], 5_001))
    assert all(payload == bytes([header.index % 256]) * 700 for header, payload in held)
    writer.append(packet(1), bytes(MIN_CAPACITY_BYTES))
    assert writer.too_large == 1
    writer.close()


def test_old_packets_go_by_time(folder: Path) -> None:
    writer = make(folder, seconds=0.0)
    fill(writer, 12, key_every=1)
    with PacketRingReader.open_latest(folder, "cam0", "main") as reader:
        assert indexes(reader.since(0)) == [12]
    writer.close()


def test_a_group_larger_than_the_ring_is_no_group(folder: Path) -> None:
    writer = make(folder)
    fill(writer, 500, key_every=1_000, payload_bytes=700)
    with PacketRingReader.open_latest(folder, "cam0", "main") as reader:
        assert reader.from_last_key() == []
        assert list(reader.since(0)) == []
    writer.close()


def test_a_reader_that_is_overtaken_goes_on_at_the_oldest(folder: Path) -> None:
    writer = make(folder)
    fill(writer, 50)
    with PacketRingReader.open_latest(folder, "cam0", "main") as reader:
        packets = reader.since(0)
        assert next(packets)[0].index == 1
        fill(writer, 1_000, payload_bytes=700)
        rest = indexes(packets)
        assert rest[0] > 2
        assert rest[-1] == 1_000
        assert rest == list(range(rest[0], 1_001))
    writer.close()


def test_the_newest_run_is_taken_and_close_removes(folder: Path) -> None:
    old, new = make(folder, 9), make(folder, 10)
    with PacketRingReader.open_latest(folder, "cam0", "main") as reader:
        assert reader.run == 10
        assert not reader.ended
        new.close()
        assert reader.ended
        assert reader.from_last_key() == []
    with PacketRingReader.open_latest(folder, "cam0", "main") as reader:
        assert reader.run == 9
    old.close()
    with pytest.raises(NotFound, match="cam0/main"):
        PacketRingReader.open_latest(folder, "cam0", "main")


def test_the_file_is_what_the_folder_expects(folder: Path) -> None:
    writer = make(folder)
    msgspec.convert(writer.name, RingName)
    assert stat.S_IMODE((folder / writer.name).stat().st_mode) == 0o640
    assert stat.S_IMODE(folder.stat().st_mode) == 0o2770
    assert sweep(folder) == [], "its writer lives"
    writer.close()
    assert list(folder.iterdir()) == []


def test_bad_sizes_are_refused(folder: Path) -> None:
    with pytest.raises(InvalidValue, match="max_bytes"):
        make(folder, max_bytes=10)


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a tmpfs needs root")
def test_too_small_a_tmpfs_is_one_clear_error(tmp_path: Path) -> None:
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(tmp_path)], check=True)
    try:
        with pytest.raises(OutOfSpace, match=r"cam0/main.*bytes needed.*FRAMEMESH_SHM_DIR") as failure:
            make(tmp_path, max_bytes=2 << 20)
        assert failure.value.free_bytes <= 1 << 20
        assert list(tmp_path.iterdir()) == []
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)


def _read_all(path: Path) -> None:
    """Everything a reader offers; BadRing is the only complaint allowed."""
    try:
        with PacketRingReader(path.parent, path.name) as reader:
            reader.from_last_key()
            list(reader.since(0))
            list(reader.after(1, 3))
    except BadRing:
        pass


@settings(max_examples=150, deadline=None)
@given(seed=st.integers(0, 2**32), damage=st.lists(st.tuples(st.integers(0, 6_000), st.integers(0, 255)), max_size=8))
def test_a_damaged_file_never_does_harm(seed: int, damage: list[tuple[int, int]]) -> None:
    with tempfile.TemporaryDirectory(dir="/dev/shm", prefix="packet-ring-test-") as name:
        writer = make(Path(name))
        fill(writer, 30, payload_bytes=random.Random(seed).randrange(200))
        path = Path(name) / writer.name
        with path.open("r+b") as file:
            for offset, value in damage:
                file.seek(offset)
                file.write(bytes([value]))
        _read_all(path)
        writer.close()


@given(content=st.binary(max_size=6_000))
def test_a_file_of_anything_is_refused(content: bytes) -> None:
    with tempfile.TemporaryDirectory(dir="/dev/shm", prefix="packet-ring-test-") as name:
        path = Path(name) / "cam0--main.1.0123456789abcdef.pring"
        path.write_bytes(content)
        with pytest.raises(BadRing):
            PacketRingReader(path.parent, path.name)
        with pytest.raises(NotFound):
            PacketRingReader.open_latest(path.parent, "cam0", "main")


def test_a_file_cut_short_while_it_is_read(folder: Path) -> None:
    writer = make(folder)
    fill(writer, 100, payload_bytes=400)
    with PacketRingReader.open_latest(folder, "cam0", "main") as reader:
        packets = reader.since(0)
        next(packets)
        os.truncate(folder / writer.name, HEADER_BYTES + 1_000)
        with pytest.raises(BadRing):
            list(packets)
    writer.close()


def test_a_link_with_a_ring_name_is_not_followed(folder: Path, tmp_path: Path) -> None:
    writer = make(folder)
    (folder / "cam1--main.1.0123456789abcdef.pring").symlink_to(folder / writer.name)
    with pytest.raises(NotFound):
        PacketRingReader.open_latest(folder, "cam1", "main")
    writer.close()
