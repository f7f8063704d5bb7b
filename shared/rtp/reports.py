"""Sender reports and goodbyes of RTCP (RFC 3550 sections 6.4.1, 6.5 and 6.6)."""

from struct import Struct

from shared.rtp.clock import ntp_timestamp

_VERSION = 0x80
_SENDER_REPORT, _RECEIVER_REPORT, _DESCRIPTION, _BYE = 200, 201, 202, 203
_CNAME = 1
_SENDER_INFO = Struct("!BBHIQIII")
_HEADER = Struct("!BBHI")


def sender_report(*, ssrc: int, wall_ns: int, rtp_timestamp: int, packets: int, octets: int, cname: str) -> bytes:
    """A compound packet that says at which CLOCK_REALTIME the track's clock shows `rtp_timestamp`."""
    report = _SENDER_INFO.pack(
        _VERSION,
        _SENDER_REPORT,
        _SENDER_INFO.size // 4 - 1,
        ssrc,
        ntp_timestamp(wall_ns),
        rtp_timestamp & 0xFFFFFFFF,
        packets & 0xFFFFFFFF,
        octets & 0xFFFFFFFF,
    )
    return report + _description(ssrc, cname)


def goodbye(ssrc: int, cname: str) -> bytes:
    """A compound packet that ends a source; section 6.1 wants a report first."""
    report = _HEADER.pack(_VERSION, _RECEIVER_REPORT, 1, ssrc)
    return report + _description(ssrc, cname) + _HEADER.pack(_VERSION | 1, _BYE, 1, ssrc)


def is_rtcp(packet: bytes) -> bool:
    """Whether a datagram may be RTCP of version 2: all that a keep-alive needs to know of it."""
    return len(packet) >= _HEADER.size and packet[0] & 0xC0 == _VERSION and 192 <= packet[1] <= 223


def _description(ssrc: int, cname: str) -> bytes:
    item = bytes((_CNAME, len(cname))) + cname.encode("ascii")
    chunk = ssrc.to_bytes(4, "big") + item + bytes(4 - len(item) % 4)  # ends with one to four zeros
    return bytes((_VERSION | 1, _DESCRIPTION)) + (len(chunk) // 4).to_bytes(2, "big") + chunk
