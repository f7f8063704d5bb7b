"""Decoding that begins in the middle of a group of pictures shows the pictures a whole decode shows."""

import threading
from typing import Any

import av
import numpy as np
import pytest

from schemas.resources import StreamSpec
from services.capture.shaping import Shaper
from services.capture.sources.container import ContainerPlayer
from tests.support.mesh import bunny

SPEC = StreamSpec(stream="cam0", source="file:///bunny.mp4")


class Sink:
    """Stands where the ring is: keeps what is written, by number of picture."""

    def __init__(self) -> None:
        self.wants_raw = False
        self.stillness = None
        self.pictures: dict[int, bytes] = {}
        self.blocks = 0
        self._first_pts_ns: int | None = None

    @property
    def wants_sound(self) -> bool:
        return self.wants_raw

    def packet(self, payload: bytes, *, track: str, pts_ns: int, **_: Any) -> None:
        if track == "video" and self._first_pts_ns is None:
            self._first_pts_ns = pts_ns

    def frame(self, frame: av.VideoFrame, *, pts_ns: int, **_: Any) -> None:
        shaped = Shaper(SPEC).frame(frame)
        array = np.empty(shaped.geometry.array_shape, np.uint8)
        shaped.fill(array)
        assert self._first_pts_ns is not None
        self.pictures[round((pts_ns - self._first_pts_ns) * 25 / 1e9)] = array.tobytes()

    def sound(self, samples: Any, **_: Any) -> None:
        self.blocks += 1

    def decoding(self, now: bool) -> None:
        """Not looked at here."""

    def arrived(self, payload_bytes: int = 0) -> None:
        """Not looked at here."""


@pytest.fixture(scope="module")
def whole() -> list[bytes]:
    with av.open(str(bunny())) as container:
        return [frame.to_ndarray().tobytes() for frame in container.decode(video=0)]


@pytest.mark.parametrize("kind", ["video", "audio"])
def test_demand_that_comes_in_mid_group(whole: list[bytes], kind: str) -> None:
    sink = Sink()
    with av.open(str(bunny())) as container:
        player = ContainerPlayer(container, SPEC, "bunny", paced=False)
        pictures = 0
        for packet in container.demux():
            pictures += packet.stream.type == "video"
            if pictures >= 50 and packet.stream.type == kind:
                sink.wants_raw = True  # at a packet of this kind, far from any key frame
            if packet.size:
                assert player._deliver(packet, sink, threading.Event())  # type: ignore[arg-type]
    shown = sorted(sink.pictures)
    assert shown[0] in (49, 50), "what is new is shown, what led here is not"
    assert shown == list(range(shown[0], shown[-1] + 1))
    assert len(shown) > 60
    wrong = [number for number in shown if sink.pictures[number] != whole[number]]
    assert not wrong, "a picture was left out of the decoder, and every later one shows it"
    assert sink.blocks > 100
