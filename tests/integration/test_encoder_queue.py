"""An encoder that is held: what waits, what gives way, and that what waits is not overwritten."""

import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from av.video.frame import VideoFrame
from msgspec.structs import replace

from schemas.resources import WhenFull
from services.hw_encode.active_encoder import ActiveEncoder
from tests.support.encoder import SPEC, Bench, decode

pytestmark = pytest.mark.integration

_VALUES = range(40, 200, 5)
"""Of 32 pictures: four times what the ring has slots for."""


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="framemesh-test-", dir="/dev/shm") as path:
        yield Path(path) / "rings"


@pytest.mark.parametrize(
    ("when_full", "encoded", "dropped"),
    [
        ("drop-oldest", [1, 30, 31, 32], {"drop-oldest": 28}),
        ("refuse", [1, 2, 3, 4], {"refuse": 28}),
        ("clear", [1, 32], {"clear": 30}),
    ],
)
def test_each_policy_with_an_encoder_that_is_held(
    folder: Path, monkeypatch: Any, when_full: WhenFull, encoded: list[int], dropped: dict[str, int]
) -> None:
    holding, go_on = threading.Event(), threading.Event()
    real = ActiveEncoder.encode

    def held(self: ActiveEncoder, picture: VideoFrame) -> Any:
        holding.set()
        assert go_on.wait(10)
        return real(self, picture)

    monkeypatch.setattr(ActiveEncoder, "encode", held)
    bench = Bench(folder, replace(SPEC, encoder="software", queue=3, when_full=when_full))
    try:
        bench.put(_VALUES[0])
        assert holding.wait(10)
        for value in _VALUES[1:]:
            bench.put(value)
        assert bench.encoder.inbox.dropped == dropped
        go_on.set()
        packets = bench.published.wait(len(encoded))
    finally:
        go_on.set()
        bench.close()
    assert [fields["sequence"] for _, fields in packets] == encoded
    levels = [float(picture.mean()) for picture in decode(packets)]
    wanted = [(_VALUES[sequence - 1] - 16) * 255 / 219 for sequence in encoded]
    assert np.abs(np.array(levels) - wanted).max() < 4, "each is the picture that it was when it was queued"
    assert bench.reader.held == 0
