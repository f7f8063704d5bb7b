"""History: a packet ring that changes its size keeps what it had, as far as that fits, and goes on."""

import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from schemas.errors import InvalidValue, OutOfSpace
from schemas.packets import PacketHeader
from shared.packet_ring import PacketRingReader, PacketRingWriter, RingSize, check_history, ring_size
from shared.packet_ring.layout import MIN_CAPACITY_BYTES

FRAME_NS = 40_000_000
KEY_EVERY = 10
USUAL = RingSize(15.0, 32 << 20)


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(dir="/dev/shm", prefix="packet-history-test-") as name:
        yield Path(name) / "rings"


def make(folder: Path, max_bytes: int, continues: PacketRingWriter | None = None) -> PacketRingWriter:
    return PacketRingWriter.create(
        folder, "cam0", "main", 1, seconds=60, max_bytes=max_bytes, continues=continues, fix="keep less, or "
    )


def fill(writer: PacketRingWriter, first: int, last: int, payload_bytes: int = 1_000) -> None:
    for index in range(first, last + 1):
        header = PacketHeader(
            stream="cam0",
            rendition="main",
            track="video",
            codec="h264",
            epoch=1,
            sequence=index,
            run=1,
            index=index,
            key=index % KEY_EVERY == 1,
            pts_ns=index * FRAME_NS,
            dts_ns=index * FRAME_NS,
            captured_ns=1_000 + index * FRAME_NS,
        )
        writer.append(header, bytes([index % 256]) * payload_bytes)


def kept(folder: Path, captured_ns: int = 0) -> list[int]:
    with PacketRingReader.open_latest(folder, "cam0", "main") as reader:
        found = list(reader.since_capture(captured_ns))
    assert all(payload == bytes([header.index % 256]) * 1_000 for header, payload in found)
    return [header.index for header, _ in found]


@pytest.mark.parametrize("second_bytes", [MIN_CAPACITY_BYTES * 2 + 12_345, MIN_CAPACITY_BYTES])
def test_another_size_keeps_what_fits_and_goes_on(folder: Path, second_bytes: int) -> None:
    first = make(folder, MIN_CAPACITY_BYTES + 4_321)
    fill(first, 0, 0, payload_bytes=MIN_CAPACITY_BYTES + 4_321)
    fill(first, 1, 217)  # several times around
    before = kept(folder)
    with PacketRingReader.open_latest(folder, "cam0", "main") as old:
        second = make(folder, second_bytes, first)
        first.close()
        assert old.ended
        assert [header.index for header, _ in old.since(0)] == before, "readers keep what they have open"
    assert second.too_large == first.too_large == 1, "a count that falls is taken for a new one"
    after = kept(folder)
    assert after == before[-len(after) :]
    assert after[-1] == 217
    if second_bytes > first.facts.capacity_bytes:
        assert after == before
    fill(second, 218, 330)
    assert kept(folder)[-1] == 330
    assert kept(folder) == list(range(kept(folder)[0], 331)), "none is missing between what was and what came"
    second.close()


def test_pre_roll_by_the_time_of_capture(folder: Path) -> None:
    writer = make(folder, MIN_CAPACITY_BYTES)
    fill(writer, 1, 45)
    captured_ns = 1_000 + 31 * FRAME_NS
    assert kept(folder, captured_ns)[0] == 31
    assert kept(folder, captured_ns - 1)[0] == 21
    with PacketRingReader.open_latest(folder, "cam0", "main") as reader:
        assert reader.kept_ns() == (1_000 + FRAME_NS, 1_000 + 45 * FRAME_NS)
    writer.close()


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a tmpfs needs root")
def test_too_little_memory_leaves_the_ring_as_it_was(tmp_path: Path) -> None:
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(tmp_path)], check=True)
    try:
        writer = make(tmp_path, MIN_CAPACITY_BYTES)
        fill(writer, 1, 45)
        with pytest.raises(OutOfSpace, match="keep less, or enlarge that tmpfs"):
            make(tmp_path, 2 << 20, writer)
        fill(writer, 46, 46)
        assert kept(tmp_path)[-1] == 46
        assert len(list(tmp_path.iterdir())) == 1, "nothing is left of the attempt"
        writer.close()
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)


def test_how_large_a_ring_is_for_its_history() -> None:
    assert ring_size(USUAL, None, 256 << 20) == USUAL
    assert ring_size(USUAL, "5s", 256 << 20) == USUAL
    assert ring_size(USUAL, "30s", 256 << 20) == RingSize(30.0, 64 << 20)
    assert ring_size(USUAL, "10m", 256 << 20) == RingSize(600.0, 256 << 20), "bounded"
    assert ring_size(USUAL, "30s", 1 << 20) == RingSize(30.0, USUAL.max_bytes), "never smaller than without"
    with pytest.raises(InvalidValue, match="history '0s': write how much to keep"):
        check_history("0s")
