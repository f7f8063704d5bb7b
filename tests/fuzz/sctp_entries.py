"""The way in for data channels: packets of a peer whose SCTP association is established."""

import struct
from typing import Final

from google_crc32c import value as crc32c

from services.webrtc_gateway.datachannels.channels import DataChannels
from services.webrtc_gateway.datachannels.counters import DataCounters
from services.webrtc_gateway.datachannels.rate import Rate
from services.webrtc_gateway.datachannels.section import DataSection
from tests.fuzz.inputs import event_loop, joined, pieces
from tests.fuzz.packet_entries import MAX_MESSAGE_BYTES


class _Ignored:
    """Takes every label, and nothing that comes on it."""

    def channel_offered(self, label: str) -> bool:
        return True

    def channel_opened(self, label: str) -> None: ...

    def channel_message(self, label: str, data: bytes | str) -> None: ...

    def channel_closed(self, label: str) -> None: ...


_TAG: Final = 0x01020304


_COOKIE: Final = 7  # of an INIT ACK's parameters


def sctp(data: bytes) -> None:
    """Packets of a peer whose association is established: each piece is the chunks of one."""
    event_loop().run_until_complete(_sctp(pieces(data)))


async def _sctp(packets: list[bytes]) -> None:
    sent: list[bytes] = []
    section = DataSection("2", max_message_bytes=MAX_MESSAGE_BYTES)
    channels = DataChannels(section, sent.append, _Ignored(), DataCounters(), Rate(1000, 1000))
    channels._association._cpu = Rate(1000, 1000)  # an input is judged by its own time
    channels.start()
    init = struct.pack("!BBHLLHHL", 1, 0, 20, _TAG, 1 << 17, 16, 16, 100)
    channels.receive(_sctp_packet(0, init))
    tag, cookie = _tag_and_cookie(sent)
    channels.receive(_sctp_packet(tag, struct.pack("!BBH", 10, 0, 4 + len(cookie)) + cookie))
    sent.clear()
    for packet in packets:
        channels.receive(_sctp_packet(tag, packet))
        assert sum(map(len, sent)) < 1 << 20, "one input makes a megabyte of answers"
    channels.close()


def _tag_and_cookie(sent: list[bytes]) -> tuple[int, bytes]:
    acknowledged = next(packet for packet in sent if packet[12] == 2)
    (tag,) = struct.unpack_from("!L", acknowledged, 16)
    at = 12 + 20
    while at < len(acknowledged):
        kind, length = struct.unpack_from("!HH", acknowledged, at)
        if kind == _COOKIE:
            return tag, acknowledged[at + 4 : at + length]
        at += (length + 3) & ~3
    raise AssertionError("the gateway answers INIT without a cookie")


def _sctp_packet(tag: int, chunks: bytes) -> bytes:
    head = struct.pack("!HHL", 5000, 5000, tag)
    checksum = struct.pack("<L", crc32c(head + b"\0\0\0\0" + chunks))
    return head + checksum + chunks


def sctp_packets() -> list[bytes]:
    opening = struct.pack("!BBHLHH", 3, 0, 0, 0, 4, 0) + b"echo"
    message = struct.pack("!BBHLHHL", 0, 3, 16 + len(opening), 100, 2, 0, 50) + opening
    text = struct.pack("!BBHLHHL", 0, 3, 18, 101, 2, 1, 51) + b"hi\0\0"
    sack = struct.pack("!BBHLLHH", 3, 0, 16, 99, 1 << 17, 0, 0)
    reset = struct.pack("!BBHHHLLLH", 130, 0, 22, 13, 18, 100, 99, 100, 2) + b"\0\0"
    forward = struct.pack("!BBHL", 192, 0, 8, 101)
    heartbeat = struct.pack("!BBHHH", 4, 0, 12, 1, 8) + b"abcd"
    abort = struct.pack("!BBH", 6, 0, 4)
    return [
        joined([message, text]),
        joined([message + text, sack]),
        joined([message, reset, forward, heartbeat]),
        joined([text, abort]),
    ]
