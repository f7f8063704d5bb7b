"""Inputs that are taken, of packets and media: what is tried is made of them."""

import struct
import zlib
from typing import Final

import msgspec

from schemas.frames import FrameRef
from services.webrtc_gateway.ingest.feedback import FeedbackWriter
from shared.rtp.depacketizers import DEPACKETIZERS
from shared.rtp.formats import PAYLOAD_FORMATS
from tests.fuzz.inputs import joined
from tests.fuzz.packet_entries import MAX_RTP_BYTES

_SSRC: Final = 5
_H264: Final = (
    b"\0\0\0\1\x67\x42\xc0\x1f\xda\x01\x40\x16\xe8\x06\xd0\xa1\x35\0\0\0\1\x68\xce\x3c\x80\0\0\0\1\x65\x88\x80"
    + b"p" * 1800
)
_HEVC: Final = b"\0\0\0\1\x40\x01\x0c\0\0\0\1\x42\x01\x01\x01\x60\0\0\0\1\x44\x01\xc1\0\0\0\1\x26\x01\xaf" + b"p" * 1800
_AV1: Final = b"\x12\x00\x0a\x0b\x00\x00\x00\x04\x3c\xff\xbc\xff\xe1\x20\x10\x32\x08abcdefgh"
_VP8: Final = b"\x10\x02\x00\x9d\x01\x2a\x40\x00\x30\x00" + b"v" * 1500
_VP9: Final = b"\x82\x49\x83\x42\x00" + b"v" * 1500
_ADTS: Final = b"\xff\xf1\x50\x80\x02\x1f\xfc" + bytes(10)
_AVCC: Final = b"\x01\x42\xc0\x1f\xff\xe1\x00\x04\x67\x42\xc0\x1f\x01\x00\x04\x68\xce\x3c\x80"
UNITS: Final = {
    "h264": _H264,
    "hevc": _HEVC,
    "av1": _AV1,
    "vp8": _VP8,
    "vp9": _VP9,
    "opus": b"\xfc\xff\xfe",
    "aac": b"\x21\x10",
}


def access_units() -> list[bytes]:
    """With the first byte that `packetize` takes for the codec; the rest for whoever reads without it."""
    names = sorted(PAYLOAD_FORMATS)
    made = [bytes((names.index(name),)) + UNITS.get(name, b"\xff\xd8\xff\xdb\0\x43\0") for name in names]
    return [*made, *UNITS.values(), _ADTS, _AVCC]


def payloads() -> list[bytes]:
    names = sorted(DEPACKETIZERS)
    return [
        bytes((number,)) + joined(list(PAYLOAD_FORMATS[name].packetize(memoryview(UNITS[name]), MAX_RTP_BYTES)))
        for number, name in enumerate(names)
    ]


def rtp_packets() -> list[bytes]:
    payload = PAYLOAD_FORMATS["h264"].packetize(memoryview(_H264), MAX_RTP_BYTES)
    packets = [
        struct.pack("!BBHII", 0x80, (number == len(payload) - 1) << 7 | 102, 10 + number, 90_000, _SSRC) + part
        for number, part in enumerate(payload)
    ]
    extended = struct.pack("!BBHIIHH", 0x90, 102, 9, 1, _SSRC, 0xBEDE, 3) + b"\x10A\x37abcdefgh\0"
    again = struct.pack("!BBHIIH", 0x80, 103, 1, 90_000, _SSRC + 1, 10) + payload[0]
    return [joined(packets), joined([extended, *packets[::-1]]), joined([packets[0], again])]


def rtcp_packets() -> list[bytes]:
    sender = struct.pack("!BBHIQIII", 0x80, 200, 6, _SSRC, 1 << 63, 9, 1, 1)
    receiver = struct.pack("!BBHI", 0x81, 201, 7, _SSRC) + struct.pack("!IIIIII", 7, 0x10000001, 9, 1, 2, 3)
    nack = struct.pack("!BBHIIHH", 0x81, 205, 3, _SSRC, 7, 100, 0xFF)
    picture = struct.pack("!BBHII", 0x81, 206, 2, _SSRC, 7)
    key = struct.pack("!BBHIIIB3x", 0x84, 206, 4, _SSRC, 0, 7, 1)
    estimate = struct.pack("!BBHII4sIIxx", 0x8F, 206, 5, _SSRC, 0, b"REMB", 0x01060000, 7)[:24]
    arrivals = struct.pack("!BBHIIHHIH", 0x8F, 205, 5, _SSRC, 7, 1, 4, 0x00000100, 0x2004) + b"\1\1\1\1\0\0"[:6]
    return [
        sender + FeedbackWriter().goodbye(),
        receiver + nack + picture,
        key,
        estimate,
        arrivals[: len(arrivals) & ~3],
    ]


def references() -> list[bytes]:
    ref = FrameRef(
        stream="cam0", node="n", epoch=1, sequence=1, ring="cam0.1.ab.ring", slot=0, pixel_format="yuv420p",
        width=2, height=2, pts_ns=0, captured_ns=0, monotonic_ns=0,
    )  # fmt: skip
    return [msgspec.json.encode(ref)]


def deflated() -> list[bytes]:
    return [zlib.compress(b"hello " * 20), zlib.compress(bytes(1 << 20)), zlib.compress(b"")]


def device_line_pieces() -> list[bytes]:
    return [joined([b"on\r\nof", b"f\n\xff\xfe\n"]), joined([b"x" * 3_000, b"\nok\n"])]


def gvcp_answers() -> list[bytes]:
    payload = bytearray(0xF8)
    payload[0x0A:0x10] = b"\x01\x02\x03\x04\x05\x06"
    payload[0x48:0x4E], payload[0x68:0x6E], payload[0xD8:0xDE] = b"vendor", b"model\0", b"serial"
    return [struct.pack("!HHHH", 0, 3, len(payload), 1) + bytes(payload)]
