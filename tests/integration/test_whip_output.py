"""WHIP push to a real peer that decodes: pictures at their times, sound, refusals, key requests, death and return."""

import itertools
import threading
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import av
import numpy as np
import pytest
from av.video.codeccontext import VideoCodecContext
from msgspec.structs import replace
from test_publisher_outputs import Rig, endless

from schemas.errors import ErrorInfo, InvalidValue
from schemas.packets import Track
from schemas.resources import OutputSpec
from services.publisher.outputs import make_output
from services.publisher.outputs.base import OutputSettings
from tests.support.packets import FPS, NANOSECONDS, Made, clip
from tests.support.peers import free_port, wait_until
from tests.support.whip_server import TOKEN, WhipServer, whip_server

pytestmark = [pytest.mark.integration, pytest.mark.timeout(60)]


@pytest.fixture(scope="module")
def server() -> Iterator[WhipServer]:
    with whip_server(free_port()) as running:
        yield running


@pytest.fixture
def settings() -> OutputSettings:
    return OutputSettings(network_timeout_seconds=2.0)


class Live:
    """A rig that is fed without an end until the block ends."""

    def __init__(
        self,
        url: str,
        settings: OutputSettings,
        tracks: tuple[Track, ...] = ("video", "opus"),
        packets: tuple[Made, ...] = (),
    ) -> None:
        self.rig = Rig(url, settings, tracks=tracks)
        self._stop = threading.Event()
        packets = packets or clip(2.0, width=320, height=180, tracks=tracks)
        self._thread = threading.Thread(target=self.rig.feed_live, args=(endless(packets), self._stop))

    def __enter__(self) -> Rig:
        self._thread.start()
        return self.rig

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        assert self.rig.writer.stop(8.0), "it lets go"


def number_of(picture: Any) -> int:
    """Which one of the clip a picture is: its brightness rises from left to right, and by 4 with each picture."""
    row = picture.to_ndarray(format="gray")[90, :256].astype(float)
    turn = np.angle(np.exp(2j * np.pi * (row - np.arange(len(row))) / 256).mean()) / (2 * np.pi)
    return round(turn * 64) % 64


def refusal(url: str, settings: OutputSettings) -> ErrorInfo:
    """Why a push does not come about."""
    with Live(url, settings) as rig:
        error = rig.wait_for("retrying", 6.0).error
    assert error is not None
    return error


def test_pictures_and_sound_arrive_in_time_and_the_peer_comes_back(
    server: WhipServer, settings: OutputSettings
) -> None:
    server.redirects = 2
    with Live(server.url, settings) as rig:
        rig.wait_for("running")
        wait_until(lambda: len(server.pictures) > 45, 10.0, "pictures")
        pictures, sound = server.pictures[5:45], server.sound_seconds
        numbers = [number_of(picture) for picture in pictures]
        steps = zip(itertools.pairwise(pictures), itertools.pairwise(numbers), strict=True)
        within = [(b.pts - a.pts, y - x) for (a, b), (x, y) in steps if y > x]  # where the clip begins again it jumps
        assert len(within) >= 38
        assert {ticks * FPS // 90_000 - pictures for ticks, pictures in within} == {0}, "the clock is the packets'"
        assert len(set(numbers)) > 20
        assert sound > 0.8
        assert {method for method, _, _ in server.requests} == {"POST"}
        assert [path for _, path, _ in server.requests] == ["/whip/cam0", "/whip/cam0/hop1", "/whip/cam0/hop0"]
        assert {authorization for _, _, authorization in server.requests} == {f"Bearer {TOKEN}"}
        asked = rig.keys_asked
        server.ask_for_key()
        wait_until(lambda: rig.keys_asked > asked, 2.0, "the writer hears that a key picture is wanted")
        # Now it is gone without a word, for a while.
        server.stop()
        rig.wait_for("retrying", 12.0)
        before = len(server.pictures)
        server.start()
        rig.wait_for("running", 12.0)
        wait_until(lambda: len(server.pictures) > before + 10, 5.0, "pictures again")
        server.hang_up()
        assert "closed the connection" in rig.wait_for("retrying").error.message  # type: ignore[union-attr]
    wait_until(lambda: server.requests[-1][0] == "DELETE", 2.0, "the session is deleted")
    assert server.sessions == 0
    assert TOKEN not in str(rig.said)
    assert TOKEN not in " ".join(path for _, path, _ in server.requests)


@pytest.mark.parametrize(
    ("status", "text", "code", "words"),
    [
        (404, "no such path", 404, "knows no such path"),
        (406, "only av1 here", 409, "(only av1 here): it takes none of what was offered"),
        (409, f"taken, {TOKEN}", 409, "(taken, ***): somebody publishes there already"),
        (302, "", 409, "307 and 308 only"),
        (503, "", 503, "no room"),
    ],
)
def test_refusals(server: WhipServer, settings: OutputSettings, status: int, text: str, code: int, words: str) -> None:
    server.refuse = (status, text)
    try:
        error = refusal(server.url, settings)
    finally:
        server.refuse = None
    assert (error.code, TOKEN in error.message) == (code, False)
    assert words in error.message


def test_a_wrong_token_and_a_bad_answer(server: WhipServer, settings: OutputSettings) -> None:
    for url, edit, words in (
        (server.url.replace(TOKEN, "wrong-t0ken"), str, "refuses this token"),
        (server.url, lambda sdp: "v=1 nonsense", "no SDP answer"),
        (
            server.url,
            lambda sdp: sdp.replace("m=video 9", "m=video 0").replace("recvonly", "inactive"),
            "takes none of",
        ),
        (server.url, lambda sdp: sdp.replace("a=ice-pwd:", "a=ice-pwd:x"), "no WebRTC connection within 1 s (ICE)"),
    ):
        server.edit = edit
        try:
            error = refusal(url, OutputSettings(network_timeout_seconds=1.0) if "1 s" in words else settings)
        finally:
            server.edit = str
        assert words in error.message
        assert "t0ken" not in error.message


def vp8_clip() -> tuple[Made, ...]:
    """The pictures of `clip` again, as VP8."""
    encoder, decoder = av.CodecContext.create("libvpx", "w"), av.CodecContext.create("h264", "r")
    assert isinstance(encoder, VideoCodecContext)
    assert isinstance(decoder, VideoCodecContext)
    encoder.width, encoder.height, encoder.pix_fmt, encoder.time_base = 320, 180, "yuv420p", Fraction(1, FPS)
    encoder.options = {"deadline": "realtime", "cpu-used": "8", "lag-in-frames": "0"}
    made = []
    for number, (header, payload) in enumerate(clip(1.0, width=320, height=180, tracks=("video",))):
        for frame in decoder.decode(av.Packet(payload)):
            frame.pts, frame.time_base = number, Fraction(1, FPS)
            for packet in encoder.encode(frame):
                times_ns = header.pts_ns - header.pts_ns % NANOSECONDS + number * NANOSECONDS // FPS
                known = {"pts_ns": times_ns, "dts_ns": times_ns, "key": packet.is_keyframe, "extradata": b""}
                made.append(Made(replace(header, codec="vp8", index=len(made), **known), bytes(packet)))
    return tuple(made)


def test_vp8(server: WhipServer, settings: OutputSettings) -> None:
    before = len(server.pictures)
    with Live(server.url, settings, ("video",), vp8_clip()) as rig:
        rig.wait_for("running")
        wait_until(lambda: len(server.pictures) > before + 10, 5.0, "pictures")
    assert "VP8" in server.offers[-1]
    assert "H264" not in server.offers[-1]
    assert number_of(server.pictures[-1]) - number_of(server.pictures[-2]) in (1, 1 - 30)


def test_what_cannot_go(settings: OutputSettings) -> None:
    rig = Rig("https://127.0.0.1:9/whip/cam0", settings, tracks=("video",))
    rig.feed(clip(1.0, tracks=("video",), bframes=2))
    error = rig.wait_for("retrying").error
    assert error is not None
    assert error.code == 409
    assert error.message == "output cam0--archive cannot carry B-frames; choose rendition main, or one with b_frames 0"
    assert rig.writer.stop(5.0)
    for url in ("https://host/", "https://host/whip?token=a%0d%0aHost:%20x", "https://host/whip?token=é"):
        with pytest.raises(InvalidValue):
            make_output(OutputSpec(stream="cam0", output="live", to=url), url, settings)
