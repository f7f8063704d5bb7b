"""Messages on labels with `compress`: zlib (RFC 1950) both ways, and never more than a message may have."""

import functools
import zlib

from services.webrtc_gateway.datachannels.limits import MAX_MESSAGE_BYTES

_LEVEL = 1  # of text nearly as small as the best one's, at a quarter of its time
_REMEMBERED = 4  # of 256 KiB at most: what all of a channel are told is deflated once


class NotDeflated(ValueError):
    """The bytes are no whole zlib stream; `why` is for the counters."""

    def __init__(self, why: str) -> None:
        self.why = why
        super().__init__(why)


@functools.lru_cache(maxsize=_REMEMBERED)
def deflate(data: bytes) -> bytes:
    return zlib.compress(data, _LEVEL)


def inflate(data: bytes, most_bytes: int = MAX_MESSAGE_BYTES) -> bytes:
    """Raises:
    NotDeflated: it is no zlib, is cut off, or holds more than `most_bytes`; no more than those are ever made.
    """
    inflating = zlib.decompressobj()
    try:
        inflated = inflating.decompress(data, most_bytes + 1)
    except zlib.error:
        raise NotDeflated("not_zlib") from None
    if len(inflated) > most_bytes:
        raise NotDeflated("inflated_too_large")
    if not inflating.eof or inflating.unused_data:
        raise NotDeflated("not_zlib")
    return inflated
