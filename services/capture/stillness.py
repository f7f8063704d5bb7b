"""Whether a source's pictures differ at all: a camera that has frozen sends the same one for ever.

A picture is looked at in about 270 rows of samples, whatever its size, and compared with the first of the run of
identical ones, by the mean of each block of 4 x 4 samples (16 x 16 pixels at 1080p). An encoder draws a still picture
anew at every key picture and refines it after; measured with x264 at 1080p, its block means move by 1.7 of 255 at
4 Mbit/s and by 4.8 at a coarse 1 Mbit/s, while digits 7 pixels high that count seconds move one by 13, and a faint
dot of 8 x 8 pixels that wanders by 15. So `_ENCODED_DIFFERENCE` lies between. Sensor noise is averaged away with the
encoder's (sigma 4: 7): a motionless scene counts as frozen, which only its own noise could tell from it, and that does
not survive every encoder. Sources that are not encoded are compared exactly: there noise is life.
0.06 ms a picture at 1080p.
"""

import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from schemas.frames import PixelFormat
from shared.ring import RingGeometry

Picture = npt.NDArray[np.uint8]
RingPicture = npt.NDArray[np.uint8 | np.uint16]
_ROWS = 270
_BLOCK = 4  # samples, each way
_ENCODED_DIFFERENCE = 8  # of 255, in the mean of a block
_LOOK_SECONDS = 1.0  # `frozen_after` is of seconds, and unpacking a picture may take milliseconds
_UNENCODED = frozenset(("", "raw", "rawvideo"))  # codecs
_DEPTH_BITS: dict[PixelFormat, int] = {"gray10le": 10, "gray12le": 12}


class Stillness:
    """The present run of identical pictures. `compare` may be called from any thread."""

    def __init__(self, codec: str, changed: Callable[[], None], clock: Callable[[], float] = time.monotonic) -> None:
        """`changed`: called at the first different picture after `tell_change`."""
        self._most = 0 if codec in _UNENCODED else _ENCODED_DIFFERENCE * _BLOCK * _BLOCK
        self._changed, self._clock = changed, clock
        self._reference: npt.NDArray[np.int32] | None = None
        self._raw = False
        self._since = self._compared_at = clock()
        self._tell = False
        self._lock = threading.Lock()

    @property
    def seconds(self) -> float:
        """For how long pictures have been seen to be identical."""
        return self._compared_at - self._since

    def tell_change(self) -> None:
        """Ask to be told of the next different picture."""
        self._tell = True

    @property
    def due(self) -> bool:
        """Of a source whose pictures nobody sees now: it is time to give one to `compare`."""
        return self._clock() - self._compared_at >= _LOOK_SECONDS

    def compare(self, luma: Picture, *, raw: bool = False) -> None:
        """Take the next picture in, shape (height, width). `raw`: as the source sent it, not yet masked or turned."""
        sums = _block_sums(luma)
        with self._lock:
            self._take(sums, raw)

    def _take(self, sums: npt.NDArray[np.int32], raw: bool) -> None:
        now = self._clock()
        reference = self._reference
        self._compared_at = now
        if reference is None or reference.shape != sums.shape or raw != self._raw:
            # Another way of looking (written for somebody, or not) tells nothing of the source.
            self._reference, self._raw = sums, raw
        elif int(np.abs(sums - reference).max(initial=0)) > self._most:
            self._reference, self._since = sums, now
            if self._tell:
                self._tell = False
                self._changed()


def luma_of(array: RingPicture, geometry: RingGeometry) -> Picture:
    """What stands for the brightness of a picture in the ring, 8 bits a sample; a view, or a copy of some rows."""
    kind = geometry.pixel_format
    luma: npt.NDArray[Any] = array[: geometry.height]  # of the planar formats the first rows are it, of the others all
    if luma.ndim == 3:
        luma = luma[..., 1]
    if luma.dtype == np.uint16:  # the upper eight bits that are used
        luma = luma[:: _step(geometry.height)] >> (_DEPTH_BITS.get(kind, 16) - 8)
    return luma.astype(np.uint8, copy=False)


def luma_of_frame(frame: Any) -> Picture:
    """The first plane of a decoded picture, 8 bits a sample, shape (height, samples).

    Luma, or all components where they are packed.
    """
    plane, component = frame.planes[0], frame.format.components[0]
    deep = component.bits > 8
    rows = np.frombuffer(plane, np.uint16 if deep else np.uint8).reshape(-1, plane.line_size // (1 + deep))
    width = frame.width if frame.format.is_planar else frame.width * frame.format.bits_per_pixel // 8
    shown: npt.NDArray[Any] = rows[: frame.height, :width]
    return (shown >> (component.bits - 8)).astype(np.uint8) if deep else shown


def _step(height: int) -> int:
    return max(1, height // _ROWS)


def _block_sums(luma: Picture) -> npt.NDArray[np.int32]:
    step = _step(luma.shape[0])
    # Copied: the sums below want the samples side by side.
    samples = np.ascontiguousarray(luma[step // 2 :: step, step // 2 :: step])
    rows, columns = samples.shape[0] // _BLOCK, samples.shape[1] // _BLOCK
    if not rows or not columns:  # smaller than a block: each sample is one
        return samples.astype(np.int32) * _BLOCK * _BLOCK
    samples = samples[: rows * _BLOCK, : columns * _BLOCK]
    lines = np.add.reduce(samples.reshape(rows, _BLOCK, -1), axis=1, dtype=np.uint16)
    sums: npt.NDArray[np.int32] = lines[:, 0::_BLOCK].astype(np.int32)
    for column in range(1, _BLOCK):
        sums += lines[:, column::_BLOCK]
    return sums
