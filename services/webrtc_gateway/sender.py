"""What one viewer is sent: media, again when lost, and reports; protected with its keys, and counted."""

import time
from collections.abc import Iterable

from services.webrtc_gateway.counters import EgressCounters
from services.webrtc_gateway.history import TrackHistory
from services.webrtc_gateway.ice import IcePeer, SharedIceTransport
from services.webrtc_gateway.packetizer import RtpUnit
from services.webrtc_gateway.rtcp import bye, sender_report
from services.webrtc_gateway.rtp import RtpTrack
from services.webrtc_gateway.srtp import PacketBatch, SrtpSender

_RETRANSMITS_PER_SECOND = 512  # half the history; a path that loses more needs a key frame instead


class MediaSender:
    """Sends nothing before it has `srtp`."""

    def __init__(
        self, transport: SharedIceTransport, ice: IcePeer, batch: PacketBatch, cname: str, counters: EgressCounters
    ) -> None:
        self.srtp: SrtpSender | None = None
        self.packets = 0
        self.bytes = 0
        self._transport, self._ice, self._batch, self._cname = transport, ice, batch, cname
        self._counters = counters
        self._retransmits_left = _RETRANSMITS_PER_SECOND

    def send(self, track: RtpTrack, history: TrackHistory, unit: RtpUnit, start: int, stop: int) -> int:
        """Send new packets of a unit; how many the socket took."""
        if self.srtp is None:
            return 0
        lengths = track.write(unit, start, stop, self._batch)
        datagrams = self.srtp.protect(self._batch, lengths)
        first_ever = track.packets == 0
        sent = self._transport.send(self._ice, datagrams) + len(lengths) - len(datagrams)
        track.sent(unit.number + start + sent, lengths[:sent])
        self._count(datagrams[:sent])
        if first_ever and sent:
            self.report(track, history)
        return sent

    def resend(self, track: RtpTrack, history: TrackHistory, lost: list[int]) -> None:
        """Send packets again, by their RTP sequence numbers, as far as they are remembered."""
        self._counters.nacks += len(lost)
        for sequence in lost:
            number = track.number_of(sequence)
            found = history.find(number) if number is not None else None
            if found is None or self.srtp is None:
                self._counters.drops["nack_too_old"] += 1
                continue
            if self._retransmits_left <= 0:
                self._counters.drops["nack_budget"] += 1
                continue
            self._retransmits_left -= 1
            unit, index = found
            lengths = track.write(unit, index, index + 1, self._batch)
            datagrams = self.srtp.protect(self._batch, lengths)
            sent = self._transport.send(self._ice, datagrams)
            self._counters.retransmitted += sent
            self._count(datagrams[:sent])

    def report(self, track: RtpTrack, history: TrackHistory) -> None:
        """Send a sender report: which wall time the track's timestamps mean."""
        if self.srtp is not None:
            report = sender_report(track, history.clock, time.time_ns(), self._cname)
            self.send_plain(self.srtp.protect_rtcp(report))

    def say_bye(self, tracks: Iterable[RtpTrack]) -> None:
        if self.srtp is not None:
            self.send_plain(self.srtp.protect_rtcp(bye([track.ssrc for track in tracks])))

    def send_plain(self, datagram: bytes) -> None:
        """Send as it is: the handshake, and what is protected already."""
        self._transport.send(self._ice, (datagram,))

    def tick(self) -> None:
        """Once a second: retransmissions may cost as much again."""
        self._retransmits_left = _RETRANSMITS_PER_SECOND

    def _count(self, datagrams: list[memoryview]) -> None:
        size = sum(map(len, datagrams))
        self.packets += len(datagrams)
        self.bytes += size
        self._counters.packets += len(datagrams)
        self._counters.bytes += size
