"""Metrics of the door."""

from services.webrtc_gateway.auth.guard import Guard
from shared.metrics import Figures, Sample


def register_door_metrics(figures: Figures, guard: Guard) -> None:
    def refused() -> list[Sample]:
        return [({"reason": reason}, count) for reason, count in tuple(guard.refused.items())]

    figures.counter("framemesh_webrtc_requests_refused", "HTTP requests not let in, by reason.", refused)
