"""Where on its way a stream's picture gets old or lost."""

from ops.dashboards.building import LATENCY, NODE, RATE, STREAM_UID, Board, Query, bars, lines, number, states

_STREAM = f'{NODE}, stream="$stream"'
_STAGES = (
    "1 in the ring",
    "2 encoder begins",
    "3 packet made",
    "4a sent to viewers",
    "4b handed to outputs",
    "5 on screens",
)


def _ages(quantile: float) -> list[Query]:
    """One for each stage: Prometheus gives the series of one query in no order, and bars stand as they come."""
    found = f"framemesh:stage_latency_seconds_bucket:rate1m{{{_STREAM}, stage="
    return [Query(f'histogram_quantile({quantile}, sum by (le) ({found}"{stage}"}}))', stage) for stage in _STAGES]


BOARD = Board(
    uid=STREAM_UID,
    title="Stream",
    description="Where on its way does a picture get old or lost?",
    variables=("stream",),
    panels=(
        "Now",
        number(
            "Pictures",
            "Written to the ring, a second. None while nobody needs decoded pictures.",
            "fps",
            Query(f"sum(rate(framemesh_capture_frames_total{{{_STREAM}}}[{RATE}]))", "fps"),
            width=6,
        ),
        number(
            "On screens after",
            "From capture to the screens of half of the pages, as they report.",
            "s",
            Query(
                "histogram_quantile(0.5, sum by (le) "
                f"(rate(framemesh_webrtc_glass_to_glass_seconds_bucket{{{_STREAM}}}[{RATE}])))",
                "median",
            ),
            steps=LATENCY,
            width=6,
        ),
        number(
            "Viewers",
            "Of all its renditions.",
            "none",
            Query(f"sum(framemesh_webrtc_viewers{{{_STREAM}}})", "viewers"),
            width=6,
        ),
        number(
            "Source lost",
            "Times that its source was opened again, stalled or froze, in the last hour.",
            "none",
            Query(f"sum(increase(framemesh_capture_reconnects_total{{{_STREAM}}}[1h]))", "reconnects"),
            Query(f"sum(increase(framemesh_capture_stalls_total{{{_STREAM}}}[1h]))", "stalls"),
            Query(f"sum(increase(framemesh_capture_freezes_total{{{_STREAM}}}[1h]))", "freezes"),
            width=6,
        ),
        "How old pictures are",
        bars(
            "At each stage, median",
            "Half of the pictures are younger. A step from one bar to the next is what that part of the way costs; "
            "4a and 4b both follow 3, and 5 follows 4a.",
            "s",
            *_ages(0.5),
            steps=LATENCY,
        ),
        bars(
            "At each stage, slowest twentieth",
            "One picture in twenty is older.",
            "s",
            *_ages(0.95),
            steps=LATENCY,
        ),
        lines("At each stage, slowest twentieth, over time", "Which stage it is that gets slower.", "s", *_ages(0.95)),
        "Where they are lost",
        lines(
            "Left out, by reason",
            "Pictures and packets of this stream, a second.",
            "cps",
            Query(
                f"sum by (what, reason) (framemesh:drops:rate1m{{{_STREAM}}}) > 0 or vector(0)", "{{what}} {{reason}}"
            ),
        ),
        lines(
            "Ring",
            "Slots that readers hold, and all there are. A ring whose slots are all held leaves pictures out.",
            "none",
            Query(f"max(framemesh_ring_held_slots{{{_STREAM}}})", "held"),
            Query(f"max(framemesh_ring_slots{{{_STREAM}}})", "slots"),
        ),
        states(
            "States",
            "Of the stream and of what is made of it: a bar for as long as it is in a state.",
            Query(f"framemesh_resource_state{{{_STREAM}}}", "{{kind}} {{id}} {{state}}"),
            width=8,
        ),
        "What goes out",
        lines(
            "Pictures",
            "In the ring, and encoded for each rendition, a second.",
            "fps",
            Query(f"sum(rate(framemesh_capture_frames_total{{{_STREAM}}}[{RATE}]))", "ring"),
            Query(f"sum by (rendition) (rate(framemesh_hw_encode_frames_total{{{_STREAM}}}[{RATE}]))", "{{rendition}}"),
        ),
        lines(
            "Bitrate of renditions",
            "What encoders publish.",
            "bps",
            Query(
                f"8 * sum by (rendition) (rate(framemesh_hw_encode_bytes_total{{{_STREAM}}}[{RATE}]))", "{{rendition}}"
            ),
        ),
        lines(
            "Bitrate of outputs",
            "What is written to files and sent to servers.",
            "bps",
            Query(f"8 * sum by (output) (rate(framemesh_publisher_bytes_total{{{_STREAM}}}[{RATE}]))", "{{output}}"),
        ),
    ),
)
