"""Looking at the key pictures of a source that nobody looks at: is its picture still moving?"""

import logging
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import av

from services.capture.stillness import Stillness, luma_of_frame

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
                stillness.compare(luma_of_frame(frame), raw=True)
            self._decoder.flush_buffers()
        except av.FFmpegError as error:  # a damaged picture: the next one may be whole
            log.debug("key picture not decoded: %s", error)
        except Exception:  # nobody awaits this: a defect must be seen in the log
            log.exception("key picture not looked at")
        finally:
            self._busy = False
