"""The sound of a rendition: all of it comes out, and what is none does no harm."""

from typing import Any

import av
import msgspec
import numpy as np
import pytest
from av.audio.codeccontext import AudioCodecContext

from schemas.frames import AudioHeader
from schemas.resources import RenditionSpec
from services.hw_encode.audio import AudioEncoder

pytestmark = pytest.mark.unit

BLOCKS, BLOCK_NS, SAMPLES = 25, 20_000_000, 960
HEADER = AudioHeader(
    stream="cam0", node="n", epoch=1, sequence=1, sample_rate=48_000, channels=2, sample_format="s16",
    samples=SAMPLES, pts_ns=0, captured_ns=0,
)  # fmt: skip


class Published:
    """Stands where the bus and the packet ring are: keeps until when each track reaches."""

    def __init__(self) -> None:
        self.until_ns: dict[str, int] = {}

    def publish(self, _payload: bytes, *, track: str, pts_ns: int, duration_ns: int, **_fields: Any) -> None:
        self.until_ns[track] = pts_ns + duration_ns


def test_the_last_moment_comes_when_it_ends() -> None:
    published = Published()
    sound = AudioEncoder(RenditionSpec(stream="cam0"), published)  # type: ignore[arg-type]
    for number in range(BLOCKS):
        sound._encode(msgspec.structs.replace(HEADER, pts_ns=number * BLOCK_NS), memoryview(bytes(SAMPLES * 4)))
    sound.start()
    sound.stop(5)
    assert {track: round(until_ns / BLOCK_NS) for track, until_ns in published.until_ns.items()} == {
        "opus": BLOCKS,
        "aac": BLOCKS,
    }


@pytest.mark.parametrize("changes", [{"sample_rate": 44_100}, {"sample_rate": 1}, {"channels": 6}, {"samples": 961}])
def test_blocks_that_no_encoder_takes_are_counted_and_left_out(changes: dict[str, int]) -> None:
    sound = AudioEncoder(RenditionSpec(stream="cam0"), Published())  # type: ignore[arg-type]
    header = msgspec.structs.replace(HEADER, **changes)
    sound.feed(header, memoryview(bytes(SAMPLES * header.channels * 2)))
    assert sound.dropped_blocks == 1
    assert sound._queue.empty()


@pytest.mark.parametrize("rate", [44_100, 32_000, 22_050])
def test_aac_has_the_sample_rate_that_was_asked_for_and_keeps_the_pitch(rate: int) -> None:
    got: list[tuple[bytes, dict[str, Any]]] = []

    class Kept:
        def publish(self, payload: bytes, *, track: str, **fields: Any) -> None:
            if track == "aac":
                got.append((payload, fields))

    sound = AudioEncoder(RenditionSpec(stream="cam0", audio_sample_rate=rate), Kept())  # type: ignore[arg-type]
    seconds = np.arange(BLOCKS * SAMPLES) / 48_000
    tone = np.repeat((np.sin(2 * np.pi * 1_000 * seconds) * 16_000).astype(np.int16), 2).reshape(BLOCKS, -1)
    for number in range(BLOCKS):
        sound._encode(msgspec.structs.replace(HEADER, pts_ns=number * BLOCK_NS), memoryview(tone[number].tobytes()))
    sound.start()
    sound.stop(5)
    assert {fields["sample_rate"] for _, fields in got} == {rate}
    steps = np.diff([fields["pts_ns"] for _, fields in got])
    assert np.allclose(steps, 1024 / rate * 1e9, atol=2)
    decoder = av.CodecContext.create("aac", "r")
    assert isinstance(decoder, AudioCodecContext)
    decoder.extradata = got[0][1]["extradata"]
    heard = np.concatenate([f.to_ndarray()[0] for payload, _ in got for f in decoder.decode(av.Packet(payload))])
    heard = heard[2048 : 2048 + rate // 5]  # past the encoder's delay
    peak = np.argmax(np.abs(np.fft.rfft(heard * np.hanning(len(heard))))) * rate / len(heard)
    assert peak == pytest.approx(1_000, abs=6)
