"""By codec: what makes access units, in the form they have on the bus, of the RTP payloads that are whole and in order.

Each takes (payloads of one access unit) and raises BadRequest for what is broken.
"""

from collections.abc import Callable, Sequence

from schemas.errors import BadRequest
from shared.rtp.depacketize_av1 import depacketize_av1
from shared.rtp.depacketize_nal import depacketize_h264, depacketize_hevc
from shared.rtp.depacketize_vpx import depacketize_vp8, depacketize_vp9

Depacketizer = Callable[[Sequence[bytes]], bytes]


def depacketize_opus(payloads: Sequence[bytes]) -> bytes:
    """The one packet that a payload is (RFC 7587)."""
    if len(payloads) != 1 or not payloads[0]:
        raise BadRequest(f"{len(payloads)} Opus payloads of one time; each packet has its own")
    return payloads[0]


DEPACKETIZERS: dict[str, Depacketizer] = {
    "h264": depacketize_h264,
    "hevc": depacketize_hevc,
    "vp8": depacketize_vp8,
    "vp9": depacketize_vp9,
    "av1": depacketize_av1,
    "opus": depacketize_opus,
}
