"""From the driver's buffers to the sink: each picture with its time, decoded or handed on only while somebody looks."""

import logging
import time
from collections.abc import Mapping
from typing import Any, cast

import av
import numpy as np
from av.video.frame import VideoFrame

from services.capture.sink import StreamSink
from services.capture.stillness import Stillness, luma_of_frame
from services.capture.v4l2.buffers import Taken
from services.capture.v4l2.control import Control
from services.capture.v4l2.controls import read_control
from services.capture.v4l2.device import SetFormat, VideoDevice
from services.capture.v4l2.formats import Bytes, SensorFormat
from shared.media.colour.facts import mark

log = logging.getLogger(__name__)

_JPEG_START, _JPEG_END = b"\xff\xd8", b"\xff\xd9"  # which a picture's own data cannot hold
_JPEG_TAIL_BYTES = 4096  # padding that cameras leave behind the end
_PADDING_BYTES = 64  # libav's readers look ahead; AV_INPUT_BUFFER_PADDING_SIZE
_READING_NS = 5_000  # what it takes to read three clocks, unless the thread is interrupted between them
_MAX_READINGS = 4
_MAX_GAP = 1_000  # pictures; more is a driver that counts otherwise
_EXPOSURE_UNIT_NS = 100_000  # V4L2_CID_EXPOSURE_ABSOLUTE
_AUTO_EXPOSURE_NAMES = ("auto_exposure", "exposure_auto")  # the second before Linux 5.18
_EXPOSURE_IS_FIXED = (1, 2)  # V4L2_EXPOSURE_MANUAL and _SHUTTER_PRIORITY


class PictureMaker:
    """For one run of one camera in one format; used by its thread."""

    def __init__(self, form: SensorFormat, agreed: SetFormat, duration_ns: int) -> None:
        self._form = form
        self._agreed = agreed
        self._duration_ns = duration_ns
        self._row_bytes = agreed.bytes_per_line if not form.compressed else 0
        if not form.compressed:
            # Drivers that know no padding say 0.
            self._row_bytes = max(self._row_bytes, form.row_bytes(agreed.width))
        self._decoder: Any = None
        self._ends = False
        self._sequence: int | None = None
        self._pts_base_ns: int | None = None

    def take(self, taken: Taken, sink: StreamSink, exposure_ns: int) -> bool:
        """Deliver one picture; False when it was damaged."""
        self._count_gap(taken.sequence, sink)
        if taken.damaged or not self._whole(taken.data):
            sink.dropped["damaged"] += 1
            return False
        sink.arrived(len(taken.data) if self._form.compressed else 0)
        sink.decoding(sink.wants_raw)
        if not sink.wants_raw:
            if (stillness := sink.stillness) is not None and stillness.due:
                self._compare(taken.data, stillness)
            self._decoder = None
            return True
        times = self._times(taken.monotonic_ns)
        if self._form.image:
            image = self._form.as_image(taken.data, self._agreed.width, self._agreed.height, self._row_bytes)
            sink.image(image, self._form.image, duration_ns=self._duration_ns, exposure_ns=exposure_ns, **times)
            return True
        frame = self._frame(taken.data)
        if frame is None:
            sink.dropped["damaged"] += 1
            return False
        sink.frame(frame, duration_ns=self._duration_ns, exposure_ns=exposure_ns, **times)
        return True

    def _compare(self, data: Bytes, stillness: Stillness) -> None:
        if not self._form.compressed:
            stillness.compare(self._form.luma(data, self._agreed.width, self._agreed.height, self._row_bytes), raw=True)
        elif (frame := self._frame(data)) is not None:
            stillness.compare(luma_of_frame(frame), raw=True)

    def _whole(self, data: Bytes) -> bool:
        if self._form.compressed:
            return data[:2].tobytes() == _JPEG_START and self._has_end(data)
        return len(data) >= self._form.picture_bytes(self._agreed.width, self._agreed.height, self._row_bytes)

    def _has_end(self, data: Bytes) -> bool:
        """A picture that was cut off decodes without an error, its rest grey; but its end is missing.

        Some cameras never send the end: it is asked of those that have sent it.
        """
        end = _JPEG_END in data[-_JPEG_TAIL_BYTES:].tobytes()
        self._ends = self._ends or end
        return end or not self._ends

    def _frame(self, data: Bytes) -> VideoFrame | None:
        """The picture as libav has it; None when it is damaged."""
        if self._decoder is None:
            self._decoder = self._new_decoder()
        if self._form.compressed:
            # Copied: the driver leaves no padding behind it. Some tens of kilobytes.
            padded = np.zeros(len(data) + _PADDING_BYTES, np.uint8)
            padded[: len(data)] = data
            packed = padded[: len(data)]
        else:
            # In place: libav's frame points into the driver's buffer, and goes before that is given back.
            packed = self._form.packed(data, self._agreed.width, self._agreed.height, self._row_bytes)
        packet = av.Packet(cast("bytes", packed))  # any buffer will do, whatever its annotation says
        try:
            frames = self._decoder.decode(packet)
        except av.error.InvalidDataError as error:
            log.debug("picture not decoded: %s", error)
            return None
        return frames[0] if frames else None

    def _new_decoder(self) -> Any:
        decoder: Any = av.CodecContext.create(self._form.libav if self._form.compressed else "rawvideo", "r")
        decoder.thread_count = 1  # threads would hold each picture back until the next
        decoder.width, decoder.height = self._agreed.width, self._agreed.height
        if not self._form.compressed:
            decoder.pix_fmt = self._form.libav
            mark(decoder, self._agreed.colour_space)  # it hands that on with each picture; RGB is known by its format
        return decoder

    def _times(self, monotonic_ns: int | None) -> dict[str, Any]:
        """When it was taken: by the driver, and on the stream's timeline."""
        if monotonic_ns is None:
            now_ns = time.time_ns()
            return {"pts_ns": now_ns, "captured_ns": now_ns, "clock": "arrival"}
        captured_ns = monotonic_ns + _wall_offset_ns()
        if self._pts_base_ns is None:
            self._pts_base_ns = captured_ns - monotonic_ns
        # The media clock is the driver's: a step of the wall clock does not show in it.
        return {"pts_ns": self._pts_base_ns + monotonic_ns, "captured_ns": captured_ns, "clock": "driver"}

    def _count_gap(self, sequence: int, sink: StreamSink) -> None:
        if self._sequence is not None and 1 < (gap := sequence - self._sequence) <= _MAX_GAP:
            sink.dropped["driver"] += gap - 1
        self._sequence = sequence


def _wall_offset_ns() -> int:
    """CLOCK_REALTIME less CLOCK_MONOTONIC, of the reading that was disturbed least."""
    best_ns, offset_ns = _READING_NS + 1, 0
    for _ in range(_MAX_READINGS):
        before_ns, wall_ns, after_ns = time.monotonic_ns(), time.time_ns(), time.monotonic_ns()
        if after_ns - before_ns < best_ns or not offset_ns:
            best_ns, offset_ns = after_ns - before_ns, wall_ns - (before_ns + after_ns) // 2
        if best_ns <= _READING_NS:
            break
    return offset_ns


def exposure_ns(device: VideoDevice, controls: Mapping[str, Control]) -> int:
    """How long the camera exposes each picture, where that is fixed and told; else 0."""
    time_control = controls.get("exposure_time_absolute") or controls.get("exposure_absolute")
    automatic = next((controls[name] for name in _AUTO_EXPOSURE_NAMES if name in controls), None)
    if time_control is None or (automatic and read_control(device, automatic) not in _EXPOSURE_IS_FIXED):
        return 0
    value = read_control(device, time_control)
    return value * _EXPOSURE_UNIT_NS if isinstance(value, int) else 0
