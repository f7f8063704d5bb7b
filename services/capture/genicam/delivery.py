"""From a camera's buffers to the stream: what is counted, when it was taken, how it is written."""

import time
from collections.abc import Mapping
from typing import Any, Final

import av
import numpy as np

from schemas.colours import ColourSpace
from schemas.frames import PixelFormat
from services.capture.genicam.camera import Buffer, Camera
from services.capture.genicam.configuration import EXPOSURE
from services.capture.genicam.device_clock import DeviceClock
from services.capture.genicam.pixel_formats import BY_CODE, CameraFormat
from services.capture.genicam.unpacking import Image, Unpacker
from services.capture.sink import StreamSink
from services.capture.stillness import Picture, luma_of
from shared import pixel_formats
from shared.media.colour.facts import mark
from shared.ring import RingGeometry

_LAST_SHORT_ID = 0xFFFF  # GigE Vision 1.x counts to here and begins again at 1
_MAX_GAP = 10_000  # more is no loss, the camera counts in its own way
_EXPOSURE_READ_SECONDS = 1.0  # of an automatic exposure without chunk data: a read takes the camera a millisecond
_MAX_EXPOSURE_US = 3_600e6  # an hour, beyond all cameras: a broken one must not say what no reference can hold
_AUTOMATIC = "ExposureAuto"
_RING_FORMATS: Final[dict[str, PixelFormat]] = {name: name for name in pixel_formats.ALL}


class Delivery:
    """Writes one camera's pictures into one sink. `deliver` is for the source's thread, `read_exposure` for any."""

    def __init__(self, camera: Camera) -> None:
        self._camera = camera
        self._clock = DeviceClock()
        self._unpackers: dict[int, Unpacker] = {}
        self._last_id = 0
        self._exposure_ns = 0
        self._exposure_follows = False
        self._read_exposure_at = 0.0
        self.read_exposure()

    def deliver(self, buffer: Buffer, sink: StreamSink) -> None:
        """Count a buffer and, while somebody looks, write it; it may be given back then.

        While nobody does, one a second is held against the one before, where the stream asks for that.
        """
        self._count_gap(buffer.frame_id, sink)
        if not buffer.complete:
            sink.dropped["damaged"] += 1
            return
        sink.arrived(buffer.data.size)
        sink.decoding(sink.wants_raw)
        # The mapping of clocks lives from every picture, looked at or not.
        taken_ns = self._clock.realtime(buffer.device_ns, buffer.arrived_ns) if buffer.device_ns else buffer.arrived_ns
        looked_at, stillness = sink.wants_raw, sink.stillness
        if not looked_at and (stillness is None or not stillness.due):
            return
        known = BY_CODE.get(buffer.pixel_format)
        if known is None:
            sink.dropped["unknown-format"] += 1
            return
        unpacker = self._unpackers.get(known.code)
        if unpacker is None:
            unpacker = self._unpackers[known.code] = Unpacker(known)
        image = unpacker.image(buffer)
        if image is None:
            sink.dropped["damaged"] += 1
            return
        if looked_at:
            self._write(image, known, taken_ns, buffer, sink)
        elif stillness is not None:
            stillness.compare(_luma(image, known.becomes), raw=True)

    def _write(self, image: Image, known: CameraFormat, taken_ns: int, buffer: Buffer, sink: StreamSink) -> None:
        about: Any = {
            "pts_ns": taken_ns,
            "captured_ns": taken_ns,
            "clock": "driver" if buffer.device_ns else "arrival",
            "exposure_ns": self._exposure_of(buffer.chunks),
            "metadata": buffer.chunks,
        }
        if pixel_format := _RING_FORMATS.get(known.becomes):
            sink.image(image, pixel_format, **about)
        else:
            # Copied: libav converts from its own memory.
            frame = av.VideoFrame.from_ndarray(image, format=known.becomes)
            sink.frame(mark(frame, ColourSpace(matrix=known.matrix)), **about)

    def _count_gap(self, frame_id: int, sink: StreamSink) -> None:
        last, self._last_id = self._last_id, frame_id
        if not last or not frame_id:
            return
        gap = frame_id - last - 1
        if gap < 0 and last <= _LAST_SHORT_ID:
            gap += _LAST_SHORT_ID  # 65535 is followed by 1
        if 0 < gap <= _MAX_GAP:
            sink.dropped["driver"] += gap

    # -- exposure --------------------------------------------------------------------------------------------

    def _exposure_of(self, chunks: Mapping[str, int | float | str | bool]) -> int:
        for name in EXPOSURE:
            microseconds = chunks.get(f"Chunk{name}")
            if isinstance(microseconds, int | float):
                return _to_ns(microseconds)
        if self._exposure_follows and time.monotonic() - self._read_exposure_at >= _EXPOSURE_READ_SECONDS:
            self.read_exposure()
        return self._exposure_ns

    def read_exposure(self) -> None:
        """The exposure as it is set: without chunk data the best that is known of each picture."""
        camera = self._camera
        with camera.lock:
            automatic = camera.feature(_AUTOMATIC)
            feature = next((found for name in EXPOSURE if (found := camera.feature(name))), None)
        self._exposure_follows = automatic is not None and automatic.value not in (None, "Off")
        self._read_exposure_at = time.monotonic()
        value = feature.value if feature is not None else None
        self._exposure_ns = _to_ns(value) if isinstance(value, int | float) else 0


def _luma(image: Image, becomes: str) -> Picture:
    if pixel_format := _RING_FORMATS.get(becomes):
        return luma_of(image, RingGeometry(pixel_format, image.shape[1], image.shape[0]))
    return image[..., 0 if becomes == "yuyv422" else 1].astype(np.uint8, copy=False)


def _to_ns(microseconds: float) -> int:
    return round(min(max(microseconds, 0), _MAX_EXPOSURE_US) * 1_000)
