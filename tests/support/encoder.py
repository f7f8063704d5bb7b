"""A rendition's video thread over a real ring, with what it publishes kept; and a decoder apart from it."""

import itertools
import threading
import time
from pathlib import Path
from typing import Any

import av
import numpy as np

from schemas.colours import UNSPECIFIED, ColourSpace
from schemas.frames import FrameRef
from schemas.resources import RenditionSpec
from services.hw_encode.codecs import Codecs
from services.hw_encode.video import VideoEncoder
from shared.ring import RingGeometry, RingReader, StreamWriter

WIDTH, HEIGHT, FPS = 320, 240, 30
SPEC = RenditionSpec(stream="cam0", bitrate="2M", key_interval="10s")


class Published:
    """Stands where the bus and the packet ring are: keeps what is published."""

    def __init__(self) -> None:
        self.packets: list[tuple[bytes, dict[str, Any]]] = []
        self._changed = threading.Condition()

    def publish(self, payload: bytes, **fields: Any) -> None:
        with self._changed:
            self.packets.append((payload, fields))
            self._changed.notify_all()

    def wait(self, count: int, seconds: float = 10.0) -> list[tuple[bytes, dict[str, Any]]]:
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.packets) >= count, seconds), len(self.packets)
            return list(self.packets)


class Bench:
    """A writer, an encoder on its ring, and what comes out."""

    def __init__(
        self, folder: Path, spec: RenditionSpec = SPEC, slots: int = 8, codecs: Codecs | None = None, **geometry: Any
    ) -> None:
        self.geometry = RingGeometry(**{"pixel_format": "yuv420p", "width": WIDTH, "height": HEIGHT, **geometry})
        self.writer = StreamWriter(folder, stream="cam0", node="n", epoch=1, slots=slots)
        self.reader = RingReader(folder, max_leases=slots)
        self.published = Published()
        self.failures: list[str] = []
        self.choices: list[str] = []
        self.encoder = VideoEncoder(
            spec,
            self.reader,
            self.published,  # type: ignore[arg-type]
            on_running=lambda choice, info: self.choices.append(choice.kind.name),
            on_failed=lambda _, error: self.failures.append(error.message),
            on_encoded=lambda seconds: None,
            acknowledge=lambda credit: None,
            codecs=codecs,
        )
        self._number = itertools.count()
        self.encoder.start()

    def write(self, value: int) -> FrameRef:
        """Put a picture of one brightness through and wait for its packet."""
        before = len(self.published.packets)
        ref = self.put(value)
        self.published.wait(before + 1)
        return ref

    def put(self, value: int) -> FrameRef:
        """Hand a picture of one brightness to the encoder."""
        array = np.full(self.geometry.array_shape, 128, np.uint8)
        array[: self.geometry.height] = value
        return self.put_array(array)

    def put_array(self, array: Any, colour_space: ColourSpace = UNSPECIFIED) -> FrameRef:
        """Hand a picture to the encoder."""
        slot = self.writer.acquire(self.geometry)
        assert slot is not None
        slot.array[:] = array
        number = next(self._number)
        ref = slot.commit(
            pts_ns=1_000_000_000 + number * 1_000_000_000 // FPS,
            captured_ns=time.time_ns(),
            monotonic_ns=time.monotonic_ns(),
            duration_ns=1_000_000_000 // FPS,
            colour_space=colour_space,
        )
        self.encoder.inbox.put(ref)
        return ref

    def close(self) -> None:
        self.encoder.stop(5)
        self.reader.close()
        self.writer.close()


def decode(packets: list[tuple[bytes, dict[str, Any]]], codec: str = "h264") -> list[np.ndarray[Any, Any]]:
    """The pictures as rgb24, shape (height, width, 3)."""
    decoder = av.CodecContext.create("libdav1d" if codec == "av1" else codec, "r")
    assert isinstance(decoder, av.VideoCodecContext)
    frames = [frame for payload, _ in packets for frame in decoder.decode(av.Packet(payload))]
    return [frame.to_ndarray(format="rgb24") for frame in [*frames, *decoder.decode(None)]]
