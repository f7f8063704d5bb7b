"""HTTP through the gate, with real servers: what plays, and what cannot be reached by any trick."""

import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from functools import cache
from pathlib import Path

import av
import pytest

from schemas.errors import BadRequest, InvalidValue, MeshError, NotFound, Unavailable
from shared.netguard import HttpReader, Policy, Timeouts, check, explain_av_error, open_input
from tests.support.media_server import PASSWORD, USER, MediaServer, clip, media_server

pytestmark = pytest.mark.integration

POLICY = Policy(schemes=frozenset(("http", "https", "file")), allow_private=True)
QUICK = Timeouts(open_seconds=1.0, read_seconds=0.5)
FORBIDDEN_HOST = "0.0.0.0"  # Linux connects it to this machine, so the server sees whether somebody tried


@cache
def media(container: str) -> bytes:
    return clip(container)


@pytest.fixture
def server() -> Iterator[MediaServer]:
    with media_server() as running:
        running.files["/clip.mp4"] = media("mp4")
        running.files["/seg0.ts"] = running.files["/seg1.ts"] = media("mpegts")
        yield running


def playlist(*entries: str, ended: bool = True) -> bytes:
    lines = ["#EXTM3U", "#EXT-X-VERSION:3", "#EXT-X-TARGETDURATION:1", "#EXT-X-MEDIA-SEQUENCE:0"]
    for entry in entries:
        lines += ["#EXTINF:1.0,", entry]
    return "\n".join([*lines, "#EXT-X-ENDLIST" if ended else "", ""]).encode()


def pictures(url: str, timeouts: Timeouts | None = None, policy: Policy = POLICY) -> int:
    """How many pictures can be decoded; every error comes out as a MeshError."""
    container = open_input(check(url, policy), timeouts=timeouts or Timeouts(3, 3))
    with container:
        try:
            return sum(1 for _ in container.decode(video=0))
        except (av.FFmpegError, MeshError) as error:
            raise explain_av_error(error, "source", [url]) from None


def test_a_file_is_sought_in(server: MediaServer) -> None:
    with open_input(check(server.url("/clip.mp4"), POLICY)) as container:
        assert container.format.name.startswith("mov")
        container.seek(int(0.7 * av.time_base))
        frame = next(container.decode(video=0))
        assert frame.time == pytest.approx(20 / 30, abs=0.01)
    ranges = [headers["Range"] for _, headers in server.requests]
    assert ranges[0] == "bytes=0-"
    assert pictures(server.url("/clip.mp4")) == 30


def test_the_index_at_the_end_of_a_large_file(server: MediaServer) -> None:
    head, tail = media("mp4").split(b"moov", 1)
    free = (600_000).to_bytes(4, "big") + b"free" + bytes(600_000 - 8)  # too far to read over
    server.files["/large.mp4"] = head[:-4] + free + head[-4:] + b"moov" + tail
    assert pictures(server.url("/large.mp4")) == 30
    assert len({headers["Range"] for _, headers in server.requests}) > 1


def test_who_jumps_about_asks_for_little(server: MediaServer) -> None:
    body = server.files["/large"] = bytes(range(256)) * 16_384
    reader = HttpReader(check(server.url("/large"), POLICY))
    for position in (3_000_000, 1_000_001):
        reader.seek(position)
        some = reader.read(1000)
        assert some == body[position : position + len(some)] != b""
    data = b""
    reader.seek(500_000)
    while more := reader.read(1 << 20):
        data += more
    assert data == body[500_000:]
    assert reader.tell() == reader.size_bytes == len(body)
    assert [headers["Range"] for _, headers in server.requests] == [
        "bytes=0-",
        "bytes=3000000-3524287",
        "bytes=1000001-1524288",
        "bytes=500000-1024287",
        "bytes=1024288-2072863",
        "bytes=2072864-4170015",
        "bytes=4170016-4194303",
    ]


def test_a_file_that_is_cut_while_it_is_read(server: MediaServer) -> None:
    server.files["/large"] = bytes(4 << 20)
    reader = HttpReader(check(server.url("/large"), POLICY))
    reader.seek(3 << 20)
    assert reader.read(100)
    server.files["/large"] = bytes((3 << 20) + (600 << 10))
    total = 100
    while more := reader.read(1 << 20):
        total += len(more)
    assert total == 600 << 10


def test_a_server_without_ranges(server: MediaServer) -> None:
    server.ranges = False
    assert pictures(server.url("/seg0.ts")) == 30
    assert not HttpReader(check(server.url("/seg0.ts"), POLICY)).seekable()


def test_host_name_stays_while_the_address_is_pinned(server: MediaServer) -> None:
    assert pictures(server.url("/seg0.ts", host="localhost")) == 30
    assert {headers["Host"] for _, headers in server.requests} == {f"localhost:{server.port}"}


def test_hls(server: MediaServer) -> None:
    server.files["/hls/live.m3u8"] = playlist("../seg0.ts", server.url("/seg1.ts"))
    assert pictures(server.url("/hls/live.m3u8")) == 60
    server.files["/main.m3u8"] = b"#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1000\nhls/live.m3u8\n"
    assert pictures(server.url("/main.m3u8")) == 60


def test_hls_byte_ranges(server: MediaServer) -> None:
    body = media("mpegts")
    server.files["/both.ts"] = body + body
    text = playlist("both.ts", "both.ts").decode()
    parts = text.split("#EXTINF:1.0,\n")
    size = len(body)
    server.files["/r.m3u8"] = (
        f"{parts[0].replace('VERSION:3', 'VERSION:4')}#EXTINF:1.0,\n#EXT-X-BYTERANGE:{size}@0\n{parts[1]}"
        f"#EXTINF:1.0,\n#EXT-X-BYTERANGE:{size}@{size}\n{parts[2]}"
    ).encode()
    assert pictures(server.url("/r.m3u8")) == 60
    assert f"bytes={size}-{2 * size - 1}" in [headers["Range"] for _, headers in server.requests]


def test_redirects_that_pass(server: MediaServer) -> None:
    server.redirects["/old"] = "/hls/new.m3u8"
    server.files["/hls/new.m3u8"] = playlist("seg.ts")  # relative to where the redirect led
    server.files["/hls/seg.ts"] = media("mpegts")
    assert pictures(server.url("/old")) == 30
    server.redirects["/a"] = server.url("/b", host="localhost")
    server.redirects["/b"] = "seg0.ts"
    assert pictures(server.url("/a")) == 30


def test_a_redirect_loop_ends(server: MediaServer) -> None:
    server.redirects["/loop"] = "/loop"
    with pytest.raises(Unavailable, match="redirects"):
        pictures(server.url("/loop"))
    assert len(server.requests) < 10


@pytest.mark.parametrize(
    "location",
    ["http://169.254.169.254/latest/meta-data/", "file:///etc/passwd", "ftp://127.0.0.1/x", "http://[::ffff:7f00:1]/",
     "//169.254.169.254/", "gopher://x", "http://2852039166/"],
)  # fmt: skip
def test_redirects_that_do_not(server: MediaServer, location: str) -> None:
    server.redirects["/r"] = location
    with pytest.raises(InvalidValue, match="redirects to"):
        pictures(server.url("/r"))
    assert server.asked() == ["/r"]


def test_a_redirect_to_a_forbidden_host_is_not_followed(server: MediaServer) -> None:
    server.redirects["/r"] = server.url("/seg0.ts", host=FORBIDDEN_HOST)
    with pytest.raises(InvalidValue, match="unspecified"):
        pictures(server.url("/r"))
    assert server.asked() == ["/r"]
    with av.open(server.url("/r")) as container:  # libav by itself does follow it
        assert container.duration
    assert "/seg0.ts" in server.asked()


def evil(server: MediaServer, tmp_path: Path, kind: str) -> tuple[str, str]:
    """A playlist entry that leads where it must not, and what a request for it would look like."""
    stolen = tmp_path / "stolen.ts"
    stolen.write_bytes(media("mpegts"))
    return {
        "file": (f"file://{stolen}", "-"),
        "path": (str(stolen), "-"),  # a path on the same server, which has no such file
        "metadata": ("http://169.254.169.254/latest.ts", "-"),
        "forbidden": (server.url("/seg0.ts", host=FORBIDDEN_HOST), "/seg0.ts"),
        "mapped": (server.url("/seg0.ts", host="[::ffff:127.0.0.1]"), "/seg0.ts"),
        "redirect": ("jump.ts", "/seg0.ts"),
        "concat": (f"concat:{server.url('/seg0.ts')}|file://{stolen}", "/seg0.ts"),
        "subfile": (f"subfile,,start,0,end,0,,:{stolen}", "-"),
        "data": ("data:video/mp2t;base64,R0AAEAAA", "-"),
        "crypto": (f"crypto:file://{stolen}", "-"),
        "tcp": (f"tcp://127.0.0.1:{server.port}/x.ts", "-"),
        "async": (f"async:cache:file://{stolen}", "-"),
    }[kind]


KINDS = [
    "file",
    "path",
    "metadata",
    "forbidden",
    "mapped",
    "redirect",
    "concat",
    "subfile",
    "data",
    "crypto",
    "tcp",
    "async",
]


@pytest.mark.parametrize("place", ["only", "second", "variant", "key", "map"])
@pytest.mark.parametrize("kind", KINDS)
def test_hostile_playlists(server: MediaServer, tmp_path: Path, kind: str, place: str) -> None:
    entry, tell = evil(server, tmp_path, kind)
    server.redirects["/jump.ts"] = server.url("/seg0.ts", host=FORBIDDEN_HOST)
    server.files["/good.ts"] = media("mpegts")
    if place == "variant":
        body = f"#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1000\n{entry}\n".encode()
    elif place == "key":
        body = playlist("good.ts").replace(b"#EXTINF", f'#EXT-X-KEY:METHOD=AES-128,URI="{entry}"\n#EXTINF'.encode(), 1)
    elif place == "map":
        body = playlist("good.ts").replace(b"#EXTINF", f'#EXT-X-MAP:URI="{entry}"\n#EXTINF'.encode(), 1)
    else:
        body = playlist(entry) if place == "only" else playlist("good.ts", entry)
    server.files["/evil.m3u8"] = body
    allowed = 30 if place in ("second", "map") else 0  # those of good.ts
    seen = 0
    with suppress(MeshError):
        seen = pictures(server.url("/evil.m3u8"), Timeouts(1.5, 1.5))
    assert seen <= allowed
    assert tell not in server.asked()


@pytest.mark.parametrize(
    ("kind", "reason"),
    [("file", "only http://"), ("metadata", "link-local"), ("forbidden", "unspecified"), ("redirect", "unspecified")],
)
def test_a_hostile_entry_says_why(server: MediaServer, tmp_path: Path, kind: str, reason: str) -> None:
    server.redirects["/jump.ts"] = server.url("/seg0.ts", host=FORBIDDEN_HOST)
    server.files["/evil.m3u8"] = playlist(evil(server, tmp_path, kind)[0])
    with pytest.raises(InvalidValue, match=reason):
        pictures(server.url("/evil.m3u8"))


def test_other_formats_that_open_files(server: MediaServer, tmp_path: Path) -> None:
    stolen = tmp_path / "stolen.ts"
    stolen.write_bytes(media("mpegts"))
    bodies = {
        "/list.ffconcat": f"ffconcat version 1.0\nfile '{server.url('/seg0.ts', host=FORBIDDEN_HOST)}'\n",
        "/a.sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 5004 RTP/AVP 96\n",
        "/a.mpd": "<?xml version='1.0'?><MPD xmlns='urn:mpeg:dash:schema:mpd:2011'></MPD>",
        "/img%03d.jpg": "x",
    }
    for path, body in bodies.items():
        server.files[path] = body.encode()
        with pytest.raises(MeshError):
            pictures(server.url(path.replace("%", "%25")), QUICK)
    assert "/seg0.ts" not in server.asked()


def test_a_local_playlist_opens_nothing(server: MediaServer, tmp_path: Path) -> None:
    (tmp_path / "seg.ts").write_bytes(media("mpegts"))
    policy = Policy(schemes=frozenset(("file",)), file_roots=(tmp_path,))
    assert pictures(f"file://{tmp_path}/seg.ts", policy=policy) == 30
    for name, body in {
        "a.m3u8": playlist("seg.ts"),
        "b.ts": playlist(server.url("/seg0.ts")),
        "c.txt": b"ffconcat version 1.0\nfile 'seg.ts'\n",
    }.items():
        (tmp_path / name).write_bytes(body)
        with pytest.raises(BadRequest, match="media"):
            pictures(f"file://{name}", policy=policy)
    assert server.asked() == []


@pytest.mark.parametrize("auth", ["basic", "digest"])
def test_credentials(server: MediaServer, auth: str) -> None:
    server.auth = auth
    userinfo = f"{USER}:{PASSWORD.replace('@', '%40').replace(':', '%3A')}@"
    server.files["/live.m3u8"] = playlist("seg0.ts?a=1&b=2")
    assert pictures(server.url("/live.m3u8", userinfo=userinfo)) == 30
    with pytest.raises(Unavailable, match="user name and password") as caught:
        pictures(server.url("/live.m3u8", userinfo=f"{USER}:wrongwrong@"))
    assert "wrongwrong" not in caught.value.message


def test_credentials_go_to_their_own_origin_only(server: MediaServer) -> None:
    server.auth = "basic"
    with media_server() as other:
        other.auth = "basic"
        server.redirects["/away"] = other.url("/x")
        userinfo = f"{USER}:{PASSWORD.replace('@', '%40')}@"
        with pytest.raises(Unavailable):
            pictures(server.url("/away", userinfo=userinfo))
        assert other.asked()
        assert not any("Authorization" in headers for _, headers in other.requests)


def test_what_servers_answer(server: MediaServer) -> None:
    with pytest.raises(NotFound, match="404"):
        pictures(server.url("/gone.mp4"))
    server.pages["/busy"] = lambda handler: handler.send_error(503)
    with pytest.raises(Unavailable, match="503"):
        pictures(server.url("/busy"))
    server.pages["/teapot"] = lambda handler: handler.send_error(418)
    with pytest.raises(BadRequest, match="418"):
        pictures(server.url("/teapot"))
    server.files["/page.html"] = b"<html>" * 500
    with pytest.raises(BadRequest, match="not media"):
        pictures(server.url("/page.html"))
    server.pages["/rude"] = lambda handler: handler.connection.close()
    with pytest.raises(Unavailable):
        pictures(server.url("/rude"), QUICK)


def test_what_a_server_says_is_fit_to_show(server: MediaServer) -> None:
    def answer(handler: object) -> None:
        line = f"HTTP/1.1 503 \x1b[2J{PASSWORD}\rX-Injected: 1\r\nContent-Length: 0\r\n\r\n"
        handler.wfile.write(line.encode())  # type: ignore[attr-defined]

    server.pages["/x"] = answer
    with pytest.raises(Unavailable, match="answers 503") as caught:
        pictures(server.url("/x").replace("://", f"://{USER}:{PASSWORD}@"))
    assert PASSWORD not in str(caught.value)
    assert str(caught.value).isprintable()


def test_nobody_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    with pytest.raises(Unavailable, match="refused"):
        pictures(f"http://127.0.0.1:{port}/x", QUICK)


def test_deadlines(server: MediaServer) -> None:
    server.pages["/silent"] = lambda handler: server.stop.wait(10)

    def drip(handler: object) -> None:  # a byte of header now and then: no single read times out
        while not server.stop.wait(0.1):
            handler.wfile.write(b"x")  # type: ignore[attr-defined]

    def half(handler: object) -> None:
        handler.wfile.write(b"HTTP/1.1 200 OK\r\n\r\n" + media("mpegts")[:400])  # type: ignore[attr-defined]
        server.stop.wait(10)

    server.pages["/drip"] = drip
    server.pages["/half"] = half
    for path in ("/silent", "/drip", "/half"):
        started = time.monotonic()
        with pytest.raises(Unavailable, match=r"no answer|in time"):
            pictures(server.url(path), QUICK)
        assert time.monotonic() - started < 2.5, path


def endless_playlist(handler: object, piece: bytes, seconds: float) -> None:
    handler.wfile.write(b"HTTP/1.1 200 OK\r\n\r\n" + playlist("seg0.ts", ended=False))  # type: ignore[attr-defined]
    with suppress(OSError):
        while not handler.server.stop.wait(seconds):  # type: ignore[attr-defined]
            handler.wfile.write(piece)  # type: ignore[attr-defined]


def test_a_playlist_without_end(server: MediaServer) -> None:
    """libav reads a playlist to its end before it looks at a deadline, and keeps all of it."""
    server.pages["/flood.m3u8"] = lambda handler: endless_playlist(handler, b"#EXTINF:1,\nseg0.ts\n" * 1000, 0)
    server.pages["/drip.m3u8"] = lambda handler: endless_playlist(handler, b"#EXTINF:1,\nseg0.ts\n", 0.1)
    for path, error, words in (
        ("/flood.m3u8", BadRequest, "playlist has more than"),
        ("/drip.m3u8", Unavailable, "no whole playlist within 1 s"),
    ):
        started = time.monotonic()
        with pytest.raises(error, match=words):
            pictures(server.url(path), QUICK)
        assert time.monotonic() - started < 4, path


def test_variants_without_end(server: MediaServer) -> None:
    def late(handler: object) -> None:
        server.stop.wait(0.5)
        handler.wfile.write(b"HTTP/1.1 200 OK\r\n\r\n" + playlist("seg0.ts"))  # type: ignore[attr-defined]

    variants = "".join(f"#EXT-X-STREAM-INF:BANDWIDTH={number}\nv{number}.m3u8\n" for number in range(1, 40))
    server.files["/master.m3u8"] = b"#EXTM3U\n" + variants.encode()
    for number in range(1, 40):
        server.pages[f"/v{number}.m3u8"] = late
    started = time.monotonic()
    with pytest.raises(Unavailable, match="too long to open"):
        pictures(server.url("/master.m3u8"), QUICK)
    assert time.monotonic() - started < 8  # 4 s, and 20 s for all


def test_a_body_that_is_cut_short(server: MediaServer) -> None:
    def cut(handler: object) -> None:
        body = media("mpegts")
        handler.wfile.write(f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n".encode())  # type: ignore[attr-defined]
        handler.wfile.write(body[: len(body) // 2])  # type: ignore[attr-defined]

    server.pages["/cut"] = cut
    with pytest.raises(Unavailable, match="closed the connection after"):
        pictures(server.url("/cut"), QUICK)


def test_a_lost_segment_does_not_end_a_live_playlist(server: MediaServer) -> None:
    server.files["/live.m3u8"] = playlist("seg0.ts", "lost.ts", "seg1.ts")
    assert pictures(server.url("/live.m3u8")) == 60
    server.files["/dead.m3u8"] = playlist(*(f"lost{number}.ts" for number in range(20)))
    with pytest.raises(NotFound, match="404"):
        pictures(server.url("/dead.m3u8"))
    assert sum("lost" in path for path in server.asked()) < 15


def test_an_endless_chunked_stream(server: MediaServer) -> None:
    hung_up = threading.Event()

    def endless(handler: object) -> None:
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")  # type: ignore[attr-defined]
        body = media("mpegts")
        try:
            while not server.stop.is_set():
                handler.wfile.write(b"%x\r\n%b\r\n" % (len(body), body))  # type: ignore[attr-defined]
        except OSError:
            hung_up.set()

    server.pages["/endless"] = endless
    with open_input(check(server.url("/endless"), POLICY), timeouts=QUICK) as container:
        for number, _ in enumerate(container.decode(video=0)):
            if number == 200:
                break
    assert number == 200
    del container  # libav's container closes no file that it was given; letting go of it does
    assert hung_up.wait(2)


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """Key and certificate for `localhost`, signed by itself."""
    file = tmp_path / "localhost.pem"
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=localhost"
    names = ["-addext", "subjectAltName=DNS:localhost", "-keyout", str(file), "-out", str(tmp_path / "cert.pem")]
    subprocess.run([*command.split(), *names], check=True, capture_output=True, timeout=20)
    file.write_bytes(file.read_bytes() + (tmp_path / "cert.pem").read_bytes())
    return file


def test_https(server: MediaServer, certificate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    names: list[str | None] = []
    context.sni_callback = lambda connection, name, _: names.append(name)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    url = server.url("/seg0.ts", host="localhost").replace("http://", "https://")
    with pytest.raises(Unavailable, match="certificate is not valid for localhost"):
        pictures(url, QUICK)
    assert pictures(url, QUICK, replace(POLICY, verify_tls=False)) == 30
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    assert pictures(url, QUICK) == 30
    assert set(names) == {"localhost"}  # the name asked for, though the address was pinned
    with pytest.raises(Unavailable, match="certificate"):
        pictures(url.replace("localhost", "127.0.0.1"), QUICK)


def test_reader_as_a_file(server: MediaServer) -> None:
    body = server.files["/clip.mp4"]
    reader = HttpReader(check(server.url("/clip.mp4"), POLICY), QUICK)
    assert reader.seekable()
    assert reader.read(10) == body[:10]
    assert reader.seek(-5, 2) == len(body) - 5
    assert reader.read(100) == body[-5:]
    assert reader.read(100) == b""
    reader.seek(1_000)
    assert reader.tell() == 1_000
    assert reader.read(4) == body[1_000:1_004]
    reader.seek(2_000)  # a little ahead: read over, not asked for
    assert reader.read(4) == body[2_000:2_004]
    assert len(server.requests) == 3
    reader.seek(len(body) + 10)
    assert reader.read(1) == b""
    with pytest.raises(BadRequest):
        reader.seek(-1)
    reader.close()
