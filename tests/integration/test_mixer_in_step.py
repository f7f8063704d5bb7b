"""Pictures and sound of a mix's inputs stay in step with each other, however long it runs; and it grows no older."""

import math
import os
import statistics
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pytest

from schemas.frames import AudioHeader, FrameRef
from schemas.mix_resources import MixInput, MixSpec
from shared.ring import occupancy
from tests.support.made_once import ffmpeg_once
from tests.support.mixer import Mixer, MixerRig, Samples, watched
from tests.support.pace import slowness

pytestmark = [pytest.mark.integration, pytest.mark.long, pytest.mark.alone]

SAMPLE_RATE = 48_000
TONES = {"a": 1_000, "b": 3_000}  # Hz
FLASH_SECONDS = 0.2
_OFF_MS = 40.0  # ITU-R BT.1359: 45 ms of sound before its picture are noticed; a picture is 33 ms
_JUDGED_SHARE = 0.9  # a machine that stands still holds one input's sound up and not its pictures, now and then
_BRIGHT = 160  # a flash is 235, else black is 16
_WINDOW_SAMPLES = 240  # 5 ms: five periods of the lower tone
_LOUD = 0.02
_RSS_GROWS_BYTES = 8 << 20  # of an allocator's pools
_WARM_UP_SECONDS = 5


def clip(name: str, period: float, seconds: int) -> Path:
    """A white picture and a tone at once, every `period` seconds."""
    gate = f"lt(mod(t\\,{period})\\,{FLASH_SECONDS})"
    pictures = f"color=black:size=320x180:rate=30:duration={seconds},drawbox=w=iw:h=ih:c=white:t=fill:enable='{gate}'"
    sound = f"aevalsrc='0.4*sin(2*PI*{TONES[name]}*t)*{gate}':s={SAMPLE_RATE}:d={seconds}"
    return ffmpeg_once(
        f"flash-{name}.mkv", "-f", "lavfi", "-i", pictures, "-f", "lavfi", "-i", sound,
        "-c:v", "libx264", "-preset", "ultrafast", "-bf", "2", "-c:a", "pcm_s16le",
    )  # fmt: skip


@pytest.fixture(scope="module")
def rig() -> Iterator[MixerRig]:
    with MixerRig.running() as running:
        yield running


def lumas(array: npt.NDArray[Any], ref: FrameRef) -> dict[str, int]:
    return {"a": int(array[90, 160]), "b": int(array[90, 480])}


class Flash(NamedTuple):
    """Seconds on the mix's timeline between which it began: it is seen in the later picture, and pictures between them
    are left out where the machine stood still."""

    earliest: float
    latest: float

    def off(self, beep: float) -> float:
        """How much later a beep is, in seconds; 0 when it may be just as the flash."""
        return min(beep - self.earliest, 0.0) or max(beep - self.latest, 0.0)


def flashes(refs: list[FrameRef], looks: list[Any], name: str) -> list[Flash]:
    found, bright, dark_ns = [], True, 0
    for ref, look in zip(refs, looks, strict=True):
        if look is None:
            continue
        if look[name] > _BRIGHT and not bright:
            found.append(Flash((dark_ns + ref.duration_ns) / 1e9, ref.pts_ns / 1e9))
        bright = look[name] > _BRIGHT
        dark_ns = dark_ns if bright else ref.pts_ns
    return found


def whole(blocks: list[tuple[AudioHeader, Samples]]) -> tuple[float, npt.NDArray[np.float64]]:
    """(seconds of its first sample, mono) of all sound; what was left out is silence."""
    began_ns = blocks[0][0].pts_ns
    last, last_block = blocks[-1]
    sound = np.zeros(round((last.pts_ns - began_ns) * SAMPLE_RATE / 1e9) + len(last_block))
    for header, samples in blocks:
        place = round((header.pts_ns - began_ns) * SAMPLE_RATE / 1e9)
        sound[place : place + len(samples)] = samples.mean(axis=1)[: len(sound) - place] / 32_768
    return began_ns / 1e9, sound


def beeps(began: float, sound: npt.NDArray[np.float64], tone: int) -> list[float]:
    count = len(sound) // _WINDOW_SAMPLES
    turns = np.exp(-2j * np.pi * tone * np.arange(_WINDOW_SAMPLES) / SAMPLE_RATE)
    loud = np.abs(sound[: count * _WINDOW_SAMPLES].reshape(count, -1) @ turns) / _WINDOW_SAMPLES > _LOUD
    starts = np.flatnonzero(loud[1:] & ~loud[:-1]) + 1
    return [began + float(start) * _WINDOW_SAMPLES / SAMPLE_RATE for start in starts]


async def in_step(rig: MixerRig, seconds: int) -> None:
    slowness()  # measured before there is anything to be late for
    async with rig.bus() as bus, Mixer.running(rig, "step") as mixer:
        for name, period in (("a", 2.0), ("b", 3.0)):
            path = clip(name, period, 24)
            (rig.media_dir / path.name).write_bytes(path.read_bytes())
            await rig.start_streams(bus, {name: f"file://{rig.media_dir / path.name}?loop=1"})
        inputs = tuple(MixInput(input=name, source=f"mesh://{name}") for name in TONES)
        # Two tiles of 320x180, side by side.
        await mixer.show(MixSpec(mix="step", inputs=inputs, size="640x180"))
        async with watched(rig, bus, "step", lumas) as out:
            await out.wait_for(seconds * 30, seconds * 2)
        report = await mixer.wait_for(lambda one: one.pictures >= len(out.refs))
    began, sound = whole(out.blocks)
    assert report.unusable_sound == 0
    left_out = f"{report.late} of {report.late + report.pictures} pictures, {report.unmade_sound} blocks of sound"
    print(f"left out: {left_out}; {report.slow_tiles} tiles not made in time, {report.overwritten} pictures gone")
    # From the middle on: what goes apart bit by bit is apart most at the end.
    for name, tone in TONES.items():
        seen = flashes(out.refs, out.looks, name)
        heard = beeps(began, sound, tone)
        assert len(seen) >= seconds // 4, (name, len(seen))
        # The sound of some may be missing where the machine stood still: that is no other's then.
        off = [one.off(beep) * 1e3 for one in seen[1:-1] for beep in heard if abs(one.latest - beep) < 1]
        assert len(off) >= _JUDGED_SHARE * (len(seen) - 2), (name, len(off), len(seen))
        usual = sorted(map(abs, off))[min(math.ceil(len(off) * _JUDGED_SHARE) - 1, len(off) - 2)]
        print(f"{name}: sound {statistics.median(off):.1f} ms after its picture, {usual:.1f} of most, {len(off)} times")
        assert usual <= _OFF_MS * slowness(), (name, [round(one) for one in off])
        assert abs(statistics.median(off[-len(off) // 4 :])) <= _OFF_MS, "not at its end either"


@pytest.mark.timeout(90)
async def test_flash_and_beep_after_twenty_seconds(rig: MixerRig) -> None:
    await in_step(rig, 20)


@pytest.mark.timeout(900)
async def test_flash_and_beep_after_ten_minutes(rig: MixerRig) -> None:
    await in_step(rig, 600)


@pytest.mark.timeout(150)
async def test_it_holds_no_more_after_a_minute(rig: MixerRig) -> None:
    async with rig.bus() as bus, Mixer.running(rig, "long") as mixer:
        await rig.start_streams(bus, {"tones": "test://?size=640x360&fps=30"})
        inputs = tuple(MixInput(input=name, source="mesh://tones") for name in TONES)
        spec = MixSpec(mix="long", inputs=inputs, size="640x360", fade="100ms")
        await mixer.show(spec)
        async with watched(rig, bus, "long") as out:
            await out.wait_for(30 * _WARM_UP_SECONDS, 60)
            before = descriptors(mixer.pid), resident_bytes(mixer.pid)
            for number in range(28):
                await mixer.show(MixSpec(mix="long", inputs=inputs[: 1 + number % 2], size="640x360", fade="100ms"))
                await out.wait_for(60, 60)
            after = descriptors(mixer.pid), resident_bytes(mixer.pid)
            held = occupancy(rig.shm_dir)["tones"].held
            assert held <= 1, "a picture is let go of when its tile is made"
    assert after[0] == before[0]
    print(f"{(after[1] - before[1]) >> 10} kB more after a minute, of {before[1] >> 10}")
    assert after[1] - before[1] < _RSS_GROWS_BYTES


def descriptors(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))


def resident_bytes(pid: int) -> int:
    """Its own: rings are shared."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith("RssAnon"))
