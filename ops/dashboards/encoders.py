"""Which encoder is in use, and whether it keeps up."""

from ops.dashboards.building import LATENCY, NODE, NONE_IS_GOOD, RATE, Board, Query, lines, number, rows

_EACH = "{{stream}}/{{rendition}}"


def _rate(metric: str) -> str:
    return f"sum by (stream, rendition) (rate({metric}{{{NODE}}}[{RATE}]))"


def _mean(histogram: str) -> str:
    return f"{_rate(f'{histogram}_sum')} / {_rate(f'{histogram}_count')}"


BOARD = Board(
    uid="framemesh-encoders",
    title="Encoders",
    description="Which encoder is in use, does it keep up?",
    panels=(
        "Now",
        number(
            "Renditions encoded",
            "An encoder runs only while somebody needs it.",
            "none",
            Query(f"count(framemesh_hw_encode_encoder_info{{{NODE}}}) or vector(0)", "renditions"),
        ),
        number(
            "In hardware",
            "Of those.",
            "none",
            Query(f"sum(framemesh_hw_encode_hardware{{{NODE}}}) or vector(0)", "hardware"),
        ),
        number(
            "Failed in use",
            "Encoders that failed, or whose processes died, in the last hour.",
            "none",
            Query(
                f"sum(increase(framemesh_hw_encode_failovers_total{{{NODE}}}[1h])) "
                f"+ sum(increase(framemesh_hw_encode_restarts_total{{{NODE}}}[1h])) or vector(0)",
                "failures",
            ),
            steps=NONE_IS_GOOD,
        ),
        number(
            "Slowest twentieth",
            "From capture to packet, of the rendition that is slowest.",
            "s",
            Query(
                "max(histogram_quantile(0.95, sum by (stream, rendition, le) "
                f"(rate(framemesh_hw_encode_latency_seconds_bucket{{{NODE}}}[{RATE}]))))",
                "p95",
            ),
            steps=LATENCY,
        ),
        number(
            "CPU",
            "Of hw-encode with the processes of its encoders; 100 % is one core.",
            "percentunit",
            Query(f'sum(rate(framemesh_cpu_seconds_total{{job="hw-encode", {NODE}}}[{RATE}]))', "cores"),
        ),
        number(
            "Stills",
            "Still pictures made for snapshots and the console, a second.",
            "cps",
            Query(f'sum(rate(framemesh_hw_encode_stills_total{{outcome="made", {NODE}}}[{RATE}]))', "made"),
        ),
        "In use",
        rows(
            "Encoders",
            "Which encoder each rendition has just now, and whether it is hardware.",
            Query(f"framemesh_hw_encode_encoder_info{{{NODE}}}"),
            width=8,
            hidden=("job",),
            to_stream=True,
        ),
        lines("Pictures", "Encoded, a second.", "fps", Query(_rate("framemesh_hw_encode_frames_total"), _EACH)),
        lines(
            "From capture to packet",
            "Slowest twentieth.",
            "s",
            Query(
                "histogram_quantile(0.95, sum by (stream, rendition, le) "
                f"(rate(framemesh_hw_encode_latency_seconds_bucket{{{NODE}}}[{RATE}])))",
                _EACH,
            ),
        ),
        "Does it keep up?",
        lines(
            "Not encoded",
            "A second. Skipped: the queue was full; missed: overwritten in the ring before the encoder came to it; "
            "lost: inside an encoder that failed. What is above a rendition's rate is not counted.",
            "cps",
            Query(_rate("framemesh_hw_encode_skipped_frames_total"), f"{_EACH} skipped"),
            Query(_rate("framemesh_hw_encode_missed_frames_total"), f"{_EACH} missed"),
            Query(_rate("framemesh_hw_encode_lost_frames_total"), f"{_EACH} lost"),
        ),
        lines(
            "Within the encoder",
            "Mean time from where the encoder begins with a picture to its packet.",
            "s",
            Query(
                " - ".join(
                    map(_mean, ("framemesh_hw_encode_latency_seconds", "framemesh_hw_encode_start_latency_seconds"))
                ),
                _EACH,
            ),
        ),
        lines(
            "Bitrate",
            "What encoders publish.",
            "bps",
            Query(f"8 * {_rate('framemesh_hw_encode_bytes_total')}", _EACH),
        ),
    ),
)
