"""Metrics of HLS, read from the packagers when scraped."""

from services.webrtc_gateway.hls.packagers import Packagers
from shared.metrics import Figures


def register_hls_metrics(figures: Figures, packagers: Packagers) -> None:
    figures.gauge("framemesh_hls_renditions", "Renditions packaged just now.", lambda: [({}, packagers.count)])
    figures.gauge("framemesh_hls_held_bytes", "Bytes of segments in memory.", lambda: [({}, packagers.held_bytes)])
    figures.counter(
        "framemesh_hls_dropped",
        "Packets that got into no segment, by reason.",
        lambda: [({"reason": reason}, count) for reason, count in tuple(packagers.dropped.items())],
    )
