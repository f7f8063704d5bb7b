"""Metrics of hw-encode, read from the renditions' counters when scraped."""

from collections.abc import Callable, Mapping

from services.hw_encode.rendition import Pipeline, RenditionRunner
from shared.metrics import Figures, Sample
from shared.ring import RingReader


def register_metrics(figures: Figures, runners: Mapping[str, RenditionRunner], reader: RingReader) -> None:
    """Register all that is read from the renditions' own counters."""

    def each(read: Callable[[Pipeline], float]) -> Callable[[], list[Sample]]:
        def samples() -> list[Sample]:
            found = []
            for rendition_id, runner in tuple(runners.items()):
                pipeline = runner.pipeline
                if pipeline:
                    stream, _, rendition = rendition_id.partition("--")
                    found.append(({"stream": stream, "rendition": rendition}, read(pipeline)))
            return found

        return samples

    counter = figures.counter
    counter("framemesh_hw_encode_frames", "Pictures encoded.", each(lambda p: p.video.counts.encoded))
    counter("framemesh_hw_encode_key_frames", "Key frames made.", each(lambda p: p.video.counts.key_frames))
    counter("framemesh_hw_encode_failovers", "Times an encoder failed in use.", each(lambda p: p.video.failovers))
    counter(
        "framemesh_hw_encode_skipped_frames",
        "Pictures that a newer one replaced before they could be encoded.",
        each(lambda p: p.video.inbox.replaced),
    )
    counter(
        "framemesh_hw_encode_left_out_frames",
        "Pictures above the rendition's rate.",
        each(lambda p: p.video.counts.left_out),
    )
    counter(
        "framemesh_hw_encode_missed_frames",
        "Pictures that were overwritten in the ring before they could be leased.",
        each(lambda p: p.video.counts.missed),
    )
    figures.gauge(
        "framemesh_hw_encode_history_seconds",
        "How far back the packets in memory reach.",
        each(lambda p: p.publisher.held_seconds),
    )
    for outcome, help_text in (
        ("converted", "Pictures converted to a rendition's format and size."),
        ("shared", "Pictures that another rendition of the stream had converted already."),
    ):
        counter(
            f"framemesh_hw_encode_{outcome}_frames",
            help_text,
            each(lambda p, outcome=outcome: getattr(p.video.conversions, outcome)),  # type: ignore[misc]
        )
    counter("framemesh_hw_encode_bytes", "Bytes of packets published.", each(lambda p: p.publisher.published_bytes))
    counter(
        "framemesh_hw_encode_audio_dropped_blocks",
        "Blocks of sound dropped because the audio queue was full.",
        each(lambda p: p.audio.dropped_blocks),
    )
    counter(
        "framemesh_ring_leases",
        "Leases of pictures, by outcome.",
        lambda: [
            ({"outcome": outcome}, getattr(reader.counts, outcome))
            for outcome in ("ok", "overwritten", "gone", "refused")
        ],
    )
