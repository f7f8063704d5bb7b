"""Sender reports out, feedback in (RFC 3550 section 6, RFC 4585, RFC 5104)."""

from dataclasses import dataclass, field

from aiortc import rtp
from aiortc.rtp import (
    RtcpByePacket,
    RtcpPacket,
    RtcpPsfbPacket,
    RtcpRrPacket,
    RtcpRtpfbPacket,
    RtcpSdesPacket,
    RtcpSenderInfo,
    RtcpSourceInfo,
    RtcpSrPacket,
)

from services.webrtc_gateway.rtp import RtpTrack
from shared.rtp.clock import RtpClock, ntp_timestamp

_SDES_CNAME = 1
_MAX_LOST_PER_DATAGRAM = 256  # more at once is beyond what retransmission can mend; the viewer will send a PLI


@dataclass(slots=True)
class Feedback:
    """What one RTCP datagram of a viewer asks and tells, for one SSRC of ours."""

    lost: list[int] = field(default_factory=list)
    """Sequence numbers to send again (16 bits)."""
    key_frame: bool = False
    fraction_lost: float | None = None
    """0 to 1, since the viewer's last report."""


def sender_report(track: RtpTrack, clock: RtpClock, now_ns: int, cname: str) -> bytes:
    """SR and SDES that tie the track's RTP time to CLOCK_REALTIME, so that sound and pictures stay together."""
    report = RtcpSrPacket(
        ssrc=track.ssrc,
        sender_info=RtcpSenderInfo(
            ntp_timestamp=ntp_timestamp(now_ns),
            rtp_timestamp=(clock.at(now_ns) + track.timestamp_offset) & 0xFFFFFFFF,
            packet_count=track.packets & 0xFFFFFFFF,
            octet_count=track.octets & 0xFFFFFFFF,
        ),
    )
    names = RtcpSdesPacket(chunks=[RtcpSourceInfo(ssrc=track.ssrc, items=[(_SDES_CNAME, cname.encode())])])
    return bytes(report) + bytes(names)


def bye(ssrcs: list[int]) -> bytes:
    """A compound packet that ends these sources: RFC 3550 section 6.1 wants a report first."""
    return bytes(RtcpRrPacket(ssrc=ssrcs[0])) + bytes(RtcpByePacket(sources=ssrcs))


def parse_feedback(packet: bytes) -> dict[int, Feedback]:
    """Feedback by the SSRC it is about.

    Raises:
        ValueError: malformed.
    """
    feedback: dict[int, Feedback] = {}

    def about(ssrc: int) -> Feedback:
        return feedback.setdefault(ssrc, Feedback())

    for part in RtcpPacket.parse(packet):
        if isinstance(part, RtcpRtpfbPacket) and part.fmt == rtp.RTCP_RTPFB_NACK:
            lost = about(part.media_ssrc).lost
            lost.extend(part.lost[: _MAX_LOST_PER_DATAGRAM - len(lost)])
        elif isinstance(part, RtcpPsfbPacket) and part.fmt == rtp.RTCP_PSFB_PLI:
            about(part.media_ssrc).key_frame = True
        elif isinstance(part, RtcpPsfbPacket) and part.fmt == rtp.RTCP_PSFB_FIR:
            # RFC 5104 section 4.3.1: the media SSRC is 0; each 8-byte entry names one.
            for position in range(0, len(part.fci) - 7, 8):
                about(int.from_bytes(part.fci[position : position + 4], "big")).key_frame = True
        elif isinstance(part, RtcpRrPacket | RtcpSrPacket):
            for report in part.reports:
                about(report.ssrc).fraction_lost = report.fraction_lost / 256
    return feedback
