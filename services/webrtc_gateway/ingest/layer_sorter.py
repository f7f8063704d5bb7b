"""Which layer a packet is of: said by header extensions on the first packets of each SSRC (RFC 8852)."""

from collections.abc import Mapping

from services.webrtc_gateway.ingest.counters import IngestCounters
from services.webrtc_gateway.ingest.rtp_packet import RtpPacket
from services.webrtc_gateway.ingest.terms import LayerTerms
from services.webrtc_gateway.ingest.track import ReceivingTrack

_MAX_SOURCES = 16  # SSRCs that are remembered; three layers with their repairs are six


class LayerSorter:
    """Of one m-line. Senders name the layer until a report tells them that its SSRC is known; what an SSRC was first
    said to be it stays."""

    def __init__(self, terms: LayerTerms, tracks: Mapping[str, ReceivingTrack], counters: IngestCounters) -> None:
        """`tracks`: by rid."""
        self._terms, self._counters = terms, counters
        self._by_rid = {rid.encode(): track for rid, track in tracks.items()}
        self._sources: dict[int, ReceivingTrack] = {}

    def find(self, packet: RtpPacket) -> ReceivingTrack | None:
        """None: it is of no layer that is known, as probes are before the first picture; counted."""
        track = self._sources.get(packet.ssrc)
        if track is not None:
            return track
        track = self._by_rid.get(self._rid(packet))
        if track is None or len(self._sources) >= _MAX_SOURCES:
            self._counters.drops["unknown_layer"] += 1
            return None
        self._sources[packet.ssrc] = track
        return track

    def _rid(self, packet: RtpPacket) -> bytes:
        repaired = self._terms.repaired_rid_id
        if repaired is not None and repaired in packet.extensions:
            return packet.extensions[repaired]
        return packet.extensions.get(self._terms.rid_id, b"")
