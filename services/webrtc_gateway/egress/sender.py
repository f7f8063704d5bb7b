"""What one viewer is sent: media, again when lost, and reports; protected with its keys, and counted."""

import time
from collections.abc import Iterable

from services.webrtc_gateway.egress.counters import EgressCounters
from services.webrtc_gateway.egress.history import TrackHistory
from services.webrtc_gateway.egress.packetizer import RTP_HEADER_BYTES, RtpUnit
from services.webrtc_gateway.egress.rtcp import bye, sender_report
from services.webrtc_gateway.egress.rtp import RtpTrack
from services.webrtc_gateway.transport.ice import IcePeer, SharedIceTransport
from services.webrtc_gateway.transport.srtp import PacketBatch, SrtpSender

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

    @property
    def full(self) -> bool:
        """Whether the peer's line is so slow that nothing should be made ready for it now."""
        return self._ice.full

    def send(self, track: RtpTrack, history: TrackHistory, unit: RtpUnit, start: int, stop: int) -> int:
        """Send new packets of a unit; how many the socket took."""
        srtp, batch = self.srtp, self._batch
        if srtp is None:
            return 0
        first_ever = track.packets == 0
        at = start
        while at < stop:
            track.write(unit, at, stop, batch, srtp.tag_bytes)
            if not srtp.protect(batch):  # of a new packet never seen: whoever misses it asks again
                self._counters.drops["srtp_refused"] += batch.count
                at += batch.count
                track.sent(unit.number + at, 0, 0)
                continue
            sent = self._transport.send_run(self._ice, batch.datagrams, batch.size)
            if sent:
                extension_bytes = unit.extension_bytes if at == 0 else 0
                at += sent
                size = self._count(track, sent)
                overhead = sent * (RTP_HEADER_BYTES + srtp.tag_bytes) + extension_bytes
                track.sent(unit.number + at, sent, size - overhead)
            if sent < batch.count:
                break
        if first_ever and track.packets:
            self.report(track, history)
        return at - start

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
            if self._send_again(track, *found):
                self._counters.retransmitted += 1

    def probe(self, track: RtpTrack, history: TrackHistory, number: int) -> int:
        """Send one packet again that nobody has asked for, by the feed's number; its bytes, 0 when it is not known."""
        found = history.find(number)
        if found is None or track.repair_type is None or not self._send_again(track, *found):
            return 0
        self._counters.probes += 1
        return self._batch.bytes

    def _send_again(self, track: RtpTrack, unit: RtpUnit, index: int) -> bool:
        srtp, batch = self.srtp, self._batch
        if srtp is None:
            return False
        if track.repair_type is not None:
            track.write_repair(unit, index, batch, srtp.tag_bytes)
        elif track.numbers is None:
            track.write(unit, index, index + 1, batch, srtp.tag_bytes)
        else:
            # AES-GCM must never authenticate two headers with one packet number, and the transport's would be new.
            self._counters.drops["nack_not_repairable"] += 1
            return False
        if not srtp.protect(batch):
            self._counters.drops["nack_too_old"] += 1
            return False
        sent = self._transport.send_run(self._ice, batch.datagrams, batch.size)
        if sent:
            self._count(track, sent)
        return sent > 0

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

    def _count(self, track: RtpTrack, sent: int) -> int:
        """Count the first packets of the batch as sent; their bytes."""
        batch = self._batch
        if track.numbers is not None:
            whole = sent == batch.count
            last_size = batch.bytes - (sent - 1) * batch.size if whole else batch.size
            track.numbers.sent(sent, batch.size, last_size)
        size = batch.bytes if sent == batch.count else sent * batch.size
        self.packets += sent
        self.bytes += size
        self._counters.packets += sent
        self._counters.bytes += size
        return size
