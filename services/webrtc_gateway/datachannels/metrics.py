"""Metrics of data channels, read from their counters when scraped."""

from collections.abc import Callable

from services.webrtc_gateway.datachannels.counters import DataCounters
from shared.metrics import Figures, Sample, by_reason, one


def register_data_metrics(figures: Figures, counters: DataCounters) -> None:
    def both(to_viewer: Callable[[], int], from_viewer: Callable[[], int]) -> Callable[[], list[Sample]]:
        return lambda: [({"direction": "to_viewer"}, to_viewer()), ({"direction": "from_viewer"}, from_viewer())]

    counter = figures.counter
    counter("framemesh_webrtc_data_channels_opened", "Data channels opened.", one(lambda: counters.opened))
    counter(
        "framemesh_webrtc_data_messages",
        "Messages over data channels.",
        both(lambda: counters.messages_out, lambda: counters.messages_in),
    )
    counter(
        "framemesh_webrtc_data_bytes",
        "Bytes of those messages.",
        both(lambda: counters.bytes_out, lambda: counters.bytes_in),
    )
    counter("framemesh_webrtc_data_dropped", "Messages not handed on, by reason.", by_reason(counters.dropped))
    counter("framemesh_webrtc_data_channels_refused", "Channels closed at once.", by_reason(counters.refused))
    counter("framemesh_webrtc_data_packets_refused", "SCTP not looked into.", by_reason(counters.packets_refused))
    counter("framemesh_webrtc_data_ended", "Associations ended before sessions.", by_reason(counters.ended))
