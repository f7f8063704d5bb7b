"""The driver's buffers, mapped: pictures are used where the driver has put them."""

import contextlib
import ctypes
import errno
import mmap
import select
import time
import traceback
from ctypes import c_int32
from dataclasses import dataclass
from typing import Self

import numpy as np

from schemas.errors import Unavailable
from schemas.units import NS_PER_SECOND
from services.capture.v4l2 import abi
from services.capture.v4l2.device import VideoDevice, explain
from services.capture.v4l2.formats import Bytes

# One being filled, one being used, and some for a process that is kept waiting for two or three pictures.
_BUFFERS = 4
_MIN_BUFFERS = 2
# A driver's time further away than this from now is not the time of the picture (some count from power-up).
_OLDEST_NS = 10 * NS_PER_SECOND
_AHEAD_NS = 100_000_000


@dataclass(frozen=True)
class Taken:
    """A filled buffer; `data` is valid until it is given back."""

    index: int
    data: Bytes
    sequence: int
    damaged: bool
    monotonic_ns: int | None
    """The driver's time of the picture, CLOCK_MONOTONIC; None when it has none that can be believed."""


class Buffers:
    """Streams while the context is open. Every method raises MeshError with a text fit to show."""

    def __init__(self, device: VideoDevice) -> None:
        self._device = device
        self._maps: list[mmap.mmap] = []
        self._poll = select.poll()
        self._streaming = False

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if error:
            # Its frames hold pictures, and with them the mapping, which would keep the device in use until the error
            # is forgotten.
            traceback.clear_frames(error.__traceback__)
        self._end()

    def wait(self, seconds: float) -> bool:
        """Wait for a filled buffer; False when none came.

        Raises:
            Unavailable: unplugged.
        """
        for _, events in self._poll.poll(round(seconds * 1000)):
            if not events & select.POLLIN and events & (select.POLLERR | select.POLLHUP | select.POLLNVAL):
                raise Unavailable(f"{self._device.what}: the camera was unplugged, or its driver gave up")
            return bool(events & select.POLLIN)
        return False

    def take(self) -> Taken | None:
        """The oldest filled buffer; None when there is none after all.

        Raises:
            Unavailable: unplugged.
        """
        buffer, plane = self._buffer()
        try:
            self._device.ioctl(abi.DQBUF, buffer)
        except OSError as error:
            if error.errno == errno.EAGAIN:
                return None
            raise explain(error, self._device.what) from None
        mapped = self._maps[buffer.index]
        start = min(plane.data_offset, len(mapped)) if self._device.multi_planar else 0
        end = min(plane.bytesused if self._device.multi_planar else buffer.bytesused, len(mapped))
        return Taken(
            index=buffer.index,
            data=np.frombuffer(mapped, np.uint8)[start:end],
            sequence=buffer.sequence,
            damaged=bool(buffer.flags & abi.BUF_FLAG_ERROR),
            monotonic_ns=_believable(buffer),
        )

    def give_back(self, taken: Taken) -> None:
        """Let the driver fill it again."""
        self._device.request(abi.QBUF, self._buffer(taken.index)[0])

    def _buffer(self, index: int = 0) -> tuple[abi.Buffer, abi.Plane]:
        """What the driver fills in: a buffer, and its plane where it has a description of its own."""
        device, plane = self._device, abi.Plane()
        buffer = abi.Buffer(index=index, type=device.buffer_type, memory=abi.MEMORY_MMAP)
        if device.multi_planar:
            buffer.m.planes, buffer.length = ctypes.pointer(plane), 1
        return buffer, plane

    def _start(self) -> None:
        device = self._device
        request = abi.RequestBuffers(count=_BUFFERS, type=device.buffer_type, memory=abi.MEMORY_MMAP)
        device.request(abi.REQBUFS, request)
        if request.count < _MIN_BUFFERS:
            raise Unavailable(f"{device.what} has memory for {request.count} pictures; {_MIN_BUFFERS} are needed")
        for index in range(request.count):
            buffer, plane = self._buffer(index)
            device.request(abi.QUERYBUF, buffer)
            length, offset = buffer.length, buffer.m.offset
            if device.multi_planar:
                length, offset = plane.length, plane.m.mem_offset
            try:
                # Writable, because some drivers refuse others; nothing here writes.
                mapped = mmap.mmap(device.fd, length, mmap.MAP_SHARED, offset=offset)
            except OSError as error:
                raise explain(error, device.what) from None
            self._maps.append(mapped)
            device.request(abi.QBUF, self._buffer(index)[0])
        device.request(abi.STREAMON, c_int32(self._device.buffer_type))
        self._streaming = True
        self._poll.register(device.fd, select.POLLIN)

    def _end(self) -> None:
        if self._streaming:
            with contextlib.suppress(OSError):  # unplugged: it has ended already
                self._device.ioctl(abi.STREAMOFF, c_int32(self._device.buffer_type))
        for mapped in self._maps:
            with contextlib.suppress(BufferError):  # somebody still looks at it: gone when they let go
                mapped.close()
        self._maps.clear()
        if self._streaming:
            with contextlib.suppress(OSError):  # closing the device does the same
                self._device.ioctl(
                    abi.REQBUFS, abi.RequestBuffers(type=self._device.buffer_type, memory=abi.MEMORY_MMAP)
                )
        self._streaming = False


def _believable(buffer: abi.Buffer) -> int | None:
    if buffer.flags & abi.BUF_FLAG_TIMESTAMP_MASK != abi.BUF_FLAG_TIMESTAMP_MONOTONIC:
        return None
    stamp_ns = int(buffer.timestamp.seconds) * NS_PER_SECOND + int(buffer.timestamp.microseconds) * 1_000
    age_ns = time.monotonic_ns() - stamp_ns
    return stamp_ns if -_AHEAD_NS <= age_ns <= _OLDEST_NS else None
