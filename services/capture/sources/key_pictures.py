"""Looking at the key pictures of a source that nobody looks at: is its picture still moving?"""

import logging
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import av
import numpy as np
import numpy.typing as npt

from services.capture.stillness import Stillness

if TYPE_CHECKING:
    from av.packet import Packet

log = logging.getLogger(__name__)

_MIN_DISTANCE_SECONDS = 0.5  # sources of key pictures alone, such as MJPEG, are looked at now and then
# One for all streams: their key pictures are decoded one after the other, beside what is forwarded.
_decoding = ThreadPoolExecutor(1, "key-pictures")


class KeyPictures:
    """Decodes the key pictures of one stream, never more than one at a time; those that come meanwhile are left out."""

    def __init__(self, decoder: Any) -> None:
        """`decoder`: a libav decoder of this stream's own."""
        self._decoder = decoder
        self._next_at = 0.0
        self._busy = False
        self.left_out = 0

    def look(self, packet: "Packet[Any]", stillness: Stillness) -> None:
        """Take a key packet in; returns at once."""
        now = time.monotonic()
        if now < self._next_at:
            return
        if self._busy:
            self.left_out += 1
            return
        self._busy, self._next_at = True, now + _MIN_DISTANCE_SECONDS
        _decoding.submit(self._decode, packet, stillness)

    def _decode(self, packet: "Packet[Any]", stillness: Stillness) -> None:
        try:
            # A decoder that reorders gives the picture when it is told that no more will come.
            for frame in (*self._decoder.decode(packet), *self._decoder.decode(None)):
                stillness.compare(_luma(frame))
            self._decoder.flush_buffers()
        except av.FFmpegError as error:  # a damaged picture: the next one may be whole
            log.debug("key picture not decoded: %s", error)
        except Exception:  # nobody awaits this: a defect must be seen in the log
            log.exception("key picture not looked at")
        finally:
            self._busy = False


def _luma(frame: Any) -> npt.NDArray[np.uint8]:
    """The first plane, 8 bits a sample, shape (height, samples): luma, or all components where they are packed."""
    plane, component = frame.planes[0], frame.format.components[0]
    deep = component.bits > 8
    rows = np.frombuffer(plane, np.uint16 if deep else np.uint8).reshape(-1, plane.line_size // (1 + deep))
    width = frame.width if frame.format.is_planar else frame.width * frame.format.bits_per_pixel // 8
    shown: npt.NDArray[Any] = rows[: frame.height, :width]
    return (shown >> (component.bits - 8)).astype(np.uint8) if deep else shown
