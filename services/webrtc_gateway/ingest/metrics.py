"""Metrics of the receiving side, read from its counters when scraped."""

from services.webrtc_gateway.ingest.gateway import IngestGateway
from shared.metrics import Figures, by_reason, one


def register_ingest_metrics(figures: Figures, gateway: IngestGateway) -> None:
    counters = gateway.counters

    counter = figures.counter
    counter("framemesh_ingest_packets", "RTP packets of publishers.", one(lambda: counters.packets))
    counter("framemesh_ingest_bytes", "Bytes of those.", one(lambda: counters.bytes))
    counter("framemesh_ingest_access_units", "Access units sent to capture.", one(lambda: counters.units))
    counter("framemesh_ingest_nacked_packets", "Packets asked for again.", one(lambda: counters.nacked))
    counter("framemesh_ingest_lost_packets", "Packets that never came.", one(lambda: counters.lost))
    counter("framemesh_ingest_key_frame_requests", "Key pictures asked of publishers.", one(lambda: counters.plis))
    counter("framemesh_ingest_publishers_opened", "Offers answered.", one(lambda: counters.publishers_opened))
    counter(
        "framemesh_ingest_publishers_connected", "Publishers that came up.", one(lambda: counters.publishers_connected)
    )
    counter("framemesh_ingest_dropped", "Packets and access units left out, by reason.", by_reason(counters.drops))
    counter("framemesh_ingest_publishers_closed", "Publishers gone, by reason.", by_reason(counters.closed))
    figures.gauge("framemesh_ingest_publishers", "Publishers there now.", one(lambda: len(gateway.publishers)))
