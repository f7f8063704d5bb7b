"""Who looks at what, how soon and how late pictures come, what lines lose."""

from ops.dashboards.building import BAD, GOOD, LATENCY, NODE, RATE, WARN, Board, Query, lines, number

_LOSS = ((None, GOOD), (0.02, WARN), (0.05, BAD))
_JOIN = ((None, GOOD), (0.5, WARN), (2, BAD))


def _quantile(quantile: float, metric: str, *by: str) -> str:
    found = f"rate({metric}_bucket{{{NODE}}}[{RATE}])"
    return f"histogram_quantile({quantile}, sum by ({', '.join((*by, 'le'))}) ({found}))"


def _rate(metric: str, *by: str) -> str:
    return f"sum by ({', '.join(by)}) (rate({metric}{{{NODE}}}[{RATE}]))"


BOARD = Board(
    uid="framemesh-viewers",
    title="Viewers",
    description="Who looks at what, how soon and how late do pictures come, what do lines lose?",
    panels=(
        "Now",
        number(
            "Viewers", "Sessions that are open.", "none", Query(f"sum(framemesh_webrtc_sessions{{{NODE}}})", "viewers")
        ),
        number(
            "On thin lines",
            "Sessions that are given less than they asked for.",
            "none",
            Query(f"sum(framemesh_webrtc_thin_sessions{{{NODE}}})", "thin"),
            steps=((None, GOOD), (1, WARN)),
        ),
        number(
            "First picture after",
            "From a viewer's request to its first key picture going out, median of 15 minutes.",
            "s",
            Query(
                "histogram_quantile(0.5, sum by (le) "
                f'(increase(framemesh_webrtc_join_seconds_bucket{{step="sent", {NODE}}}[15m])))',
                "median",
            ),
            steps=_JOIN,
        ),
        number(
            "On screens after",
            "From capture to the screen, median of what pages report.",
            "s",
            Query(_quantile(0.5, "framemesh_webrtc_glass_to_glass_seconds"), "median"),
            steps=LATENCY,
        ),
        number(
            "Lost",
            "What the worst tenth of the reports of viewers tell of.",
            "percentunit",
            Query(f"max(framemesh:webrtc_fraction_lost:p90{{{NODE}}})", "p90"),
            steps=_LOSS,
        ),
        number(
            "Publishers",
            "Of WHIP and of Sora, that send to this mesh.",
            "none",
            Query(f"sum(framemesh_ingest_publishers{{{NODE}}})", "publishers"),
        ),
        "Who looks at what",
        lines(
            "Viewers of renditions",
            "Now.",
            "none",
            Query(f"sum by (stream, rendition) (framemesh_webrtc_viewers{{{NODE}}})", "{{stream}}/{{rendition}}"),
            stacked=True,
        ),
        lines(
            "Sent",
            "Over WebRTC, all viewers together.",
            "bps",
            Query(f"8 * {_rate('framemesh_webrtc_bytes_total', 'node')}", "{{node}}"),
        ),
        lines(
            "Come and gone",
            "Sessions opened, and those that ended by reason, a second.",
            "cps",
            Query(_rate("framemesh_webrtc_sessions_opened_total"), "opened"),
            Query(_rate("framemesh_webrtc_sessions_closed_total", "reason"), "{{reason}}"),
        ),
        "How late",
        lines(
            "On screens",
            "From capture to the screen as pages report, slowest twentieth.",
            "s",
            Query(_quantile(0.95, "framemesh_webrtc_glass_to_glass_seconds", "stream"), "{{stream}}"),
        ),
        lines(
            "Sent after",
            "From capture to when a picture has been sent, slowest twentieth.",
            "s",
            Query(
                _quantile(0.95, "framemesh_webrtc_send_latency_seconds", "stream", "rendition"),
                "{{stream}}/{{rendition}}",
            ),
        ),
        lines(
            "Round trips",
            "As viewers report.",
            "s",
            Query(_quantile(0.5, "framemesh_webrtc_rtt_seconds"), "median"),
            Query(_quantile(0.95, "framemesh_webrtc_rtt_seconds"), "slowest twentieth"),
        ),
        "What is lost",
        lines(
            "Asked for again",
            "Packets and key pictures that viewers asked for, packets that were sent again, a second.",
            "cps",
            Query(_rate("framemesh_webrtc_nacked_packets_total"), "packets asked for"),
            Query(_rate("framemesh_webrtc_retransmitted_packets_total"), "packets sent again"),
            Query(_rate("framemesh_webrtc_key_frame_requests_total"), "key pictures asked for"),
        ),
        lines(
            "Not sent, by reason",
            "A second.",
            "cps",
            Query(f"{_rate('framemesh_webrtc_dropped_total', 'reason')} > 0 or vector(0)", "{{reason}}"),
        ),
        lines(
            "CPU for a packet",
            "Packetising, protecting and sending, as a mean.",
            "s",
            Query(
                f"{_rate('framemesh_webrtc_fanout_cpu_seconds_total', 'node')} "
                f"/ {_rate('framemesh_webrtc_packets_total', 'node')}",
                "{{node}}",
            ),
        ),
    ),
)
