"""Metrics of Sora-compatible signalling, read when scraped; its media count with those of WHIP and WHEP."""

from services.webrtc_gateway.sora.channels import Channels
from services.webrtc_gateway.sora.routes import SoraRoutes
from shared.metrics import Figures


def register_sora_metrics(figures: Figures, channels: Channels, routes: SoraRoutes) -> None:
    figures.gauge(
        "framemesh_sora_connections", "Connections of channels.", lambda: [({}, float(len(channels.connections)))]
    )
    figures.counter(
        "framemesh_sora_refused",
        "Clients that were not let in, by reason.",
        lambda: [({"reason": reason}, count) for reason, count in tuple(routes.refused.items())],
    )
    figures.counter(
        "framemesh_sora_unread_messages", "Messages of clients that were none.", lambda: [({}, float(routes.unread))]
    )
