"""RTSP through the gate, with a real server."""

import time
from dataclasses import replace
from itertools import islice

import av
import pytest

from schemas.errors import BadRequest, MeshError, NotFound, Unavailable
from shared.netguard import GuardedUrl, Policy, Timeouts, check, open_input
from tests.support.rtsp_server import RtspServer, rtsp_server

pytestmark = pytest.mark.integration

POLICY = Policy(schemes=frozenset(("rtsp",)), allow_private=True)
QUICK = Timeouts(open_seconds=2.0, read_seconds=1.0)


def camera(server: RtspServer, userinfo: str = "") -> GuardedUrl:
    return check(f"rtsp://{userinfo}localhost:{server.port}/stream1?x=1", POLICY)


def stranger(server: RtspServer) -> GuardedUrl:
    """As a URL whose name leads to a public address is opened; the server stands at one of ours."""
    return replace(camera(server), policy=replace(POLICY, allow_private=False))


@pytest.mark.parametrize("kind", [camera, stranger])
def test_it_plays(kind: type) -> None:
    with rtsp_server() as server:
        with open_input(kind(server), timeouts=QUICK) as container:
            frames = list(islice(container.decode(video=0), 20))
        assert [(frame.width, frame.height) for frame in frames] == [(384, 64)] * 20
        assert [line.split()[0] for line in server.lines][:4] == ["OPTIONS", "DESCRIBE", "SETUP", "PLAY"]
        assert "/stream1?x=1" in server.lines[1]
        assert "localhost" not in server.lines[1]


@pytest.mark.parametrize("verb", ["OPTIONS", "DESCRIBE", "SETUP"])
@pytest.mark.parametrize(
    "head",
    [
        "RTSP/1.0 302 Found\r\nCSeq: {cseq}\r\nLocation: {url}\r\n\r\n",
        "rtsp/1.0  301\nCSeq: {cseq}\nlocation:{url}\n\n",
        "\r\n\r\nRTSP/1.0 305 X\r\nCSeq: {cseq}\r\nLOCATION: {url}\r\n\r\n",
        "RTSP/1.0\t302 X\r\nCSeq: {cseq}\r\nLo\rcation: {url}\r\n\r\n",
        "$\x00\x00\x02xxRTSP/1.0 302 X\r\nCSeq: {cseq}\r\nLocation: {url}\r\n\r\n",
        "RTSP/1.0 200 OK\nContent-Length: 9999999999\nCSeq: {cseq}\n\nRTSP/1.0 302 X\nLocation: {url}\n\n",
    ],
)
def test_no_redirect_is_followed(verb: str, head: str) -> None:
    with rtsp_server() as inside:

        def replies(line: str, headers: dict[str, str]) -> bytes | None:
            url = f"rtsp://127.0.0.1:{inside.port}/inside"
            return head.format(url=url, cseq=headers["cseq"]).encode() if line.startswith(verb) else None

        with rtsp_server(replies) as server, pytest.raises(MeshError):
            open_input(camera(server), timeouts=Timeouts(0.3, 0.3))
        assert inside.lines == []


def test_a_redirect_is_what_is_refused() -> None:
    with rtsp_server() as inside:
        head = f"RTSP/1.0 302 Found\r\nCSeq: 2\r\nLocation: rtsp://127.0.0.1:{inside.port}/inside\r\n\r\n".encode()
        with rtsp_server(lambda line, headers: head if line.startswith("DESCRIBE") else None) as server:
            with pytest.raises(BadRequest, match="if the server redirects"):
                open_input(camera(server), timeouts=QUICK)
            assert inside.lines == []
            with av.open(camera(server).pinned, options={"rtsp_transport": "tcp"}, timeout=2):
                assert inside.lines  # libav by itself does follow it


def test_credentials_and_refusals() -> None:
    seen: list[str] = []

    def replies(line: str, headers: dict[str, str]) -> bytes | None:
        seen.append(headers.get("authorization", ""))
        if "authorization" in headers:
            return None
        cseq = headers["cseq"]
        return f'RTSP/1.0 401 Unauthorized\r\nCSeq: {cseq}\r\nWWW-Authenticate: Basic realm="x"\r\n\r\n'.encode()

    with rtsp_server(replies) as server:
        with open_input(camera(server, "admin:p%40ss@"), timeouts=QUICK) as container:
            assert container.streams.video
        assert "Basic YWRtaW46cEBzcw==" in seen
        with pytest.raises(Unavailable, match="user name and password"):
            open_input(camera(server), timeouts=QUICK)


@pytest.mark.parametrize("kind", [camera, stranger])
def test_what_cameras_answer(kind: type) -> None:
    gone = b"RTSP/1.0 404 Not Found\r\nCSeq: 2\r\n\r\n"
    with rtsp_server(lambda line, headers: gone if line.startswith("DESCRIBE") else None) as server:
        with pytest.raises(NotFound, match="404"):
            open_input(kind(server), timeouts=QUICK)
        guarded = kind(server)
    with pytest.raises(Unavailable):  # nobody listens any more
        open_input(guarded, timeouts=QUICK)
    with rtsp_server(lambda line, headers: b"") as server:
        started = time.monotonic()
        with pytest.raises(Unavailable, match="in time"):
            open_input(kind(server), timeouts=Timeouts(0.5, 0.5))
        assert time.monotonic() - started < 2


def test_udp_is_not_offered_to_strangers() -> None:
    with rtsp_server() as server:
        with open_input(stranger(server), {"rtsp_transport": "udp"}, QUICK):
            assert any("SETUP" in line for line in server.lines)
        with pytest.raises(MeshError):  # this server knows no UDP
            open_input(camera(server), {"rtsp_transport": "udp"}, QUICK)
