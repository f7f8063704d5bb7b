"""What a WHIP destination's URL says, and what its server's headers say."""

import pytest
from aiortc.mediastreams import MediaStreamError

from schemas.errors import InvalidValue
from schemas.resources import OutputSpec
from services.publisher.outputs import format_of
from services.publisher.push_wire import PushPacket
from services.publisher.whip_endpoint import POLICY, WhipEndpoint, _beyond, split_token
from services.publisher.whip_ice_servers import IceServer, admitted, ice_servers_of
from services.publisher.whip_tracks import PacketTrack
from shared.netguard import check
from shared.urls import redact

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("url", "asked", "token"),
    [
        ("https://h/whip/cam0", "https://h/whip/cam0", ""),
        ("https://h/whip/cam0?token=a%2Bb", "https://h/whip/cam0", "a+b"),
        ("https://h:8443/whip?room=1&token=abcd&x=2", "https://h:8443/whip?room=1&x=2", "abcd"),
        ("https://me:s%40cret@h/whip", "https://h/whip", "s@cret"),
        ("http://me:other@[::1]:80/whip?token=first", "http://[::1]:80/whip", "first"),
    ],
)
def test_the_token_leaves_the_url(url: str, asked: str, token: str) -> None:
    assert split_token(url) == (asked, token)
    assert format_of(OutputSpec(stream="cam0", output="live", to=url), url) == "whip"
    shown, secret = redact(url, stream_key=True)
    assert secret == bool(token)
    assert not token or token not in shown
    assert WhipEndpoint(url, 1.0).shown == shown


def test_ice_servers_of_link_headers() -> None:
    links = [
        '<stun:stun.example.net>; rel="ice-server"',
        '<turn:turn.example.net?transport=udp>; rel="ice-server"; username="user"; credential="my;secret"; '
        'credential-type="password", <turns:turn.example.net?transport=tcp>; rel=ice-server; username=u; credential=c',
        '<https://example.net/next>; rel="next"',
        '<http://10.0.0.1/>; rel="ice-server"',
        "<<<;;;rel=ice-server",
    ]
    assert ice_servers_of(links) == (
        IceServer("stun:stun.example.net"),
        IceServer("turn:turn.example.net?transport=udp", "user", "my;secret"),
        IceServer("turns:turn.example.net?transport=tcp", "u", "c"),
    )
    assert len(ice_servers_of(['<stun:a>; rel="ice-server"'] * 50)) == 4
    assert ice_servers_of(["<" + "stun:" * 100_000, "<stun:a>" + "; a=b" * 100_000]) == ()


def test_what_a_server_may_point_to() -> None:
    here, out = "http://127.0.0.1/whip", "https://93.184.215.14/whip"
    assert _beyond(check(here, POLICY), POLICY) == POLICY, "a server of our own network knows the way in it"
    public = _beyond(check(out, POLICY), POLICY)
    for url in (here, "https://10.0.0.1/", "http://93.184.215.14/"):
        with pytest.raises(InvalidValue):
            check(url, public)
    assert check(out, public).scheme == "https"
    named = [
        IceServer(url) for url in ("stun:93.184.215.14", "stun:", "turn:10.0.0.1:22?transport=tcp", "turn:a:99999")
    ]
    assert admitted(named, public, 1.0) == (IceServer("stun:93.184.215.14:3478"),)
    assert admitted(named, POLICY, 1.0)[1:] == (IceServer("turn:10.0.0.1:22?transport=tcp"),)


def packet(number: int, *, key: bool = False) -> PushPacket:
    return PushPacket("video", number * 40_000_000, number * 40_000_000, 40_000_000, key)


async def test_a_full_track_drops_to_the_next_key_picture() -> None:
    lost: list[int] = []
    track = PacketTrack("video", lost.append)
    for number in range(121):
        track.put(packet(number, key=number == 0), memoryview(b"x"))
    assert sum(lost) == 121, "the queue, and the picture that needs it"
    track.put(packet(121), memoryview(b"x"))
    track.put(packet(122, key=True), memoryview(b"key"))
    assert sum(lost) == 122
    sent = await track.recv()
    assert (bytes(sent), sent.pts, float(sent.time_base)) == (b"key", 122 * 3_600, 1 / 90_000)
    track.stop()
    with pytest.raises(MediaStreamError):
        await track.recv()
