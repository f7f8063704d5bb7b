"""Few pictures of a long remote video: the right ones, without the transfer of all of it."""

import hashlib
import socket
import threading
from collections.abc import Iterator

import pytest

from schemas.sampling import Sampling
from services.frame_extractor.engine import OpenVideo, Taken, take
from services.frame_extractor.engine.limits import Halt, Limits
from services.frame_extractor.engine.outline import check_entries, read_outlined
from services.frame_extractor.engine.targets import moments
from shared.netguard import Policy, check
from tests.support.media_server import MediaServer, clip, media_server

pytestmark = pytest.mark.integration

POLICY = Policy(schemes=frozenset(("http",)), allow_private=True)
FEW = Sampling(mode="timestamps", timestamps_s=(2.0, 9.05, 13.3))


class CountingServer:
    """Serves one video in ranges, and counts what it could send before the client had enough."""

    def __init__(self, server: MediaServer, body: bytes) -> None:
        self.body, self.sent = body, 0
        server.pages["/video.mp4"] = self._answer
        self.url = check(server.url("/video.mp4"), POLICY)

    def _answer(self, handler: object) -> None:
        connection: socket.socket = handler.connection  # type: ignore[attr-defined]
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 32_768)
        first, _, last = handler.headers["Range"].removeprefix("bytes=").partition("-")  # type: ignore[attr-defined]
        start, end = int(first), int(last or len(self.body) - 1) + 1
        head = f"HTTP/1.1 206 Partial\r\nContent-Range: bytes {start}-{end - 1}/{len(self.body)}\r\n"
        handler.close_connection = True  # type: ignore[attr-defined]
        try:
            connection.sendall(f"{head}Content-Length: {end - start}\r\n\r\n".encode())
            for at in range(start, end, 16_384):
                self.sent += connection.send(self.body[at : min(at + 16_384, end)])
        except OSError:
            pass


@pytest.fixture(scope="module")
def movie() -> bytes:
    return clip("mp4", 450)


@pytest.fixture
def server() -> Iterator[MediaServer]:
    with media_server() as running:
        yield running


def pictures(video: OpenVideo, sampling: Sampling) -> dict[int, tuple[float, str]]:
    found: dict[int, tuple[float, str]] = {}

    def note(taken: Taken) -> None:
        found[taken.number] = taken.pts_s, hashlib.sha256(taken.frame.to_ndarray().tobytes()).hexdigest()

    take(video, sampling, note, threads=2)
    return found


def test_few_pictures_cost_little(server: MediaServer, movie: bytes) -> None:
    assert len(movie) > 6 << 20
    counted = CountingServer(server, movie)
    assert pictures(OpenVideo.of_url(counted.url), FEW) == pictures(OpenVideo.of_bytes(movie), FEW)
    # Each of five openings reads on until the connection is closed; a longer video costs no more.
    assert counted.sent < 0.6 * len(movie)


def test_many_pictures_are_the_same_too(server: MediaServer, movie: bytes) -> None:
    counted = CountingServer(server, movie)
    many = Sampling(mode="middle", fps=2)
    assert pictures(OpenVideo.of_url(counted.url), many) == pictures(OpenVideo.of_bytes(movie), many)


def test_the_container_is_not_believed_where_decoding_begins(server: MediaServer, movie: bytes) -> None:
    video, halt = OpenVideo.of_url(CountingServer(server, movie).url), Halt(threading.Event(), 60.0)
    index = read_outlined(video, Limits(), halt)
    assert index is not None
    assert index.entry.sum() == 45
    index.entry[95] = True  # as if it had called this packet a key picture
    chosen = moments(Sampling(mode="timestamps", timestamps_s=(97 / 30,)), index, Limits())
    assert check_entries(video, index, chosen, halt)
    assert not index.entry[95]
    assert index.entry[90]


@pytest.mark.parametrize("options", [{"movflags": "frag_keyframe+empty_moov"}, None])
def test_what_has_no_outline(server: MediaServer, options: dict[str, str] | None) -> None:
    body = clip("mp4", 250, options) if options else clip("mpegts", 60)
    counted = CountingServer(server, body)
    video = OpenVideo.of_url(counted.url)
    assert read_outlined(video, Limits(), Halt(threading.Event(), 60.0)) is None
