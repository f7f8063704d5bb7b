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

from services.webrtc_gateway.egress.rtp import RtpTrack
from shared.rtp.clock import RtpClock, ntp_timestamp

_SDES_CNAME = 1
_SHORT_NTP_SHIFT = 16  # 64-bit NTP time to its middle 32 bits
_SHORT_NTP_HZ = 65_536
_NEGATIVE_RTT_SECONDS = 65_536 - 0.1  # wrapped around
_MAX_RTT_SECONDS = 60.0
_APPLICATION_LAYER_FEEDBACK = 15  # RFC 4585 section 6.4; REMB is its only one here
_RTPFB, _FORMAT_BITS, _TRANSPORT_WIDE = 205, 0x1F, 15  # RFC 4585 section 6.1; transport-wide-cc-extensions-01
_PADDED = 0x20
_PART_HEADER_BYTES, _INFORMATION_AT = 4, 12  # behind the SSRCs of sender and media
_MAX_LOST_PER_DATAGRAM = 256  # more at once is beyond what retransmission can mend; the viewer will send a PLI


@dataclass(frozen=True, slots=True)
class ReceptionReport:
    """One report block (RFC 3550 section 6.4.1)."""

    fraction_lost: float
    """0 to 1, since the viewer's last report."""
    packets_lost: int
    """Since the beginning; duplicates make it less, even below 0."""
    highest_sequence: int
    """That came, with the number of times that sequence numbers went round in the upper 16 bits."""
    jitter: int
    """In the track's RTP clock."""
    last_report: int
    """The middle 32 bits of the NTP time of our last sender report; 0: it has none yet."""
    delay: int
    """Since that arrived, in 1/65536 s."""

    def rtt_s(self, now_ns: int) -> float | None:
        """Round trip in seconds as of the report's arrival at `now_ns` (CLOCK_REALTIME); None: not known."""
        if not self.last_report:
            return None
        now = ntp_timestamp(now_ns) >> _SHORT_NTP_SHIFT & 0xFFFFFFFF
        rtt_s = ((now - self.last_report - self.delay) & 0xFFFFFFFF) / _SHORT_NTP_HZ
        # A peer that rounds up answers some us before it was asked; one that lies, or a clock that was set, hours.
        if rtt_s > _NEGATIVE_RTT_SECONDS:
            return 0.0
        return rtt_s if rtt_s <= _MAX_RTT_SECONDS else None


@dataclass(slots=True)
class Feedback:
    """What one RTCP datagram of a viewer asks and tells, for one SSRC of ours."""

    lost: list[int] = field(default_factory=list)
    """Sequence numbers to send again (16 bits)."""
    key_frame: bool = False
    nacks: int = 0
    """Messages that asked for packets again; `plis` and `firs` for a key frame."""
    plis: int = 0
    firs: int = 0
    report: ReceptionReport | None = None
    estimate_bps: int | None = None
    """bit/s that all our tracks together may have (REMB)."""


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


def split_transport_feedback(packet: bytes) -> tuple[list[bytes], bytes]:
    """The feedback control information of each transport-wide message in a compound packet, and all that is left."""
    found: list[bytes] = []
    rest, at = b"", 0
    while at + _PART_HEADER_BYTES <= len(packet):
        end = at + _PART_HEADER_BYTES + 4 * int.from_bytes(packet[at + 2 : at + 4], "big")
        if packet[at + 1] == _RTPFB and packet[at] & _FORMAT_BITS == _TRANSPORT_WIDE and end <= len(packet):
            padding = packet[end - 1] if packet[at] & _PADDED else 0
            found.append(packet[at + _INFORMATION_AT : max(end - padding, at + _INFORMATION_AT)])
        else:
            rest += packet[at:end]
        at = end
    return found, rest + packet[at:]


def parse_feedback(packet: bytes) -> dict[int, Feedback]:
    """Feedback by the SSRC it is about.

    Raises:
        ValueError, struct.error: malformed.
    """
    feedback: dict[int, Feedback] = {}

    def about(ssrc: int) -> Feedback:
        return feedback.setdefault(ssrc, Feedback())

    for part in RtcpPacket.parse(packet):
        if isinstance(part, RtcpRtpfbPacket) and part.fmt == rtp.RTCP_RTPFB_NACK:
            asked = about(part.media_ssrc)
            asked.nacks += 1
            asked.lost.extend(part.lost[: _MAX_LOST_PER_DATAGRAM - len(asked.lost)])
        elif isinstance(part, RtcpPsfbPacket) and part.fmt == rtp.RTCP_PSFB_PLI:
            asked = about(part.media_ssrc)
            asked.key_frame = True
            asked.plis += 1
        elif isinstance(part, RtcpPsfbPacket) and part.fmt == rtp.RTCP_PSFB_FIR:
            # RFC 5104 section 4.3.1: the media SSRC is 0; each 8-byte entry names one.
            for position in range(0, len(part.fci) - 7, 8):
                asked = about(int.from_bytes(part.fci[position : position + 4], "big"))
                asked.key_frame = True
                asked.firs += 1
        elif isinstance(part, RtcpPsfbPacket) and part.fmt == _APPLICATION_LAYER_FEEDBACK:
            if part.fci.startswith(b"REMB"):  # draft-alvestrand-rmcat-remb-03
                estimate_bps, ssrcs = rtp.unpack_remb_fci(part.fci)
                for ssrc in ssrcs:
                    about(ssrc).estimate_bps = estimate_bps
        elif isinstance(part, RtcpRrPacket | RtcpSrPacket):
            for block in part.reports:
                about(block.ssrc).report = ReceptionReport(
                    fraction_lost=block.fraction_lost / 256,
                    packets_lost=block.packets_lost,
                    highest_sequence=block.highest_sequence,
                    jitter=block.jitter,
                    last_report=block.lsr,
                    delay=block.dlsr,
                )
    return feedback
