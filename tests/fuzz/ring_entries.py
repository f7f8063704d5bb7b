"""Ways in for rings: files in shared memory that somebody else wrote."""

import functools
import os
import subprocess
import tempfile
from pathlib import Path
from typing import Final

from schemas.frames import FrameRef
from schemas.packets import PacketHeader
from shared.packet_ring import PacketRingReader, PacketRingWriter
from shared.packet_ring.layout import HEADER_BYTES, MIN_CAPACITY_BYTES
from shared.ring import RingGeometry, RingGone, RingReader, RingWriter, list_rings
from tests.fuzz.inputs import HEIGHT, ROOT, SHM, WIDTH, folder, shm_folder, shm_prefix, written

_C_SECONDS: Final = 30.0  # of a compiler beside other tests


_RING: Final = "cam0.1.0123456789abcdef.ring"


_PACKET_RING: Final = "cam0--main.1.0123456789abcdef.pring"


def frame_ring(data: bytes) -> None:
    """A ring file of anybody: every byte that a lease offers is touched, so a wrong bound would be a Bus error."""
    path = shm_folder() / _RING
    path.write_bytes(data)
    list_rings(shm_folder())
    with RingReader(shm_folder()) as reader:
        for sequence in (1, 2):
            try:
                with reader.lease(_reference(sequence)) as picture:
                    picture.array.sum()
            except RingGone:
                continue
            except LookupError:  # overwritten, as its reference tells
                continue


def _reference(sequence: int) -> FrameRef:
    return FrameRef(
        stream="cam0", node="n", epoch=1, sequence=sequence, ring=_RING, slot=sequence % 2,
        pixel_format="gray", width=WIDTH, height=HEIGHT, pts_ns=0, captured_ns=0, monotonic_ns=0,
    )  # fmt: skip


def frame_rings() -> list[bytes]:
    made = []
    for slots in (2, 3):
        with tempfile.TemporaryDirectory(prefix=shm_prefix(os.getpid()), dir=SHM) as name:
            geometry = RingGeometry("gray", WIDTH, HEIGHT)
            with RingWriter.create(
                Path(name) / "rings", stream="cam0", node="n", epoch=1, geometry=geometry, slots=slots
            ) as writer:
                for value in (1, 2):
                    slot = writer.acquire()
                    assert slot is not None
                    slot.array[...] = value
                    slot.commit(pts_ns=value, captured_ns=value, monotonic_ns=value)
                content = bytearray((Path(name) / "rings" / writer.name).read_bytes())
        content[16:24] = int("0123456789abcdef", 16).to_bytes(8, "little")
        made.append(bytes(content))
    return made


def packet_ring(data: bytes) -> None:
    """A packet ring of anybody, read in every way that there is."""
    path = shm_folder() / _PACKET_RING
    # Sizes are round: what is cut off of an input is zeros, as it would be in memory that was never written.
    path.write_bytes(data)
    os.truncate(path, max(len(data), _packet_ring_bytes()))
    with PacketRingReader(path.parent, path.name) as reader:
        reader.from_last_key()
        reader.kept_ns()
        for packets in (reader.since(0), reader.after(1, 3), reader.since_capture(0), reader.onward()):
            assert sum(1 for _ in packets) <= _packet_ring_bytes()


@functools.cache
def _packet_ring_bytes() -> int:
    return HEADER_BYTES + MIN_CAPACITY_BYTES


def packet_rings() -> list[bytes]:
    with tempfile.TemporaryDirectory(prefix=shm_prefix(os.getpid()), dir=SHM) as name:
        writer = PacketRingWriter.create(Path(name), "cam0", "main", 1, max_bytes=MIN_CAPACITY_BYTES)
        for index in range(12):
            header = PacketHeader(
                stream="cam0", rendition="main", track="video", codec="h264", epoch=1, sequence=index, run=1,
                index=index, key=index % 4 == 0, pts_ns=index * 40_000_000, dts_ns=index * 40_000_000,
                captured_ns=10**18 + index * 40_000_000,
            )  # fmt: skip
            writer.append(header, bytes(40))
        content = (Path(name) / writer.name).read_bytes()
        writer.close()
    end = len(content.rstrip(b"\0")) + 64
    return [content[:end]]


@functools.cache
def _c_reader() -> Path:
    program = folder() / "ring-reader"
    checks = ["-fsanitize=address,undefined", "-fno-sanitize-recover=undefined", "-g", "-O1", "-std=gnu11"]
    source = ROOT / "ops" / "ring" / "reader.c"
    subprocess.run(["gcc", *checks, "-o", str(program), str(source)], check=True, timeout=_C_SECONDS)
    return program


def ring_in_c(data: bytes) -> None:
    """The published reader in C under the sanitizers: it says what is wrong, or reads, and touches nothing else."""
    path = written("ring-in-c", data)
    done = subprocess.run([_c_reader(), path, "1"], capture_output=True, timeout=_C_SECONDS)
    assert done.returncode in (0, 1), done.stderr.decode(errors="replace")
    assert b"Sanitizer" not in done.stderr
    assert b"runtime error" not in done.stderr
