"""AAC of a source as Opus for its viewers: the same sound at the same time, over gaps and rubbish."""

import asyncio
import itertools
from collections import Counter
from fractions import Fraction
from typing import Any

import av
import numpy as np
import pytest

from schemas.packets import PacketHeader
from services.webrtc_gateway.codecs.opus_from_aac import OpusFromAac

pytestmark = pytest.mark.unit
RATE, FRAME_SAMPLES, TONE_HZ, NS = 44_100, 1024, 1000, 1_000_000_000
BEGIN_NS = 1_700_000_000 * NS


def aac(seconds: float, layout: str) -> list[tuple[PacketHeader, bytes]]:
    """A tone."""
    encoder = av.CodecContext.create("aac", "w")
    encoder.sample_rate, encoder.layout, encoder.format = RATE, layout, "fltp"
    encoder.time_base = Fraction(1, RATE)
    encoder.open()
    made: list[tuple[PacketHeader, bytes]] = []
    for number in range(int(seconds * RATE / FRAME_SAMPLES)):
        t = (np.arange(FRAME_SAMPLES) + number * FRAME_SAMPLES) / RATE
        tone = (np.sin(2 * np.pi * TONE_HZ * t) * 0.3).astype(np.float32)
        frame = av.AudioFrame.from_ndarray(np.tile(tone, (len(encoder.layout.channels), 1)), "fltp", layout)
        frame.sample_rate, frame.pts = RATE, number * FRAME_SAMPLES
        for packet in encoder.encode(frame):
            pts_ns = BEGIN_NS + len(made) * FRAME_SAMPLES * NS // RATE
            header = PacketHeader(
                stream="cam0",
                rendition="source",
                track="aac",
                codec="aac",
                epoch=1,
                sequence=len(made),
                run=1,
                index=len(made),
                key=True,
                pts_ns=pts_ns,
                dts_ns=pts_ns,
                captured_ns=pts_ns,
                sample_rate=RATE,
                channels=len(encoder.layout.channels),
                extradata=bytes(encoder.extradata or b""),
            )
            made.append((header, bytes(packet)))
    return made


class Viewer:
    def __init__(self) -> None:
        self.got: list[tuple[PacketHeader, bytes]] = []
        self.drops: Counter[str] = Counter()
        self.more = asyncio.Event()
        self.sound = OpusFromAac(self.take, self.drops)

    def take(self, header: PacketHeader, payload: memoryview) -> None:
        self.got.append((header, bytes(payload)))
        self.more.set()

    async def hears(self, packets: list[tuple[PacketHeader, bytes]], count: int) -> None:
        for header, payload in packets:
            self.sound.feed(header, memoryview(payload))
            await asyncio.sleep(0.001)  # they come one by one
        async with asyncio.timeout(10):
            while len(self.got) < count:
                self.more.clear()
                await self.more.wait()

    def tone_hz(self) -> float:
        decoder: Any = av.CodecContext.create("libopus", "r")
        decoder.sample_rate, decoder.layout = 48_000, "stereo"
        frames = [frame for _, payload in self.got for frame in decoder.decode(av.Packet(payload))]
        sound = np.concatenate([frame.to_ndarray().astype(np.float64).reshape(-1)[::2] for frame in frames])
        spectrum = np.abs(np.fft.rfft(sound[len(sound) // 4 :]))
        return float(spectrum.argmax() * 48_000 / (2 * (len(spectrum) - 1)))


@pytest.mark.parametrize("layout", ["stereo", "5.1"])
async def test_the_same_sound_at_the_same_time(layout: str) -> None:
    viewer, packets = Viewer(), aac(1.0, layout)
    await viewer.hears(packets, 44)
    await viewer.sound.close()
    headers = [header for header, _ in viewer.got]
    assert {(one.track, one.codec, one.channels, one.sample_rate) for one in headers} == {("opus", "opus", 2, 48_000)}
    assert [one.index for one in headers] == list(range(1, len(headers) + 1))
    assert {after.pts_ns - one.pts_ns for one, after in itertools.pairwise(headers)} == {NS // 50}
    assert abs(headers[0].pts_ns - packets[0][0].pts_ns) < 10_000_000, "Opus begins with its look-ahead of 6.5 ms"
    assert abs(viewer.tone_hz() - TONE_HZ) < 10
    assert viewer.drops == {}


async def test_a_gap_and_rubbish_cost_no_more_than_themselves() -> None:
    viewer, packets = Viewer(), aac(1.0, "stereo")
    rubbish = (packets[10][0], b"\xff" * 40)
    await viewer.hears([*packets[:10], rubbish, *packets[11:20], *packets[30:]], 30)
    await viewer.sound.close()
    assert viewer.drops["sound_malformed"] >= 1
    ends = viewer.got[-1][0].pts_ns
    assert abs(ends - packets[-1][0].pts_ns) < 60_000_000, "times go on behind the gap"
    count = len(viewer.got)
    viewer.sound.feed(packets[0][0], memoryview(packets[0][1]))
    await asyncio.sleep(0.05)
    assert len(viewer.got) == count, "closed"
