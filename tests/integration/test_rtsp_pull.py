"""The RTSP server against real players, and against clients that no player would be."""

import asyncio
import itertools
import os
import random
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator

import av
import pytest

from tests.support.packets import clip
from tests.support.peers import wait_until
from tests.support.rtsp_rig import Client, RtspRig, Source, clients, coded

pytestmark = pytest.mark.integration

CODECS = ("hevc", "vp8", "vp9", "av1", "mjpeg")
PASSWORD = "pa55-w0rd"
_SPEED = 3.0  # players take pictures as they come; who waits for them waits a third
_SOON = {"analyzeduration": "300000"}  # libav looks at a second and more of pictures else


@pytest.fixture(scope="module")
def rig() -> Iterator[RtspRig]:
    sources = {f"cam0/{codec}": Source(coded(codec, 1.0), _SPEED) for codec in CODECS}
    sources["cam0/main"] = Source(clip(2.0), _SPEED)
    sources["cam0/bframes"] = Source(clip(2.0, bframes=2), _SPEED)
    sources["cam0/noise"] = Source(clip(1.0, width=640, height=480, noise=True, tracks=("video",)))
    with RtspRig(sources) as rig:
        yield rig


def pulled(url: str, transport: str, packets: int) -> dict[str, list[av.Packet]]:
    """What PyAV demuxes until there are so many pictures."""
    found: dict[str, list[av.Packet]] = {}
    with av.open(url, options={"rtsp_transport": transport, **_SOON}, timeout=10) as container:
        for packet in container.demux():
            found.setdefault(packet.stream.type, []).append(packet)
            if len(found.get("video", ())) >= packets:
                break
    return found


def seconds(packets: list[av.Packet]) -> list[float]:
    """Presentation times; libav's parser gives the first picture of H.264 none."""
    return [float(packet.pts * packet.time_base) for packet in packets if packet.pts is not None]


@pytest.mark.parametrize(("codec", "transport"), [*((codec, "tcp") for codec in CODECS), ("hevc", "udp")])
def test_every_codec_is_decoded(rig: RtspRig, codec: str, transport: str) -> None:
    with av.open(rig.url(f"cam0/{codec}"), options={"rtsp_transport": transport, **_SOON}, timeout=10) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name.removeprefix("lib"), stream.width, stream.height) != ("", 0, 0)
        picture = next(frame for number, frame in enumerate(container.decode(video=0)) if number == 5)
    assert (picture.width, picture.height) == (320, 192)
    luma = picture.to_ndarray(format="gray")[10].astype(int)
    steps = (luma[1:] - luma[:-1])[2:-2]
    assert sum(abs(step - 1) <= 12 for step in steps) > 280, "the ramp is a ramp: the picture is whole"


@pytest.mark.parametrize("transport", ["tcp", "udp"])
def test_pictures_and_sound_come_together(rig: RtspRig, transport: str) -> None:
    got = pulled(rig.url(), transport, 25)
    video, audio = got["video"], got["audio"]
    assert video[0].is_keyframe, "it begins with a key picture"
    times = seconds(video)
    assert len(times) >= len(video) - 1
    assert max(b - a for a, b in itertools.pairwise(times)) < 0.05, "none is missing"
    heard = seconds(audio)
    assert abs(heard[0] - (times[0] - 1 / 30)) < 0.040
    assert abs(heard[-1] - times[-1]) < 0.100


def test_b_pictures_go_in_decoding_order(rig: RtspRig) -> None:
    video = pulled(rig.url("cam0/bframes"), "tcp", 15)["video"]
    times = [packet.pts for packet in video if packet.pts is not None]
    assert times != sorted(times)
    with av.open(rig.url("cam0/bframes"), options={"rtsp_transport": "tcp", **_SOON}, timeout=10) as container:
        frames = itertools.islice(container.decode(video=0), 15)
        shown = [frame.pts for frame in frames if frame.pts is not None]
    assert shown == sorted(shown)
    assert {b - a for a, b in itertools.pairwise(shown)} == {3000}, "every picture, evenly"


@pytest.mark.skipif(not shutil.which("gst-launch-1.0"), reason="needs gstreamer1.0-tools")
@pytest.mark.parametrize("transport", ["tcp", "udp"])
def test_gstreamer_plays(rig: RtspRig, transport: str) -> None:
    done = subprocess.run(
        f"gst-launch-1.0 -q rtspsrc location={rig.url()} protocols={transport} latency=0 ! rtph264depay ! h264parse"
        " ! identity eos-after=20 ! fakesink".split(),
        capture_output=True,
        text=True,
        timeout=15,
    )
    assert done.returncode == 0, done.stderr


def test_ten_clients_at_once(rig: RtspRig) -> None:
    with clients(rig.port, 10) as ten:
        told = [one.play() for one in ten]
        first = [one.packet() for one in ten]
        for headers, (channel, _) in zip(told, first, strict=True):
            assert "seq=" in headers["rtp-info"]
            assert headers["range"] == "npt=now-"
            assert channel == 1, "the sender report comes first: receivers know the time from the first picture on"
        for one, headers in zip(ten, told, strict=True):
            channel, packet = one.packet()
            assert (channel, packet[0]) == (0, 0x80)
            assert f"seq={int.from_bytes(packet[2:4], 'big')};rtptime={int.from_bytes(packet[4:8], 'big')}" in str(
                headers["rtp-info"]
            )
            assert ten[0].ask("GET_PARAMETER")[0] == 200
        assert ten[0].ask("PAUSE")[0] == 200
        wait_until(lambda: rig.counters.clients["tcp"] == 9, 2, "one is paused")
        assert ten[0].ask("PLAY")[0] == 200
        assert ten[0].ask("TEARDOWN")[0] == 200
        assert ten[0].ask("PLAY")[0] == 454
    wait_until(lambda: rig.counters.clients["tcp"] == 0, 3, "all have gone")


def test_who_does_not_read_holds_nobody_up(rig: RtspRig) -> None:
    rig.sources.sources["cam0/noise"].speed = 8.0  # 100 Mbit/s: its connection is full in half a second
    with Client(rig.port, receive_bytes=4096) as stuck, Client(rig.port) as other:
        stuck.url = other.url = rig.url("cam0/noise")
        stuck.play()
        other.play()
        began, got = time.monotonic(), 0
        while time.monotonic() - began < 1.2:
            got += len(other.packet()[1])
        assert got > 4_000_000, "it has all of it"
        assert rig.counters.dropped["slow"] > 100
        for _ in range(400):  # and it is there again when it reads
            stuck.packet()


def test_requests_that_are_refused(rig: RtspRig) -> None:
    with Client(rig.port) as one:
        asked = [
            (one.ask("DESCRIBE", rig.url("nobody")), 404),
            (one.ask("DESCRIBE", rig.url("Not-An-Id")), 400),
            (one.ask("DESCRIBE", rig.url("")), 404),
            (one.ask("DESCRIBE", rig.url("cam0/main/trackID=9")), 404),
            (one.ask("DESCRIBE", Accept="text/html"), 415),
            (one.ask("DESCRIBE", Require="onvif-replay"), 551),
            (one.ask("ANNOUNCE"), 405),
            (one.ask("FROBNICATE"), 501),
            (one.ask("PLAY"), 454),
            (one.ask("SETUP", Transport="RTP/AVP;multicast;port=5000-5001"), 461),
            (one.ask("SETUP", Transport="RTP/AVP;unicast;destination=192.0.2.1;client_port=5000-5001"), 461),
            (one.ask("SETUP", Transport="RTP/AVP;unicast;client_port=52-53"), 461),
            (one.ask("SETUP", Transport="RTP/SAVP;unicast;client_port=5000-5001"), 461),
            (one.ask("SET_PARAMETER", Content_Length="0"), 200),
        ]
        assert [answer[0] for answer, _ in asked] == [status for _, status in asked]
        assert asked[5][0][1]["unsupported"] == "onvif-replay"
        with Client(rig.port) as other:
            ports = "RTP/AVP;unicast;client_port=40000-40001"
            assert other.ask("SETUP", f"{other.url}/trackID=0", Transport=ports)[0] == 200
            assert one.ask("SETUP", f"{one.url}/trackID=0", Transport=ports)[0] == 461, "they are another's"
        assert one.ask("SETUP", Transport="RTP/AVP/TCP;unicast;interleaved=4-5")[1]["transport"].startswith(
            "RTP/AVP/TCP;unicast;interleaved=4-5;ssrc="
        )
        assert one.ask("SETUP", rig.url("cam0/vp8/trackID=0"), Transport="RTP/AVP/TCP;unicast")[0] == 459


def test_what_is_said_of_the_tracks(rig: RtspRig) -> None:
    with Client(rig.port) as one:
        _, headers, sdp = one.ask("DESCRIBE", f"rtsp://user:secret@127.0.0.1:{rig.port}/cam0?audio=opus")
        assert headers["content-base"] == f"{rig.url()}/", "without the password"
        lines = sdp.split("\r\n")
        assert "a=range:npt=now-" in lines
        assert "m=video 0 RTP/AVP 96" in lines
        assert "a=rtpmap:98 opus/48000/2" in lines
        assert any(line.startswith("a=fmtp:96 packetization-mode=1; profile-level-id=42") for line in lines)
        assert "a=control:trackID=2" in lines
        assert "m=audio" not in one.ask("DESCRIBE", f"{rig.url()}?audio=none")[2]


@pytest.mark.parametrize("method", ["basic", "digest"])
def test_only_users_may_pull(method: str) -> None:
    with RtspRig({"cam0/main": Source(clip(2.0))}, users={"anna": PASSWORD}) as rig:
        with Client(rig.port) as nobody:
            status, headers, _ = nobody.ask("DESCRIBE")
            assert status == 401
            assert headers["www-authenticate"].startswith("Digest "), "the better one first"
            for _ in range(3):
                assert nobody.ask("DESCRIBE", Authorization="Basic YW5uYTp3cm9uZw==")[0] == 401
            nobody.socket.sendall(b"DESCRIBE * RTSP/1.0\r\nCSeq: 9\r\nAuthorization: Basic YQ==\r\n\r\n")
            assert nobody.answer()[0] == 403
            assert nobody.file.read() == b"", "and that was it"
        if method == "digest":  # as libav chooses
            assert pulled(rig.url(userinfo=f"anna:{PASSWORD}@"), "tcp", 3)["video"]
            with pytest.raises(av.error.FFmpegError):
                pulled(rig.url(userinfo="anna:wrong@"), "tcp", 1)
        else:
            with Client(rig.port) as anna:
                token = "YW5uYTpwYTU1LXcwcmQ="
                assert anna.ask("DESCRIBE", Authorization=f"Basic {token}")[0] == 200


def test_there_is_room_for_so_many() -> None:
    with RtspRig({}, max_clients=3, max_clients_per_address=2) as rig, clients(rig.port, 2) as both:
        assert [one.ask("OPTIONS")[0] for one in both] == [200, 200]
        with Client(rig.port) as third:
            assert third.answer()[0] == 453


def _hostile_bytes(random_: random.Random) -> bytes:
    method = random_.choice(["OPTIONS", "DESCRIBE", "SETUP", "PLAY", "TEARDOWN", "GET_PARAMETER", "x" * 40, "é"])
    uri = random_.choice(
        ["*", "rtsp://127.0.0.1/cam0", "rtsp://127.0.0.1/cam0/trackID=0", "rtsp://[", "rtsp://a:b@/%00/../..", "", "/x"]
    )
    version = random_.choice(["RTSP/1.0", "RTSP/1.0", "RTSP/1.0", "RTSP/2.0", "HTTP/1.1", ""])
    names = ["CSeq", "Transport", "Session", "Authorization", "Content-Length", "Range", "Require", "X" * 70, "", ": "]
    values = ["1", "-1", "99999999999999", "RTP/AVP/TCP;interleaved=0-1", "RTP/AVP;client_port=1-", "Basic ====", "\0"]
    values += ["Digest " + 'a="' * 50, "RTP/AVP;unicast;client_port=65535-65536", ",;=," * 200, "\xff" * 100]
    lines = [f"{method} {uri} {version}", f"CSeq: {random_.randrange(10**6)}"]
    lines += [f"{random_.choice(names)}: {random_.choice(values)}" for _ in range(random_.randrange(6))]
    text = "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n"
    return random_.choice([text, text, text, b"$\x00\x00\x04abcd" + text, random_.randbytes(200), b"\r\n" * 20 + text])


def test_hostile_requests_do_no_harm(rig: RtspRig, caplog: pytest.LogCaptureFixture) -> None:
    random_ = random.Random(8554)
    open_before = len(os.listdir("/proc/self/fd"))
    for _ in range(300):
        with socket.create_connection(("127.0.0.1", rig.port), timeout=5) as one:
            one.settimeout(0.05)
            try:
                for _ in range(random_.randrange(1, 16)):
                    one.sendall(_hostile_bytes(random_))
                one.shutdown(socket.SHUT_WR)
                while one.recv(65536):
                    pass
            except OSError:
                pass  # closed on us: as it should be
    wait_until(lambda: rig.ask(lambda: len(rig.server._connections)) == 0, 5, "every connection has ended")
    wait_until(lambda: len(os.listdir("/proc/self/fd")) <= open_before + 1, 5, "every socket is closed")
    assert not [record for record in caplog.records if record.exc_info], "no exception got through"
    with Client(rig.port) as polite:
        assert polite.ask("DESCRIBE")[0] == 200


def test_nobody_is_held_up_or_outstayed(rig: RtspRig) -> None:
    busy_s: list[float] = []

    async def beat() -> None:
        while True:
            began = time.thread_time()  # of the server's own thread: what else the machine does is not counted
            await asyncio.sleep(0.005)
            busy_s.append(time.thread_time() - began)

    rig.sources.sources["cam0/noise"].speed = 8.0
    with Client(rig.port, receive_bytes=4096) as leaver, Client(rig.port) as flood:
        leaver.url = rig.url("cam0/noise")
        leaver.play()
        beating = asyncio.run_coroutine_threadsafe(beat(), rig.loop)
        flood.socket.sendall(b"$\0\0\0" * 100_000)
        assert flood.ask("OPTIONS")[0] == 200
        beating.cancel()
        assert max(busy_s) < 0.1, "its hundred thousand packets take turns with the others"

        open_before = len(os.listdir("/proc/self/fd"))
        waiting = [one.get_write_buffer_size for one in rig.ask(rig.server._connections.values)]
        wait_until(lambda: any(size() for size in waiting), 3, "what it does not read piles up")
        leaver.socket.shutdown(socket.SHUT_WR)  # it leaves, and still reads nothing
        wait_until(lambda: len(os.listdir("/proc/self/fd")) < open_before, 3, "its socket is closed all the same")


def test_a_session_whose_stream_has_gone_does_not_begin() -> None:
    source = Source(clip(1.0))
    with RtspRig({"cam0/main": source}) as rig, Client(rig.port) as one:
        assert one.ask("SETUP", f"{one.url}/trackID=0", Transport="RTP/AVP/TCP;unicast")[0] == 200
        rig.ask(lambda: source.feed.end("stream cam0 was removed"))  # type: ignore[union-attr]
        assert one.ask("PLAY")[::2] == (454, "stream cam0 was removed\n")
        assert one.file.read() == b"", "and that was it"


def test_another_codec_ends_the_session(rig: RtspRig) -> None:
    source = Source(clip(1.0))
    with RtspRig({"cam0/main": source}) as own, Client(own.port) as one:
        one.play()
        header, payload = coded("vp8", 1.0)[0]
        own.ask(lambda: source.feed.take(header, memoryview(payload)))  # type: ignore[union-attr]
        one.file.read()  # to the end of the connection
        with Client(own.port) as again:
            assert again.ask("DESCRIBE")[0] == 200
