"""The process of a mix with real streams: what is seen where, what is heard, and what does not break it."""

import asyncio
import io
import os
import signal
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from PIL import Image

from schemas.frames import FrameRef
from schemas.mix_resources import Box, MixInput, MixLogo, MixSpec
from services.cloud_mix_proxy.mixer.colours import yuv_of
from services.cloud_mix_proxy.mixer.protocol import (
    EXIT_CANNOT_START,
    EXIT_ENDED,
    EXIT_SUPERSEDED,
    Report,
    Setup,
    Still,
)
from services.cloud_mix_proxy.mixes.mixer_child import MixerChild
from shared.epochs import next_epoch
from shared.pixel_formats import planes
from shared.ring import RingGeometry, StreamWriter, list_rings
from tests.support.made_once import ffmpeg_once
from tests.support.mixer import NODE, Mixer, MixerRig, watched
from tests.support.pace import patience

pytestmark = [pytest.mark.integration, pytest.mark.timeout(90)]

WIDTH, HEIGHT = 640, 360
# Middles of the four tiles of a grid of 640x360.
MIDDLES = {"a": (160, 90), "b": (480, 90), "c": (160, 270), "d": (480, 270)}
_LEVELS_OFF = 4  # of an encoder at crf 8, and of one conversion
COLOURS = {"red": "0xc02020", "green": "0x20a040", "blue": "0x3050c0"}


def clip(name: str, *options: str, size: str = "320x180") -> Path:
    """Two seconds of one colour."""
    given = f"color={COLOURS[name]}:size={size}:rate=15:duration=2"
    return ffmpeg_once(f"{name}.mp4", "-f", "lavfi", "-i", given, *(options or ("-c:v", "libx264", "-crf", "8")))


@pytest.fixture(scope="module")
def rig() -> Iterator[MixerRig]:
    with MixerRig.running() as running:
        yield running


def place_in(rig: MixerRig, path: Path, name: str) -> str:
    (rig.media_dir / name).write_bytes(path.read_bytes())
    return f"file://{rig.media_dir / name}?loop=1"


def yuv_at(array: Any, ref: FrameRef, x: int, y: int) -> tuple[int, int, int]:
    luma, u, v = planes(array, ref.pixel_format, ref.width, ref.height)
    return int(luma[y, x]), int(u[y // 2, x // 2]), int(v[y // 2, x // 2])


def middles(array: Any, ref: FrameRef) -> dict[str, tuple[int, int, int]]:
    return {name: yuv_at(array, ref, x, y) for name, (x, y) in MIDDLES.items()}


def near(one: tuple[int, ...], other: tuple[int, ...]) -> bool:
    return max(abs(a - b) for a, b in zip(one, other, strict=True)) <= _LEVELS_OFF


def css(colour: str) -> str:
    return COLOURS[colour].replace("0x", "#")


def png(colour: str, size: tuple[int, int] = (64, 36), alpha: int = 255) -> bytes:
    file = io.BytesIO()
    red, green, blue = (int(css(colour)[at : at + 2], 16) for at in (1, 3, 5))
    Image.new("RGBA", size, (red, green, blue, alpha)).save(file, "png")
    return file.getvalue()


def grid(*inputs: MixInput, **more: Any) -> MixSpec:
    return MixSpec(mix="wall", inputs=inputs, size=f"{WIDTH}x{HEIGHT}", **more)


async def test_streams_and_stills_at_their_places_with_their_sound(rig: MixerRig) -> None:
    limited = ("-c:v", "libx264", "-crf", "8", "-vf")
    full = (
        *limited,
        "scale=out_color_matrix=bt709:out_range=pc,format=yuv420p",
        "-color_range",
        "pc",
        "-colorspace",
        "bt709",
    )
    async with rig.bus() as bus, Mixer.running(rig, "wall") as mixer:
        sources = {
            "tones": "test://?size=640x360&fps=30",
            "green": place_in(rig, clip("green"), "green.mp4"),
            "full": place_in(rig, clip("blue", *full), "full.mp4"),
        }
        await rig.start_streams(bus, sources)
        mixer.tell(Still(digest="red", data=png("red")))
        mixer.tell(Still(digest="logo", data=png("blue", (40, 20))))
        spec = grid(
            MixInput(input="a", source="mesh://tones"),
            MixInput(input="b", source="mesh://green"),
            MixInput(input="c", source="red.png"),
            MixInput(input="d", source="mesh://full"),
            logos=(MixLogo(source="logo.png", box=Box(x=300, y=170, width=40, height=20)),),
        )
        async with watched(
            rig, bus, "wall", lambda array, ref: (middles(array, ref), yuv_at(array, ref, 320, 180))
        ) as out:
            applied = await mixer.show(spec, {"red.png": "red", "logo.png": "logo"})
            assert applied.boxes["d"] == Box(x=320, y=180, width=320, height=180)
            wanted = {
                name: yuv_of(css(colour), HEIGHT) for name, colour in (("b", "green"), ("c", "red"), ("d", "blue"))
            }
            await out.until(lambda look: all(near(look[0][name], colour) for name, colour in wanted.items()))
            await out.wait_for(15)
            assert near(out.looks[-1][1], yuv_of(css("blue"), HEIGHT)), "the logo lies over the tiles"
        report = await mixer.hear(Report)
        assert [(one.input, one.stream, one.state) for one in report.inputs] == [
            ("a", "tones", "live"),
            ("b", "green", "live"),
            ("c", "", "live"),
            ("d", "full", "live"),
        ]
        assert {(ref.colour_space.matrix, ref.colour_space.range) for ref in out.refs} == {("smpte170m", "limited")}
        began_ns, samples = out.sound()
        assert all(header.sample_rate == 48_000 and header.channels == 2 for header, _ in out.blocks)
        starts = [header.pts_ns for header, _ in out.blocks]
        assert all(abs(after - before - 20_000_000) <= 1 for before, after in pairwise(starts)), "without a gap"
        assert np.abs(samples[len(samples) // 2 :]).max() > 1_000, "the test pattern's tone"
        assert abs(began_ns - out.refs[0].pts_ns) < 200_000_000, "pictures and sound have one timeline"
        mixer.end()
        assert await mixer.exit_code() == EXIT_ENDED
        assert not [ring for ring in list_rings(rig.shm_dir) if ring.header.stream == "wall"]


async def test_twenty_updates_in_two_seconds_break_no_picture(rig: MixerRig) -> None:
    async with rig.bus() as bus, Mixer.running(rig, "wall") as mixer:
        await rig.start_streams(bus, {"tones": "test://?size=640x360&fps=30"})
        tones = MixInput(input="a", source="mesh://tones")
        layouts = [
            grid(tones),
            grid(tones, MixInput(input="b", source="mesh://tones", radius=20, border=4), gap=8),
            grid(tones, MixInput(input="b", source="mesh://nothing", on_loss="slate"), layout="picture-in-picture"),
            grid(tones, layout="focus", fade="200ms", background=css("green")),
        ]
        await mixer.show(layouts[0])
        async with watched(rig, bus, "wall", middles) as out:
            await out.wait_for(3)
            for number in range(20):
                await mixer.show(layouts[number % len(layouts)])
                await out.wait_for(2)
            mixer.ask(grid(tones, MixInput(input="b", source="none.png")))
            refused = await mixer.hear_refusal()
            assert refused.error.code == 400
            assert "inputs.1.source" in refused.error.message
            await out.wait_for(5)  # the layout before it stays
            numbers, times = [ref.sequence for ref in out.refs], [ref.pts_ns for ref in out.refs]
        assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
        steps = {round((after - before) * 30 / 1e9, 2) for before, after in pairwise(times)}
        assert all(step >= 1 and step == round(step) for step in steps), "on the grid of its rate, and growing"


async def test_one_stream_at_many_places_and_pictures_that_are_refused_again_and_again(rig: MixerRig) -> None:
    logo = (MixLogo(source="logo.png", box=Box(x=0, y=0, width=64, height=36)),)
    many = grid(*(MixInput(input=f"i{place}", source="mesh://green") for place in range(16)), logos=logo)
    # Four columns and rows of 160x90; the logo lies over the first.
    spots = [(x, y) for y in range(45, HEIGHT, 90) for x in range(80, WIDTH, 160)][1:]
    async with rig.bus() as bus, Mixer.running(rig, "wall") as mixer:
        await rig.start_streams(bus, {"green": place_in(rig, clip("green"), "green.mp4")})
        mixer.tell(Still(digest="logo", data=png("red")))
        async with watched(rig, bus, "wall", lambda array, ref: [yuv_at(array, ref, *spot) for spot in spots]) as out:
            await mixer.show(many, {"logo.png": "logo"})
            green = yuv_of(css("green"), HEIGHT)
            await out.until(lambda look: all(near(colour, green) for colour in look))
        for number in range(70):
            mixer.tell(Still(digest=f"broken {number}", data=b"no picture"))
            mixer.ask(msgspec.structs.replace(many, gap=number), {"logo.png": f"broken {number}"})
            assert "not a png" in (await mixer.hear_refusal()).error.message
        await mixer.show(msgspec.structs.replace(many, gap=2), {"logo.png": "logo"})  # it is there still


async def test_a_lost_input_is_held_hidden_or_a_slate_and_comes_back(rig: MixerRig) -> None:
    background, held = css("blue"), yuv_of(css("green"), HEIGHT)
    inputs = [
        MixInput(input=name, source="mesh://green", on_loss=on_loss)
        for name, on_loss in (("a", "hold"), ("b", "slate"), ("c", "hide"))
    ]
    async with rig.bus() as bus, Mixer.running(rig, "wall", lost_after_ms=300) as mixer:
        await rig.start_streams(bus, {"green": place_in(rig, clip("green"), "green.mp4")})
        await mixer.show(grid(*inputs, background=background))
        # The third of three stands in the middle of its row.
        spots = {"a": (160, 90), "b": (330, 10), "c": (320, 270)}
        async with watched(
            rig, bus, "wall", lambda array, ref: {name: yuv_at(array, ref, *spot) for name, spot in spots.items()}
        ) as out:
            await out.until(lambda look: all(near(colour, held) for colour in look.values()))
            rig.stop_capture(kill=True)
            seen = await out.until(lambda look: near(look["c"], yuv_of(background, HEIGHT)))
            assert near(seen["a"], held)
            assert near(seen["b"], yuv_of("#2a3340", HEIGHT))
            report = await mixer.wait_for(lambda report: {one.state for one in report.inputs} == {"lost"})
            assert all(one.since_ns for one in report.inputs)
            # Another size: what is held is scaled again, although nobody has its picture any more.
            await mixer.show(grid(*inputs[:1], background=background))
            await out.until(lambda look: all(near(colour, held) for colour in look.values()))
            rig.start_capture()
            await mixer.show(grid(*inputs, background=background))
            await out.until(lambda look: all(near(colour, held) for colour in look.values()), 30)


async def test_one_that_stands_still_is_killed(rig: MixerRig) -> None:
    started = asyncio.Event()
    setup = Setup(mix="wall", node=NODE, nats_url=rig.nats.url, shm_dir=str(rig.shm_dir), log="warning")
    child = MixerChild(setup, lambda _: started.set(), silent_seconds=2)
    try:
        await child.start()
        async with patience(15):
            await started.wait()
            assert child.pid is not None
            os.kill(child.pid, signal.SIGSTOP)
            assert await child.ended() == -signal.SIGKILL
        assert "said nothing for 2 s" in child.why
    finally:
        await child.stop()


async def test_why_it_ends_and_what_goes_on(rig: MixerRig) -> None:
    spec = grid(MixInput(input="a", source="mesh://nothing"))
    async with rig.bus() as bus, watched(rig, bus, "wall") as out:
        async with Mixer.running(rig, "Not an id") as refused, Mixer.running(rig, "wall") as killed:
            await killed.show(spec)
            await out.wait_for(2)
            killed.kill()
            assert await killed.exit_code() == -signal.SIGKILL
            assert await refused.exit_code() == EXIT_CANNOT_START
        before = out.refs[-1]
        async with Mixer.running(rig, "wall") as mixer:
            await mixer.show(spec)
            await out.wait_for(2)
            after = out.refs[-1]
            assert after.epoch > before.epoch
            assert after.pts_ns > before.pts_ns, "encoders and players go on"
            assert len([ring for ring in list_rings(rig.shm_dir) if ring.header.stream == "wall"]) == 1, "one was swept"
            other = StreamWriter(rig.shm_dir, stream="wall", node=NODE, epoch=await next_epoch(bus, "wall"))
            try:
                assert other.acquire(RingGeometry("yuv420p", WIDTH, HEIGHT)) is not None
                assert await mixer.exit_code() == EXIT_SUPERSEDED
            finally:
                other.close()
