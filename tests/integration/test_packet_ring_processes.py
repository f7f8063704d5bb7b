"""The packet ring between real processes: a writer at full speed, readers that check, kill -9."""

import contextlib
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.packet_ring import PacketRingReader, PacketRingWriter, sweep
from tests.support.packet_ring_process import CAPACITY_BYTES, KEY_EVERY

pytestmark = pytest.mark.integration

COMMAND = [sys.executable, "-m", "tests.support.packet_ring_process"]


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(dir="/dev/shm", prefix="packet-ring-test-") as name:
        yield Path(name) / "rings"


@contextlib.contextmanager
def writer(folder: Path, *, run: int = 1, payload_bytes: int = 1_000, rate: int = 0) -> Iterator[subprocess.Popen[str]]:
    command = [*COMMAND, "write", str(folder), str(run), str(payload_bytes), str(rate)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize("payload_bytes", [200, 20_000])
def test_no_read_is_torn(folder: Path, payload_bytes: int) -> None:
    with writer(folder, payload_bytes=payload_bytes):
        readers = [
            subprocess.Popen([*COMMAND, "read", str(folder), "3"], stdout=subprocess.PIPE, text=True) for _ in range(2)
        ]
        results = [json.loads(reader.communicate(timeout=30)[0]) for reader in readers]
    print(payload_bytes, results)
    for result in results:
        assert result["torn"] == 0
        assert result["unordered"] == 0
        assert result["packets"] > 100
    assert sum(result["missed"] for result in results) > 0, "the writer was fast enough to overtake them"


def test_what_a_killed_writer_leaves_is_whole(folder: Path) -> None:
    with writer(folder, payload_bytes=3_000) as process:
        reader = PacketRingReader.open_latest(folder, "cam0", "main")
        time.sleep(0.2)  # at full speed: killed in the middle of whatever it does
        process.kill()
        process.wait()
    assert reader.ended
    left = list(reader.since(0))
    assert len(left) > CAPACITY_BYTES // 3_100 - 2 * KEY_EVERY
    assert [header.index for header, _ in left] == list(range(left[0][0].index, left[-1][0].index + 1))
    assert left[0][0].key
    assert reader.from_last_key()[0][0].key
    assert [name.endswith(".pring") for name in sweep(folder)] == [True]
    assert list(reader.after(1, left[-1][0].index - 1)), "it can still be read by who has it open"
    reader.close()


def test_another_producer_takes_over_and_removes_the_dead_ring(folder: Path) -> None:
    with writer(folder, run=1) as process:
        process.kill()
        process.wait()
    taken_over = PacketRingWriter.create(folder, "cam0", "main", 2, max_bytes=CAPACITY_BYTES)
    assert [path.name for path in folder.iterdir()] == [taken_over.name]
    with PacketRingReader.open_latest(folder, "cam0", "main") as reader:
        assert reader.run == 2
    taken_over.close()


def test_a_reader_follows_a_live_writer_without_a_gap(folder: Path) -> None:
    with writer(folder, rate=200), PacketRingReader.open_latest(folder, "cam0", "main") as reader:
        seen: list[int] = []
        deadline = time.monotonic() + 2.0
        while time.monotonic() < deadline:
            for header, _ in reader.after(1, seen[-1] if seen else 0):
                if not seen or header.index > seen[-1]:
                    seen.append(header.index)
            time.sleep(0.05)
    assert len(seen) > 200
    assert seen == list(range(1, len(seen) + 1))
