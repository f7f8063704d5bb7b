"""Bodies of servers without ranges, read anywhere; and what is told of those that are no media."""

from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from schemas.errors import BadRequest, OutOfSpace, Unavailable
from shared.netguard import HttpReader, Keep, KeptBody, Policy, check
from shared.netguard.kept_body import may_keep
from shared.netguard.what_came import what_came
from tests.support.media_server import MediaServer, media_server

pytestmark = pytest.mark.unit

BODY = bytes(number % 251 for number in range(700_000))
LONG_FTYP = b"\0\0\0\x44ftyp" + 15 * b"isom"  # as of packagers that name all they are compatible with
FTYP, MDAT, MOOV = b"\0\0\0\x10ftypisom\0\0\0\0", b"\0\x01\0\0mdat", b"\0\0\0\x20moov"


@pytest.fixture
def server() -> Iterator[MediaServer]:
    with media_server() as running:
        running.ranges = False
        running.files["/body"] = BODY
        yield running


def reader(server: MediaServer, path: str = "/body") -> HttpReader:
    policy = Policy(schemes=frozenset(("http",)), allow_private=True, file_roots=())
    return HttpReader(check(server.url(path), policy, field="source"))


def test_it_is_read_anywhere_and_asked_for_once(server: MediaServer, tmp_path: Path) -> None:
    body = KeptBody(reader(server), Keep(tmp_path, 1 << 20))
    assert body.seek(-10, 2) == len(BODY) - 10
    assert body.read(100) == BODY[-10:]
    assert body.read(100) == b""
    for place in (0, 500_000, 3):
        body.seek(place)
        assert body.read(1_000) == BODY[place : place + 1_000]
    assert body.tell() == 1_003
    with pytest.raises(BadRequest, match="cannot seek"):
        body.seek(-1)
    assert server.asked() == ["/body"]
    assert list(tmp_path.iterdir()) == [], "a file without a name goes with whoever has it"


def test_it_has_a_bound_and_needs_a_folder(server: MediaServer, tmp_path: Path) -> None:
    body = KeptBody(reader(server), Keep(tmp_path, 300_000))
    assert body.read(10) == BODY[:10]
    body.seek(600_000)
    with pytest.raises(BadRequest, match="300000 bytes are kept"):
        body.read(10)
    with pytest.raises(OutOfSpace, match="make room"):
        KeptBody(reader(server), Keep(tmp_path, 1 << 20, min_free_bytes=1 << 62)).read(10)
    with pytest.raises(Unavailable, match="cannot be kept in"):
        KeptBody(reader(server), Keep(tmp_path / "nowhere", 1 << 20))


def test_what_is_cut_off_says_so_however_often_it_is_read(server: MediaServer, tmp_path: Path) -> None:
    """libav reads on after an error, and the last one is told: that the server knows no ranges."""

    def cut(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(BODY)))
        handler.end_headers()
        handler.wfile.write(BODY[:1000])
        handler.close_connection = True

    server.pages["/cut"] = cut
    body = KeptBody(reader(server, "/cut"), Keep(tmp_path, 1 << 20))
    body.seek(2_000)
    for _ in range(3):
        with pytest.raises(Unavailable, match="closed the connection after 1000 of 700000 bytes"):
            body.read(10)
    body.seek(0)
    assert body.read(10) == BODY[:10], "what has come is there"
    assert server.asked() == ["/cut"]


def test_the_first_bytes_are_there_twice(server: MediaServer) -> None:
    one = reader(server)
    assert one.head() == BODY[:64]
    assert one.tell() == 0
    found = b""
    while len(found) < 100:
        found += one.read(50)
    assert found == BODY[: len(found)]
    one.seek(0)
    assert one.read(10) == BODY[:10]


@pytest.mark.parametrize(
    ("body", "chunked", "kept"),
    [
        (BODY, False, True),
        (b"x" * 800_000, False, False),  # larger than the bound: played in order
        (FTYP + MDAT + BODY, True, True),  # its index comes last
        (FTYP + MOOV + BODY, True, False),  # may be live
        (LONG_FTYP + MOOV + BODY, True, False),  # may be live, too: it is not seen
        (b"FLV\x01" + BODY, True, False),
    ],
)
def test_what_is_kept(server: MediaServer, tmp_path: Path, body: bytes, chunked: bool, kept: bool) -> None:
    server.files["/body"] = body
    if chunked:

        def page(handler: object) -> None:
            handler.send_response(200)  # type: ignore[attr-defined]
            handler.send_header("Connection", "close")  # type: ignore[attr-defined]
            handler.end_headers()  # type: ignore[attr-defined]
            handler.wfile.write(body)  # type: ignore[attr-defined]
            handler.close_connection = True  # type: ignore[attr-defined]

        server.pages["/body"] = page
    one = reader(server)
    assert one.endless is chunked
    assert may_keep(one, Keep(tmp_path, 750_000)) is kept


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"  <!DOCTYPE html>", "text/html"),
        (b"<html><head>", "text/html"),
        (b"just some words", "sends text"),
        (FTYP + MDAT, "moov"),
        (b"\xff\x00\x17" * 9, "damaged"),
        (b"", "nothing in it"),
    ],
)
def test_what_came(server: MediaServer, body: bytes, words: str) -> None:
    server.files["/body"] = body
    assert words in what_came(reader(server))
