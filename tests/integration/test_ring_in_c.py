"""The reader in C that is published with the ring's layout: it reads what Python writes and refuses what is no ring."""

import shutil
import subprocess
import zlib
from pathlib import Path

import numpy as np
import pytest

from shared.ring import RingGeometry
from tests.support.ring import make_writer, put, ring_folder

__all__ = ["ring_folder"]
pytestmark = pytest.mark.integration

SOURCE = Path(__file__).parents[2] / "ops" / "ring" / "reader.c"
MOST_LINES = 100  # a reader that is longer teaches nobody
SECONDS = 20.0
PICTURES = 500


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("no C compiler is installed")
    target = tmp_path_factory.mktemp("c") / "ring-reader"
    warnings = ["-std=gnu11", "-Wall", "-Wextra", "-Wconversion", "-Wno-sign-conversion", "-Werror"]
    subprocess.run([compiler, "-O2", *warnings, "-o", str(target), str(SOURCE)], check=True, timeout=SECONDS)
    return target


def test_it_is_short_enough_to_be_read() -> None:
    assert len(SOURCE.read_text().splitlines()) <= MOST_LINES


@pytest.mark.parametrize(
    "geometry", [RingGeometry("yuv420p", 320, 240), RingGeometry("bgr24", 33, 21), RingGeometry("gray12le", 40, 30)]
)
def test_it_reads_the_newest_picture_to_the_last_byte(program: Path, ring_folder: Path, geometry: RingGeometry) -> None:
    noise = np.random.default_rng(7)
    with make_writer(ring_folder, geometry=geometry) as writer:
        put(writer, 1)
        slot = writer.acquire()
        assert slot is not None
        picture = noise.integers(0, 200, geometry.array_shape, dtype=geometry.array_dtype)
        slot.array[...] = picture
        slot.commit(pts_ns=-5, captured_ns=1_700_000_000_123_456_789, monotonic_ns=2)
        told = _read(program, ring_folder / writer.name, 1)
    assert told.stdout.split() == ["2", "1700000000123456789", "-5", f"{zlib.adler32(picture.tobytes()):08x}"]


def test_no_picture_is_torn_while_the_writer_hurries(program: Path, ring_folder: Path) -> None:
    geometry = RingGeometry("gray", 256, 128)
    with make_writer(ring_folder, geometry=geometry) as writer:
        reader = subprocess.Popen(
            [program, ring_folder / writer.name, str(PICTURES)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            sums = {value: f"{zlib.adler32(bytes([value]) * geometry.frame_bytes):08x}" for value in range(256)}
            while reader.poll() is None:
                put(writer, (writer.last_sequence + 1) % 256)
            out, complaint = reader.communicate(timeout=SECONDS)
        finally:
            reader.kill()
            reader.wait()
    lines = [line.split() for line in out.splitlines()]
    assert (reader.returncode, complaint, len(lines)) == (0, "", PICTURES)
    assert [line[3] for line in lines] == [sums[int(line[0]) % 256] for line in lines]
    assert writer.last_sequence > PICTURES


def test_it_says_what_is_wrong(program: Path, ring_folder: Path) -> None:
    writer = make_writer(ring_folder)
    put(writer, 1)
    path = ring_folder / writer.name
    whole = path.read_bytes()
    short, foreign, beyond = (ring_folder / name for name in ("short", "foreign", "beyond"))
    short.write_bytes(whole[:100])
    foreign.write_bytes(b"x" * len(whole))
    beyond.write_bytes(whole[: len(whole) // 2])
    abandoned = ring_folder / "abandoned"
    abandoned.write_bytes(whole)  # a copy has no writer
    assert "is no ring" in _read(program, short, 1).stderr
    assert "not a ring of version 1" in _read(program, foreign, 1).stderr
    assert "does not fit" in _read(program, beyond, 1).stderr
    assert "its writer is gone" in _read(program, abandoned, 2).stderr
    assert "give a ring file" in subprocess.run([program], capture_output=True, text=True, timeout=SECONDS).stderr
    writer.close()


def _read(program: Path, ring: Path, count: int) -> subprocess.CompletedProcess[str]:
    return subprocess.run([program, ring, str(count)], capture_output=True, text=True, timeout=SECONDS)
