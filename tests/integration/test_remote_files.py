"""Files and live bodies behind HTTP: paced, looped or ended, whatever their server can do; what is none says so."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from typing import Any

import msgspec
import pytest

from schemas.frames import FrameRef
from schemas.resources import StreamActual
from schemas.subjects import frames
from shared.bus import Bus, Message
from shared.demand import Wants
from tests.support.made_once import ffmpeg_once
from tests.support.media_server import MediaServer, clip, media_server
from tests.support.mixer import NODE, MixerRig, stream_state
from tests.support.pace import patience, slowness

pytestmark = [pytest.mark.integration, pytest.mark.timeout(60)]

FPS, PICTURES = 30, 24  # of a clip: 0.8 s
LOOK_SECONDS = 1.8  # two turns and more
PAGE = b"<!doctype html><html><body>" + b"<p>no such video</p>" * 100
decode_ref = msgspec.json.Decoder(FrameRef).decode


def chunked(body: bytes, hold: bool = False) -> Callable[[Any], None]:
    """A body whose length is not told; `hold`: and no end either."""

    def page(handler: Any) -> None:
        handler.send_response(200)
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        handler.wfile.write(b"%x\r\n" % len(body) + body + b"\r\n")
        handler.wfile.flush()
        if hold:
            handler.server.stop.wait(30)
        handler.wfile.write(b"0\r\n\r\n")

    return page


def typed(body: bytes, kind: str) -> Callable[[Any], None]:
    def page(handler: Any) -> None:
        handler.send_response(200)
        handler.send_header("Content-Type", kind)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    return page


def without_ranges(body: bytes) -> Callable[[Any], None]:
    return typed(body, "application/octet-stream")


@pytest.fixture(scope="module")
def rig() -> Iterator[MixerRig]:
    with MixerRig.running() as running:
        yield running


def with_sound(name: str, seconds: float, *muxing: str) -> bytes:
    """One key picture for all, and a tone."""
    pictures, sound = f"testsrc2=size=384x64:rate={FPS}:duration={seconds}", f"sine=duration={seconds}"
    return ffmpeg_once(
        name, "-f", "lavfi", "-i", pictures, "-f", "lavfi", "-i", sound,
        "-c:v", "libx264", "-preset", "ultrafast", "-bf", "0", "-c:a", "aac", *muxing,
    ).read_bytes()  # fmt: skip


@pytest.fixture(scope="module")
def web() -> Iterator[MediaServer]:
    with media_server() as server:
        late, early = clip("mp4", PICTURES), with_sound("early.mp4", PICTURES / FPS, "-movflags", "+faststart")
        flv, transport = clip("flv", PICTURES), clip("mpegts", PICTURES)
        server.files = {
            "/early.mp4": early,
            "/late.mp4": late,
            "/clip.flv": flv,
            "/clip.ts": transport,
            "/cut.mp4": early[: len(early) * 2 // 3],
            "/unfinished.mp4": late[: len(late) // 2],
            "/text.mp4": b"the video has moved\n" * 50,
            "/empty.mp4": b"",
            "/noise.mp4": bytes(range(255, -1, -1)) * 100,
        }
        server.pages = {
            "/plain/early.mp4": without_ranges(early),
            "/plain/late.mp4": without_ranges(late),
            "/plain/clip.flv": without_ranges(flv),
            "/plain/clip.ts": without_ranges(transport),
            "/chunked/late.mp4": chunked(late),
            "/live.flv": chunked(with_sound("live.flv", 2, "-flvflags", "no_duration_filesize"), hold=True),
            "/page.mp4": typed(PAGE, "text/html; charset=utf-8"),
            "/page-called-video.mp4": typed(PAGE, "video/mp4"),
            "/answer.json": typed(b'{"error": "not found"}', "application/json"),
        }
        yield server


@pytest.fixture
async def bus(rig: MixerRig) -> AsyncIterator[Bus]:
    async with rig.bus() as connected:
        yield connected


class Seen:
    """Pictures of a stream, with when they came."""

    def __init__(self) -> None:
        self.refs: list[FrameRef] = []
        self.at: list[float] = []

    def take(self, message: Message) -> None:
        self.refs.append(decode_ref(message.data))
        self.at.append(time.monotonic())


async def play(bus: Bus, stack: AsyncExitStack, name: str, source: str, **more: Any) -> Seen:
    seen, wants = Seen(), Wants(bus)
    stack.push_async_callback(wants.close)
    wants.want(NODE, name, "raw", "test")
    subscription = await bus.subscribe(frames(NODE, name), seen.take)
    stack.push_async_callback(subscription.close)
    await ask(bus, "start", stream=name, source=source, node=NODE, wait_s=0, **more)
    stack.push_async_callback(ask, bus, "stop", stream=name, wait_s=0)
    return seen


async def ask(bus: Bus, verb: str, **request: Any) -> None:
    await bus.request_raw(f"mesh.v1.cmd.capture.{verb}", msgspec.json.encode(request), 10)


async def until_state(bus: Bus, name: str, *states: str) -> StreamActual:
    async with patience(15):
        while True:
            actual = await stream_state(bus, name)
            if actual is not None and actual.state in states:
                return actual
            await asyncio.sleep(0.05)


async def test_files_are_played_again_and_again_as_one(bus: Bus, web: MediaServer) -> None:
    paths = ["early.mp4", "late.mp4", "clip.flv", "clip.ts", "cut.mp4", "chunked/late.mp4"]
    paths += ["plain/early.mp4", "plain/late.mp4", "plain/clip.flv", "plain/clip.ts"]
    async with AsyncExitStack() as stack:
        names = {path: "f-" + path.replace("/", "-").replace(".", "-") for path in paths}
        played = {path: await play(bus, stack, names[path], web.url(f"/{path}")) for path in paths}
        async with patience(20):
            while not all(seen.refs for seen in played.values()):
                await asyncio.sleep(0.05)
        await asyncio.sleep(LOOK_SECONDS)
        for path, seen in played.items():
            actual = await until_state(bus, names[path], "live")
            assert (actual.restarts, actual.error) == (0, None), path
            stamps = [ref.pts_ns for ref in seen.refs]
            assert stamps == sorted(set(stamps)), path
            assert len({ref.epoch for ref in seen.refs}) == 1, path
            seconds = seen.at[-1] - seen.at[0]
            # At its own speed, but for the pictures that a turn holds back or the ring had no room for.
            assert 0.6 * FPS * seconds / slowness() < len(stamps) < 1.2 * FPS * seconds + 5, (
                path,
                len(stamps),
                seconds,
            )
            assert abs((stamps[-1] - stamps[0]) / 1e9 - seconds) < 0.5 * slowness(), path


async def test_once_is_once_and_said_so(bus: Bus, web: MediaServer) -> None:
    async with AsyncExitStack() as stack:
        once = {
            "o-late": await play(bus, stack, "o-late", web.url("/late.mp4"), loop=False),
            "o-plain": await play(bus, stack, "o-plain", web.url("/plain/clip.ts"), loop=False),
        }
        for name, seen in once.items():
            actual = await until_state(bus, name, "off", "reconnecting", "failed")
            assert (actual.state, actual.restarts, actual.error) == ("off", 0, None)
            assert len(seen.refs) == PICTURES, "from the first to the last"


async def test_a_live_body_is_not_held_back(bus: Bus, web: MediaServer) -> None:
    async with AsyncExitStack() as stack:
        seen = await play(bus, stack, "l-flv", web.url("/live.flv"))
        async with patience(10):
            while len(seen.refs) < 50:  # of 60: two seconds of pictures that came at once
                await asyncio.sleep(0.02)
        assert seen.at[49] - seen.at[0] < 1.2 * slowness()
        assert (await until_state(bus, "l-flv", "live", "stalled")).restarts == 0


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("page.mp4", ("text/html", "the video itself")),
        ("page-called-video.mp4", ("text/html",)),
        ("answer.json", ("application/json",)),
        ("text.mp4", ("sends text",)),
        ("empty.mp4", ("0 bytes",)),
        ("unfinished.mp4", ("moov", "whole file")),
        ("noise.mp4", ("damaged, or no media",)),
    ],
)
async def test_what_is_no_video_says_what_came(bus: Bus, web: MediaServer, path: str, words: tuple[str, ...]) -> None:
    async with AsyncExitStack() as stack:
        name = "n-" + path.replace(".", "-")
        await play(bus, stack, name, web.url(f"/{path}?token=secret-word"))
        actual = await until_state(bus, name, "failed", "reconnecting")
        assert actual.state == "failed"
        assert actual.error is not None
        assert actual.error.code == 400
        assert all(word in actual.error.message for word in words), actual.error
        assert "secret-word" not in actual.error.message
