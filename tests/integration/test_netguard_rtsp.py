"""RTSP through the gate: cameras of one's own directly, strangers' servers through the relay."""

import threading
import time
from contextlib import suppress
from dataclasses import replace
from itertools import islice

import av
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import InvalidValue, MeshError, NotFound, Unavailable
from shared.netguard import GuardedUrl, Policy, Timeouts, check, open_input
from shared.netguard.rtsp_relay import RtspRelay, _ReplyFilter
from tests.support.rtsp_server import RtspServer, rtsp_server

pytestmark = pytest.mark.integration

POLICY = Policy(schemes=frozenset(("rtsp",)), allow_private=True)
QUICK = Timeouts(open_seconds=2.0, read_seconds=1.0)


def camera(server: RtspServer, userinfo: str = "") -> GuardedUrl:
    return check(f"rtsp://{userinfo}localhost:{server.port}/stream1?x=1", POLICY)


def stranger(server: RtspServer) -> GuardedUrl:
    """As a URL whose name leads to a public address is opened; the server stands at one of ours."""
    return replace(camera(server), policy=replace(POLICY, allow_private=False))


def relays() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "rtsp-relay"]


@pytest.mark.parametrize("kind", [camera, stranger])
def test_it_plays(kind: type) -> None:
    with rtsp_server() as server:
        with open_input(kind(server), timeouts=QUICK) as container:
            frames = list(islice(container.decode(video=0), 20))
        assert [(frame.width, frame.height) for frame in frames] == [(384, 64)] * 20
        assert [line.split()[0] for line in server.lines][:4] == ["OPTIONS", "DESCRIBE", "SETUP", "PLAY"]
        assert "/stream1?x=1" in server.lines[1]
        assert "localhost" not in server.lines[1]
    deadline = time.monotonic() + 2
    while relays() and time.monotonic() < deadline:
        relays()[0].join(0.1)
    assert not relays()


@pytest.mark.parametrize("verb", ["OPTIONS", "DESCRIBE", "SETUP"])
@pytest.mark.parametrize(
    "head",
    [
        "RTSP/1.0 302 Found\r\nCSeq: {cseq}\r\nLocation: {url}\r\n\r\n",
        "rtsp/1.0  301\nCSeq: {cseq}\nlocation:{url}\n\n",
        "\r\n\r\nRTSP/1.0 305 X\r\nCSeq: {cseq}\r\nLOCATION: {url}\r\n\r\n",
        "RTSP/1.0\t302 X\r\nCSeq: {cseq}\r\nLo\rcation: {url}\r\n\r\n",
        "$\x00\x00\x02xxRTSP/1.0 302 X\r\nCSeq: {cseq}\r\nLocation: {url}\r\n\r\n",
        "RTSP/1.0 200 OK\r\nContent-Length: 9999999999\r\nCSeq: {cseq}\r\n\r\nRTSP/1.0 302 X\r\nLocation: {url}\r\n\r\n",
    ],
)
def test_no_redirect_gets_through_the_relay(verb: str, head: str) -> None:
    with rtsp_server() as inside:

        def replies(line: str, headers: dict[str, str]) -> bytes | None:
            url = f"rtsp://127.0.0.1:{inside.port}/inside"
            return head.format(url=url, cseq=headers["cseq"]).encode() if line.startswith(verb) else None

        with rtsp_server(replies) as server, pytest.raises(MeshError) as caught:
            open_input(stranger(server), timeouts=QUICK)
        assert inside.lines == []
        if "Content-Length" not in head:
            assert isinstance(caught.value, InvalidValue)
            assert "redirects" in caught.value.message


def test_libav_by_itself_follows_a_redirect() -> None:
    with rtsp_server() as inside:
        location = f"RTSP/1.0 302 Found\r\nCSeq: 1\r\nLocation: rtsp://127.0.0.1:{inside.port}/inside\r\n\r\n".encode()
        with rtsp_server(lambda line, headers: location) as server, open_input(camera(server), timeouts=QUICK):
            assert inside.lines


def test_credentials_and_refusals() -> None:
    seen: list[str] = []

    def replies(line: str, headers: dict[str, str]) -> bytes | None:
        seen.append(headers.get("authorization", ""))
        if "authorization" in headers:
            return None
        return f'RTSP/1.0 401 Unauthorized\r\nCSeq: {headers["cseq"]}\r\nWWW-Authenticate: Basic realm="x"\r\n\r\n'.encode()

    with rtsp_server(replies) as server:
        guarded = replace(camera(server, "admin:p%40ss@"), policy=replace(POLICY, allow_private=False))
        with open_input(guarded, timeouts=QUICK) as container:
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


def test_a_relay_that_nobody_uses_ends() -> None:
    with rtsp_server() as server:
        relay = RtspRelay(stranger(server), 0.1)
        assert relay.join(2)
        assert relay.error is not None


messages = st.lists(
    st.sampled_from(
        [b"RTSP/1.0 200 OK\r\n", b"RTSP/1.0 302 X\r\n", b"Location: x\r\n", b"\r\n", b"\n", b"$\x00\x00\x03abc", b"$",
         b"Content-Length: 4\r\n", b"Content-Length: -1\n", b"\r", b"RTSP/1.0 ", b"OPTIONS * RTSP/1.0\r\n"]
    )
    | st.binary(max_size=20),
    max_size=25,
)  # fmt: skip


@given(messages, st.integers(1, 7))
def test_the_filter_passes_bytes_on_unchanged_or_raises(parts: list[bytes], chunk: int) -> None:
    data = b"".join(parts)
    guarded = check("rtsp://127.0.0.1/", POLICY)
    whole, pieces = _ReplyFilter(guarded), _ReplyFilter(guarded)
    passed = b""
    with suppress(MeshError):
        for start in range(0, len(data), chunk):
            passed += pieces.pass_on(data[start : start + chunk])
        assert whole.pass_on(data) == passed
    assert data.startswith(passed)


def test_the_relay_is_cheap() -> None:
    packet = b"$\x00" + (1_200).to_bytes(2, "big") + bytes(1_200)
    replies = _ReplyFilter(check("rtsp://127.0.0.1/", POLICY))
    started = time.process_time()
    for _ in range(200):
        assert len(replies.pass_on(packet * 50)) == len(packet) * 50
    assert time.process_time() - started < 0.2  # 12 MB; a second of it is hundreds of cameras


def test_udp_is_not_offered_to_strangers() -> None:
    with rtsp_server() as server:
        with open_input(stranger(server), {"rtsp_transport": "udp"}, QUICK) as container:
            assert isinstance(container, av.container.InputContainer)
        assert any("SETUP" in line for line in server.lines)
