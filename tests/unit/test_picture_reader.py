"""Picture files from outside: read by what is in them, bounded before any memory is taken."""

import struct
import subprocess
import zlib
from pathlib import Path

import pytest

from schemas.errors import BadRequest
from services.capture.sources.picture_reader import MAX_PIXELS, read_picture

pytestmark = pytest.mark.integration  # ffmpeg makes the files

_KINDS = ("png", "jpg", "webp", "bmp", "tiff")


def _picture(path: Path, size: str = "320x180") -> Path:
    subprocess.run(
        ["ffmpeg", "-v", "error", "-y", "-f", "lavfi", "-i", f"testsrc=size={size}", "-frames:v", "1", str(path)],
        check=True,
        timeout=30,
    )
    return path


@pytest.mark.parametrize("kind", _KINDS)
def test_every_kind_is_read_whatever_its_name(tmp_path: Path, kind: str) -> None:
    path = _picture(tmp_path / f"a.{kind}")
    named_otherwise = path.rename(tmp_path / "a.dat")
    frame = read_picture(named_otherwise)
    assert (frame.width, frame.height) == (320, 180)
    assert frame.to_ndarray(format="gray").std() > 20, "there is a picture in it"


@pytest.mark.parametrize("kind", ["png", "jpg", "bmp", "tiff", "webp"])
def test_what_is_cut_short_is_refused(tmp_path: Path, kind: str) -> None:
    path = _picture(tmp_path / f"a.{kind}")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(BadRequest, match=path.name):
        read_picture(path)


def _bomb(width: int, height: int) -> bytes:
    """A PNG of a few bytes that says it is huge."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b"\0" * 4096))
        + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize("size", [(8001, 8000), (65_535, 65_535), (2_000_000_000, 2_000_000_000), (100_000_000, 1)])
def test_a_huge_picture_takes_no_memory(tmp_path: Path, size: tuple[int, int]) -> None:
    assert size[0] * size[1] > MAX_PIXELS
    path = tmp_path / "bomb.png"
    path.write_bytes(_bomb(*size))
    before = _resident_bytes()
    with pytest.raises(BadRequest, match=r"bomb\.png"):
        read_picture(path)
    assert _resident_bytes() - before < 50 << 20


@pytest.mark.parametrize("body", [b"", b"hello", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0", b"BM", b"RIFF\0\0\0\0WEBP"])
def test_what_is_no_picture_is_refused(tmp_path: Path, body: bytes) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(body)
    with pytest.raises(BadRequest, match=r"a\.png"):
        read_picture(path)


def _resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096
