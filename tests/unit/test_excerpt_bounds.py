"""What reading a remote video in parts may cost at most, whatever its server and its index say."""

import socket
import threading
from collections.abc import Iterator
from contextlib import suppress

import pytest

from services.frame_extractor.excerpts.matroska import MAGIC, map_matroska
from services.frame_extractor.excerpts.source import Bounded, TooMuchError
from services.frame_extractor.storage import StorageCounts, StorageError
from services.frame_extractor.storage.fetch import FetchLimits
from services.frame_extractor.storage.parts import Parts
from shared.netguard import GuardedUrl, Policy, check


class Zeros:
    """A source of as many as one likes."""

    def __init__(self, begins: bytes, size_bytes: int) -> None:
        self.begins, self.size_bytes, self.read_bytes, self.fragmented = begins, size_bytes, 0, False

    def read(self, start: int, end: int) -> bytes:
        self.read_bytes += end - start
        return self.begins[start:end].ljust(end - start, b"\0")


def test_finding_parts_never_costs_more_than_half_of_the_video() -> None:
    source = Bounded(Zeros(b"", 1000))
    for start in (0, 300, 100, 700):
        source.read(start, start + 125)
    with pytest.raises(TooMuchError):
        source.read(0, 1)


def test_a_header_that_says_it_is_long_is_not_read() -> None:
    # A header of 4 GiB, and a segment behind it that has an information, a list of tracks and cues.
    source = Zeros(MAGIC + b"\x01" + (4 << 30).to_bytes(7, "big"), 8 << 30)
    with pytest.raises(ValueError, match="a header that is too long"):
        map_matroska(source)
    assert source.read_bytes < 100


@pytest.fixture
def dripping() -> Iterator[GuardedUrl]:
    """A video whose server sends a byte every 20 ms."""
    ended = threading.Event()

    def serve() -> None:
        with suppress(OSError):
            connection, _ = server.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(b"HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 0-9999/10000\r\n")
                connection.sendall(b"Content-Length: 10000\r\n\r\n")
                while not ended.wait(0.02):
                    connection.sendall(b"x")

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=serve)
        thread.start()
        policy = Policy(schemes=frozenset(("http",)), allow_private=True)
        yield check(f"http://127.0.0.1:{server.getsockname()[1]}/a.mkv", policy, "video")
        ended.set()
        thread.join()


@pytest.mark.timeout(10)
@pytest.mark.parametrize(
    ("limits", "kind", "said"),
    [
        (FetchLimits(1 << 30, 60.0, 8192, 5.0, slow_seconds=0.3), "download", "bytes a second, less than 8192"),
        (FetchLimits(1 << 30, 0.3, 1, 5.0), "timeout", "not here within 0.3 s"),
    ],
)
def test_patience_with_a_server_is_the_same_in_parts(
    dripping: GuardedUrl, limits: FetchLimits, kind: str, said: str
) -> None:
    parts = Parts(dripping, limits, 10_000, threading.Event(), StorageCounts())
    with pytest.raises(StorageError, match=said) as failed:
        parts.read(0, 10_000)
    assert failed.value.kind == kind
