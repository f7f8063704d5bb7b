"""The sound of a rendition: all of it comes out, and what is none does no harm."""

from typing import Any

import msgspec
import pytest

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
