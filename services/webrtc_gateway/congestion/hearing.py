"""What a viewer says by RTCP, and what is done about it at once: repairs, key frames, and what its line is known by."""

import struct
import time
from collections.abc import Sequence

from services.webrtc_gateway.congestion.arrivals import read_arrivals
from services.webrtc_gateway.congestion.bandwidth import Bandwidth
from services.webrtc_gateway.congestion.key_requests import KeyRequests
from services.webrtc_gateway.congestion.line import Line
from services.webrtc_gateway.egress.counters import EgressCounters
from services.webrtc_gateway.egress.fanout import RenditionFeed
from services.webrtc_gateway.egress.rtcp import Feedback, parse_feedback, split_transport_feedback
from services.webrtc_gateway.egress.sender import MediaSender
from services.webrtc_gateway.egress.sent_record import SentRecord
from services.webrtc_gateway.egress.sent_track import SentTrack

# RFC 3550 section 6.2 gives reports a twentieth of the bandwidth: this is that of 10 Mbit/s. To read a byte takes some
# 0.3 us, in which nobody else gets pictures.
_MAX_BYTES_PER_SECOND = 65_536
# Browsers send 4 to 20 a second; one may speak of thousands of packets in some 20 bytes, and take 0.1 ms to read.
_MAX_ARRIVALS_PER_SECOND = 50


class Hearing:
    """Of one viewer."""

    def __init__(self, tracks: Sequence[SentTrack], sender: MediaSender, counters: EgressCounters) -> None:
        record = SentRecord() if any(track.rtp.extensions.number_id for track in tracks) else None
        for track in tracks:
            track.rtp.numbers = record if track.rtp.extensions.number_id else None
        self.record = record
        self.line = Line(Bandwidth(record) if record else None)
        self._arrivals_left = _MAX_ARRIVALS_PER_SECOND
        self._tracks, self._sender, self._counters = tracks, sender, counters
        self._key_requests = KeyRequests()
        self._bytes_left = _MAX_BYTES_PER_SECOND

    def heed(self, packet: bytes, feed: RenditionFeed) -> None:
        """Take one RTCP compound packet of a viewer of `feed`; what is malformed or too much is counted."""
        self._bytes_left -= len(packet)
        if self._bytes_left < 0:
            self._counters.drops["rtcp_flood"] += 1
            return
        arrivals, packet = split_transport_feedback(packet)
        try:
            for information in arrivals:
                self._heed_arrivals(information)
            feedback = parse_feedback(packet)
        except (ValueError, struct.error):
            self._counters.drops["rtcp_malformed"] += 1
            return
        for track in self._tracks:
            about = feedback.get(track.rtp.ssrc)
            if about is not None:
                self._heed_track(track, about, feed)

    def tick(self, now_s: float) -> None:
        """Once a second."""
        self._bytes_left, self._arrivals_left = _MAX_BYTES_PER_SECOND, _MAX_ARRIVALS_PER_SECOND
        self.line.tick(self._sender.bytes, now_s)
        for track in self._tracks:
            track.repairs.tick(track.rtp.packets, bool(self.line.sign))

    def _heed_arrivals(self, information: bytes) -> None:
        self._arrivals_left -= 1
        if self._arrivals_left < 0:
            self._counters.drops["rtcp_flood"] += 1
        elif not self.line.arrived(read_arrivals(information), time.monotonic()):
            self._counters.drops["rtcp_unknown_packets"] += 1

    def _heed_track(self, track: SentTrack, feedback: Feedback, feed: RenditionFeed) -> None:
        now_ns, now_s = time.time_ns(), time.monotonic()
        tally, counters = track.tally, self._counters
        tally.take(feedback, now_ns)
        if feedback.estimate_bps is not None:
            self.line.estimated(feedback.estimate_bps, now_s)
        if feedback.report is not None:
            rtt_s = feedback.report.rtt_s(now_ns)
            counters.reported(feedback.report.fraction_lost, rtt_s)
            if track is self._tracks[0]:  # the pictures, where there are any: sound is a trickle beside them
                self.line.reported(feedback.report, rtt_s)
        if feedback.lost:
            # What was lost of another rendition, or before pictures began anew, must not use up the share of these.
            known = [sequence for sequence in feedback.lost if track.rtp.number_of(sequence) is not None]
            counters.drops["nack_too_old"] += len(feedback.lost) - len(known)
            lost = track.repairs.choose(known, tally.rtt_s, now_s)
            counters.nacks += len(feedback.lost) - len(lost)
            before = counters.retransmitted
            self._sender.resend(track.rtp, track.history(feed), lost)
            tally.retransmitted += counters.retransmitted - before
        if feedback.key_frame:
            counters.plis += 1
            if self._key_requests.passes(now_s):
                feed.request_key_frame()
            else:
                counters.plis_withheld += 1
