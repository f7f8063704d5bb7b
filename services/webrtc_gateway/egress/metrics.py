"""Metrics of webrtc-gateway, read from the engine's counters when scraped."""

from services.webrtc_gateway.egress.feeds import OpenFeed
from services.webrtc_gateway.egress.gateway import WhepGateway
from services.webrtc_gateway.transport.tcp_transport import TcpTransport
from shared.metrics import Figures, Sample, by_reason, one


def dropped_of(gateway: WhepGateway) -> dict[str, int]:
    """What was not sent so far, by reason."""
    counters, transport = gateway.counters, gateway.transport
    of_datagrams = {"datagrams_refused": transport.dropped_send_full, "send_error": transport.dropped_send_error}
    return {**counters.drops, **counters.console_dropped, **of_datagrams}


def register_metrics(figures: Figures, gateway: WhepGateway) -> None:
    counters, transport = gateway.counters, gateway.transport

    counter = figures.counter
    counter("framemesh_webrtc_packets", "RTP packets sent.", one(lambda: counters.packets))
    counter("framemesh_webrtc_bytes", "Bytes of RTP packets sent.", one(lambda: counters.bytes))
    counter("framemesh_webrtc_access_units", "Access units packetised.", one(lambda: counters.units))
    counter("framemesh_webrtc_nacked_packets", "Packets viewers asked for again.", one(lambda: counters.nacks))
    counter("framemesh_webrtc_retransmitted_packets", "Packets sent again.", one(lambda: counters.retransmitted))
    counter("framemesh_webrtc_probe_packets", "Packets that tried a line.", one(lambda: counters.probes))
    counter("framemesh_webrtc_key_frame_requests", "PLI and FIR of viewers.", one(lambda: counters.plis))
    counter(
        "framemesh_webrtc_key_frame_requests_withheld",
        "PLI and FIR of viewers that ask too often.",
        one(lambda: counters.plis_withheld),
    )
    counter("framemesh_webrtc_moved_down", "Given less, as the line is thin.", by_reason(counters.moved_down))
    counter("framemesh_webrtc_moved_up", "Given more again.", one(lambda: counters.moved_up))
    counter("framemesh_webrtc_not_moved", "Could not be given another rendition.", by_reason(counters.not_moved))
    figures.histogram("framemesh_webrtc_rtt_seconds", "Round trips, as viewers report.", counters.rtt_seconds)
    figures.histogram("framemesh_webrtc_fraction_lost", "Parts lost, as viewers report.", counters.fraction_lost)
    counter("framemesh_webrtc_sessions_opened", "Offers answered.", one(lambda: counters.sessions_opened))
    counter("framemesh_webrtc_sessions_connected", "Sessions that came up.", one(lambda: counters.sessions_connected))
    counter("framemesh_webrtc_transcoded_viewers", "Got another rendition instead.", one(lambda: counters.substituted))
    counter(
        "framemesh_webrtc_fanout_cpu_seconds",
        "CPU spent packetising, protecting and sending.",
        one(lambda: counters.fanout_cpu_ns / 1e9),
    )
    dropped = by_reason(counters.drops)
    counter(
        "framemesh_webrtc_dropped",
        "Not sent, by reason.",
        lambda: [*dropped(), ({"reason": "send_error"}, transport.dropped_send_error)],
    )
    counter("framemesh_webrtc_sessions_closed", "Sessions ended, by reason.", by_reason(counters.closed))
    counter(
        "framemesh_webrtc_console_dropped",
        "Messages that consoles did not get, by reason.",
        by_reason(counters.console_dropped),
    )
    counter(
        "framemesh_webrtc_datagrams_refused",
        "Datagrams the full socket buffer refused.",
        one(lambda: transport.dropped_send_full),
    )
    counter(
        "framemesh_webrtc_unknown_datagrams",
        "Datagrams of no session, failed connectivity checks included.",
        one(lambda: transport.dropped_unknown),
    )
    figures.gauge(
        "framemesh_webrtc_viewers",
        "Viewers of a rendition now.",
        lambda: [(_labels(entry), len(entry.feed.viewers)) for entry in gateway.open_feeds],
    )
    figures.histograms(
        "framemesh_webrtc_send_latency_seconds",
        "From capture of a picture to when it has been sent.",
        lambda: [(_labels(entry), entry.feed.latency) for entry in gateway.open_feeds],
    )
    figures.gauge("framemesh_webrtc_thin_sessions", "Sessions given less than asked.", one(lambda: gateway.thin_count))
    figures.gauge("framemesh_webrtc_sessions", "Sessions open now.", one(lambda: gateway.session_count))


def _labels(entry: OpenFeed) -> dict[str, str]:
    return {"stream": entry.feed.stream, "rendition": entry.subscription.rendition}


def register_tcp_metrics(figures: Figures, transport: TcpTransport) -> None:
    """Of peers that come over TCP."""

    def closed() -> list[Sample]:
        return [({"reason": reason}, count) for reason, count in tuple(transport.closed.items())]

    accepted, there = "framemesh_webrtc_tcp_accepted", "framemesh_webrtc_tcp_connections"
    figures.counter(accepted, "Connections to the TCP port.", lambda: [({}, transport.accepted)])
    figures.counter("framemesh_webrtc_tcp_closed", "Connections that ended, by reason.", closed)
    figures.gauge(there, "Connections there now.", lambda: [({}, transport.connection_count)])
