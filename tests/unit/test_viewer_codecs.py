"""What viewers are sent of each codec: the encoder's pictures come back from it, and decode."""

from typing import Any

import av
import pytest

from schemas.packets import VideoCodec
from services.webrtc_gateway.codecs.video import VIEWER_CODECS
from services.webrtc_gateway.egress.packetizer import MAX_EXTENSION_BYTES, MAX_PAYLOAD_BYTES
from shared.rtp.av1 import packetize_av1
from shared.rtp.depacketizers import DEPACKETIZERS
from tests.support.rtsp_rig import coded

pytestmark = pytest.mark.unit
CODECS: tuple[VideoCodec, ...] = ("hevc", "vp8", "vp9", "av1")
DECODERS = {"hevc": "hevc", "vp8": "vp8", "vp9": "vp9", "av1": "libdav1d"}
SMALL_BYTES = 120  # many packets of small pictures


@pytest.mark.parametrize("max_bytes", [MAX_PAYLOAD_BYTES, SMALL_BYTES])
@pytest.mark.parametrize("codec", CODECS)
def test_pictures_come_back_and_decode(codec: VideoCodec, max_bytes: int) -> None:
    decoder: Any = av.CodecContext.create(DECODERS[codec], "r")
    decoder.thread_count = 1
    pictures = 0
    for _, picture in coded(codec, 1.0):
        payloads = VIEWER_CODECS[codec].packetize(picture, max_bytes, MAX_EXTENSION_BYTES)
        assert max(map(len, payloads)) <= max_bytes
        assert len(payloads[0]) <= max_bytes - MAX_EXTENSION_BYTES
        pictures += len(decoder.decode(av.Packet(DEPACKETIZERS[codec](payloads))))
    pictures += len(decoder.decode(None))
    assert pictures == 25


def obu(kind: int, payload: bytes) -> bytes:
    assert len(payload) < 128
    return bytes((kind << 3 | 2, len(payload))) + payload


@pytest.mark.parametrize("max_bytes", range(20, 60))
def test_packets_of_av1_break_within_obus(max_bytes: int) -> None:
    """Wherever a packet ends, the next one does not look like the beginning of a picture."""
    unit = b"\x12\x00" + obu(1, b"s" * 11) + obu(3, b"h" * 9) + obu(4, b"t" * 40) + obu(4, b"u" * 33) + obu(15, b"p")
    payloads = packetize_av1(unit, max_bytes)
    goes_on, follows, new = 0x80, 0x40, 0x08
    assert [bool(payload[0] & goes_on) for payload in payloads] == [False] + [True] * (len(payloads) - 1)
    assert [bool(payload[0] & follows) for payload in payloads] == [True] * (len(payloads) - 1) + [False]
    assert [bool(payload[0] & new) for payload in payloads] == [True] + [False] * (len(payloads) - 1)
    assert DEPACKETIZERS["av1"](payloads).endswith(obu(4, b"u" * 33))
