"""Videos from HTTP: what comes, what is refused, and what stays on the disk, which is nothing."""

import itertools
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest

from schemas.sampling import Sampling
from services.frame_extractor.engine import OpenVideo, VideoError, take
from services.frame_extractor.storage import Places, StorageError, StorageSettings, fetch
from services.frame_extractor.storage.fetch import FetchLimits
from services.frame_extractor.storage.spool import Spool
from services.frame_extractor.storage.videos import OpenedVideo, open_remote
from shared.netguard import Policy, addresses, check, open_input
from tests.support.media_server import MediaServer, clip, media_server

pytestmark = pytest.mark.integration

NEVER = threading.Event()
MIB = 1 << 20
LIMITS = FetchLimits(
    video_bytes=8 * MIB, seconds=20.0, bytes_per_second=0, network_seconds=1.0, room_seconds=0.0, slow_seconds=0.3
)
OPEN = Policy(schemes=frozenset(("http", "https")), allow_private=True)


@cache
def movie() -> bytes:
    return clip("mp4")


@pytest.fixture
def server() -> Iterator[MediaServer]:
    with media_server() as running:
        running.files["/clip.mp4"] = movie()
        yield running


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is tried again is tried soon; how long that takes is tried with the object stores."""
    monkeypatch.setattr(fetch, "delays_seconds", lambda: itertools.repeat(0.02))


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    room = Spool(tmp_path / "spool", 16 * MIB)
    yield room
    assert room.used_bytes() == 0  # whatever the test did


def opened(
    url: str, spool: Spool, limits: FetchLimits = LIMITS, stop: threading.Event = NEVER, sparse: bool = False
) -> OpenedVideo:
    return open_remote(check(url, OPEN, "video"), limits, spool, stop, sparse=sparse)


def failure(work: Callable[[], object]) -> StorageError:
    with pytest.raises(StorageError) as caught:
        work()
    return caught.value


def answer(handler: object, head: str, *pieces: bytes, pause_seconds: float = 0.0) -> None:
    """A response by hand; `pieces` follow the header, then the connection ends."""
    handler.wfile.write(head.encode() + b"\r\n\r\n")  # type: ignore[attr-defined]
    with suppress(OSError):
        for piece in pieces:
            if pause_seconds and handler.server.stop.wait(pause_seconds):  # type: ignore[attr-defined]
                break
            handler.wfile.write(piece)  # type: ignore[attr-defined]
    handler.close_connection = True  # type: ignore[attr-defined]


def test_a_video_is_fetched_once(server: MediaServer, spool: Spool) -> None:
    for ranges in (True, False):
        server.ranges = ranges
        with opened(server.url("/clip.mp4", userinfo="a:hush@"), spool) as video:
            assert video.fetched
            assert video.path is not None
            assert video.path.read_bytes() == movie()
            assert "hush" not in repr(video.url)
            with open_input(video.url) as container:
                assert sum(1 for _ in container.decode(video=0)) == 30
            path = video.path
        assert not path.exists()
    assert server.asked() == ["/clip.mp4"] * 2


def test_little_of_it_is_read_in_ranges(server: MediaServer, spool: Spool) -> None:
    small = replace(LIMITS, sparse_bytes=len(movie()))
    with opened(server.url("/clip.mp4"), spool, small, sparse=True) as video:
        assert (video.fetched, video.path, video.size_bytes) == (False, None, len(movie()))
    server.files["/clip.ts"] = clip("mpegts")
    for url, limits in (
        (server.url("/clip.mp4"), LIMITS),  # shorter than is worth it
        (server.url("/clip.ts"), replace(LIMITS, sparse_bytes=0)),  # its times are all over it
    ):
        with opened(url, spool, limits, sparse=True) as video:
            assert video.fetched, url
    server.ranges = False
    with opened(server.url("/clip.mp4"), spool, small, sparse=True) as video:
        assert video.fetched  # a server that knows no ranges leaves no choice


def test_no_room_is_no_reason_to_fail_where_there_are_ranges(server: MediaServer, tmp_path: Path, spool: Spool) -> None:
    tiny = Spool(tmp_path / "tiny", 1000)
    with opened(server.url("/clip.mp4"), tiny) as video:
        assert not video.fetched
    taken = Spool(tmp_path / "taken", len(movie()) + 10)
    other = taken.create()
    other.reserve(100, 0, NEVER)
    with opened(server.url("/clip.mp4"), taken) as video:
        assert not video.fetched
    server.ranges = False
    error = failure(lambda: opened(server.url("/clip.mp4"), taken))
    assert (error.kind, error.may_pass) == ("download", True)
    error = failure(lambda: opened(server.url("/clip.mp4"), tiny))
    assert (error.kind, error.may_pass) == ("video", False)
    assert "FETCH_BYTES" in error.message
    other.remove()


def test_what_servers_answer(server: MediaServer, spool: Spool) -> None:
    server.pages["/busy"] = lambda handler: handler.send_error(503)
    server.pages["/gone"] = lambda handler: handler.send_error(410)
    server.pages["/rude"] = lambda handler: handler.connection.close()
    with socket.create_server(("127.0.0.1", 0)) as unused:
        refused = f"http://127.0.0.1:{unused.getsockname()[1]}/x"
    for url, passing in (
        (server.url("/absent.mp4"), False),
        (server.url("/gone"), False),
        (server.url("/busy"), True),
        (server.url("/rude"), True),
        (refused, True),
    ):
        error = failure(lambda url=url: opened(url, spool))  # type: ignore[misc]
        assert (error.kind, error.may_pass) == ("download", passing), url


def test_lengths_that_are_too_much(server: MediaServer, spool: Spool) -> None:
    sent = threading.Event()

    def endless(handler: object) -> None:
        while not server.stop.is_set():
            handler.wfile.write(bytes(1 << 16))  # type: ignore[attr-defined]
            sent.set()

    server.pages["/5g"] = lambda handler: answer(handler, f"HTTP/1.1 200 OK\r\nContent-Length: {5 << 30}", bytes(1000))
    server.pages["/endless"] = lambda handler: (answer(handler, "HTTP/1.1 200 OK"), endless(handler))
    began = time.monotonic()
    error = failure(lambda: opened(server.url("/5g"), spool))
    assert (error.kind, error.may_pass) == ("video", False)
    assert str(5 << 30) in error.message
    error = failure(lambda: opened(server.url("/endless"), spool))
    assert (error.kind, error.may_pass) == ("video", False)
    assert time.monotonic() - began < 5


def test_servers_that_drip(server: MediaServer, spool: Spool) -> None:
    head = "HTTP/1.1 200 OK\r\nContent-Length: 1000000"
    server.pages["/drip"] = lambda handler: answer(handler, head, *[b"x"] * 1000, pause_seconds=0.05)
    server.pages["/stuck"] = lambda handler: (answer(handler, head, b"x" * 100), server.stop.wait(10))
    server.pages["/silent"] = lambda handler: server.stop.wait(10)
    quick = replace(LIMITS, network_seconds=0.3)
    began = time.monotonic()
    error = failure(lambda: opened(server.url("/drip"), spool, replace(quick, bytes_per_second=1000)))
    assert (error.kind, error.may_pass) == ("download", True)
    assert "bytes a second, less than 1000" in error.message
    error = failure(lambda: opened(server.url("/drip"), spool, replace(quick, seconds=0.25)))
    assert (error.kind, "0.25 s" in error.message) == ("timeout", True)
    error = failure(lambda: opened(server.url("/silent"), spool, quick))
    assert (error.kind, error.may_pass) == ("download", True)
    stop = threading.Event()
    threading.Timer(0.3, stop.set).start()
    patient = replace(LIMITS, network_seconds=10.0)
    asked_at = time.monotonic()
    error = failure(lambda: opened(server.url("/stuck"), spool, patient, stop))
    assert error.kind == "download"
    assert time.monotonic() - asked_at < 2.0
    assert time.monotonic() - began < 8


@pytest.mark.parametrize("ranges", [True, False])
def test_a_body_that_breaks_off_is_gone_on_with(server: MediaServer, spool: Spool, ranges: bool) -> None:
    body, asked = movie(), []

    def broken(handler: object) -> None:
        start = int(handler.headers["Range"].removeprefix("bytes=").partition("-")[0]) if ranges else 0  # type: ignore[attr-defined]
        asked.append(start)
        status = f"206 Partial\r\nContent-Range: bytes {start}-{len(body) - 1}/{len(body)}" if ranges else "200 OK"
        part = body[start:] if len(asked) > 2 else body[start : start + len(body) // 3]
        answer(handler, f"HTTP/1.1 {status}\r\nContent-Length: {len(body) - start}", part)

    server.pages["/broken.mp4"] = broken
    with opened(server.url("/broken.mp4"), spool) as video:
        assert video.path is not None
        assert video.path.read_bytes() == body
    third = len(body) // 3
    assert asked == ([0, third, 2 * third] if ranges else [0, 0, 0])


def test_a_body_that_always_breaks_off(server: MediaServer, spool: Spool) -> None:
    head = "HTTP/1.1 200 OK\r\nContent-Length: 5000"
    server.pages["/cut"] = lambda handler: answer(handler, head, b"x" * 100)
    error = failure(lambda: opened(server.url("/cut"), spool))
    assert (error.kind, error.may_pass) == ("download", True)
    assert 3 <= len(server.asked()) <= 7


def test_a_video_that_changes_meanwhile(server: MediaServer, spool: Spool) -> None:
    def changing(handler: object) -> None:
        start = int(handler.headers["Range"].removeprefix("bytes=").partition("-")[0])  # type: ignore[attr-defined]
        size = 9000 if start else 5000
        head = (
            f"HTTP/1.1 206 Partial\r\nContent-Range: bytes {start}-{size - 1}/{size}\r\nContent-Length: {size - start}"
        )
        answer(handler, head, b"x" * 100)

    server.pages["/live.mp4"] = changing
    error = failure(lambda: opened(server.url("/live.mp4"), spool))
    assert (error.kind, error.may_pass, "changed" in error.message) == ("download", True, True)


def test_a_playlist_stays_where_it_is(server: MediaServer, spool: Spool) -> None:
    server.files["/live.m3u8"] = b"#EXTM3U\n#EXTINF:1,\nhttp://0.0.0.0:1/x.ts\n#EXT-X-ENDLIST\n"
    with opened(server.url("/live.m3u8"), spool) as video:
        assert (video.fetched, video.size_bytes) == (False, None)


@pytest.fixture
def guarded(server: MediaServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Places:
    """Places that may not reach inside; the server's own address counts as outside."""
    real = addresses.refusal

    def refusal(address: addresses.Address, allow_private: bool, *, groups: bool = False) -> str | None:
        return None if str(address) == "127.0.0.1" else real(address, allow_private, groups=groups)

    monkeypatch.setattr(addresses, "refusal", refusal)
    return Places(StorageSettings(data_dir=tmp_path, network_timeout_seconds=2.0), {})


def test_nobody_reaches_inside_through_us(server: MediaServer, guarded: Places) -> None:
    with guarded.open_video(server.url("/clip.mp4")) as video:
        assert video.fetched
    for name, target in {
        "/here": f"http://127.0.0.2:{server.port}/clip.mp4",
        "/metadata": "http://169.254.169.254/latest/meta-data",
        "/private": "http://10.0.0.1/clip.mp4",
        "/decimal": "http://2130706434/clip.mp4",
        "/six": "http://[::ffff:10.0.0.1]/clip.mp4",
        "/file": "file:///etc/passwd",
        "/ftp": "ftp://127.0.0.1/x",
        "/data": "data:text/plain,x",
    }.items():
        server.redirects[name] = target
        error = failure(lambda name=name: guarded.open_video(server.url(name)))  # type: ignore[misc]
        assert (error.kind, error.may_pass) == ("url", False), name
        if target.startswith("http"):
            error = failure(lambda target=target: guarded.open_video(target))  # type: ignore[misc]
            assert (error.kind, error.may_pass) == ("url", False), target
    server.redirects["/loop"] = "/loop"
    error = failure(lambda: guarded.open_video(server.url("/loop")))
    assert (error.kind, "redirects" in error.message) == ("download", True)
    assert guarded.spool.used_bytes() == 0


def test_names_that_lead_inside_or_nowhere(guarded: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    real = socket.getaddrinfo

    def resolver(host: str, *arguments: object, **options: object) -> object:
        if host == "inside.example":
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("10.1.2.3", 80))]
        return real(host, *arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(socket, "getaddrinfo", resolver)
    error = failure(lambda: guarded.open_video("http://inside.example/clip.mp4"))
    assert (error.kind, "10.1.2.3 is in a private network" in error.message) == ("url", True)
    error = failure(lambda: guarded.open_video("http://no-such-host.invalid/clip.mp4"))
    assert (error.kind, error.may_pass) == ("download", True)


def test_a_playlist_leads_nowhere_inside(server: MediaServer, guarded: Places) -> None:
    server.files["/evil.m3u8"] = (
        b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nhttp://127.0.0.2:%d/x.ts\n#EXT-X-ENDLIST\n" % server.port
    )
    with (
        guarded.open_video(server.url("/evil.m3u8")) as video,
        pytest.raises(Exception, match="may not be reached"),
        open_input(video.url) as container,
    ):
        next(container.decode(video=0))
    assert "/x.ts" not in server.asked()


def test_a_file_leads_nowhere_either(server: MediaServer, tmp_path: Path) -> None:
    media = tmp_path / "media"
    media.mkdir()
    (media / "secret.mp4").write_bytes(movie())
    target = server.url("/clip.mp4")
    lists = {
        "hls.mp4": ("video", f"#EXTM3U\n#EXTINF:1,\n{target}\n#EXTINF:1,\nsecret.mp4\n#EXT-X-ENDLIST\n"),
        "concat.mp4": ("format", f"ffconcat version 1.0\nfile '{media}/secret.mp4'\nfile '{target}'\n"),
        "sdp.mp4": ("format", "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nm=video 5004 RTP/AVP 96\n"),
        "dash.mp4": ("video", f"<?xml version='1.0'?><MPD><Period><BaseURL>{target}</BaseURL></Period></MPD>"),
    }
    places = Places(StorageSettings(data_dir=tmp_path, allow_private=True), {})
    for name, (kind, text) in lists.items():
        (media / name).write_text(text)
        server.files[f"/{name}"] = text.encode()
        for url in (f"file://{name}", server.url(f"/{name}")):
            if url.startswith("http") and name == "hls.mp4":
                continue  # over HTTP that is a playlist, held against the same policy
            with places.open_video(url) as video, pytest.raises(VideoError) as caught:
                take(OpenVideo.of_url(video.url), Sampling(), lambda _: None)
            assert caught.value.kind == kind, url
            assert url in caught.value.message
    assert "/clip.mp4" not in server.asked()
