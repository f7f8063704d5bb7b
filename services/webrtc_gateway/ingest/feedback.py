"""What a publisher is told by RTCP (RFC 3550, RFC 4585, REMB), and what it reports."""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass

from aiortc.rtp import (
    RTCP_PSFB_APP,
    RTCP_PSFB_FIR,
    RTCP_PSFB_PLI,
    RTCP_RTPFB_NACK,
    RtcpByePacket,
    RtcpPacket,
    RtcpPsfbPacket,
    RtcpReceiverInfo,
    RtcpRrPacket,
    RtcpRtpfbPacket,
    RtcpSdesPacket,
    RtcpSourceInfo,
    RtcpSrPacket,
    pack_remb_fci,
)

_SDES_CNAME = 1


@dataclass(frozen=True, slots=True)
class SenderReport:
    """One sender report."""

    ssrc: int
    ntp: int
    timestamp: int


@dataclass(frozen=True, slots=True)
class Reports:
    """What one RTCP datagram of a publisher says."""

    senders: tuple[SenderReport, ...]
    ended: frozenset[int]
    """SSRCs that said goodbye."""


def parse_reports(packet: bytes) -> Reports:
    """Raises:
    ValueError, struct.error: malformed.
    """
    senders: list[SenderReport] = []
    ended: set[int] = set()
    for part in RtcpPacket.parse(packet):
        if isinstance(part, RtcpSrPacket):
            info = part.sender_info
            senders.append(SenderReport(part.ssrc, info.ntp_timestamp, info.rtp_timestamp))
        elif isinstance(part, RtcpByePacket):
            ended.update(part.sources)
    return Reports(tuple(senders), frozenset(ended))


class FeedbackWriter:
    """Writes as one receiver, with an SSRC of its own."""

    def __init__(self) -> None:
        self._ssrc = secrets.randbelow(0xFFFFFFFF) + 1
        self._names = bytes(
            RtcpSdesPacket([RtcpSourceInfo(self._ssrc, [(_SDES_CNAME, secrets.token_hex(8).encode())])])
        )
        self._fir_number = 0

    def reports(self, blocks: Sequence[RtcpReceiverInfo], max_bps: int | None) -> bytes:
        """A compound receiver report; with `max_bps` the most that may be sent, of all tracks (REMB)."""
        packet = bytes(RtcpRrPacket(self._ssrc, list(blocks))) + self._names
        if max_bps is not None:
            fci = pack_remb_fci(max_bps, [block.ssrc for block in blocks])
            packet += bytes(RtcpPsfbPacket(RTCP_PSFB_APP, self._ssrc, 0, fci))
        return packet

    def again(self, ssrc: int, sequences: Sequence[int]) -> bytes:
        """Ask for packets again (generic NACK); `sequences` in their order."""
        return bytes(RtcpRtpfbPacket(RTCP_RTPFB_NACK, self._ssrc, ssrc, list(sequences)))

    def key_picture(self, ssrc: int, *, picture_loss: bool) -> bytes:
        """Ask for a key picture by a picture loss indication, or a full intra request where that is not understood."""
        if picture_loss:
            return bytes(RtcpPsfbPacket(RTCP_PSFB_PLI, self._ssrc, ssrc))
        self._fir_number = (self._fir_number + 1) & 0xFF
        fci = ssrc.to_bytes(4, "big") + bytes((self._fir_number, 0, 0, 0))
        return bytes(RtcpPsfbPacket(RTCP_PSFB_FIR, self._ssrc, 0, fci))

    def goodbye(self) -> bytes:
        return bytes(RtcpRrPacket(self._ssrc)) + self._names + bytes(RtcpByePacket([self._ssrc]))
