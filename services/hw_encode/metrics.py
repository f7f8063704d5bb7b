"""Metrics of hw-encode, read from the renditions' counters when scraped."""

import contextlib
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from prometheus_client import Histogram

from schemas.resources import RenditionSpec
from shared.metrics import Figures, Sample
from shared.ring import RingReader

if TYPE_CHECKING:
    from services.hw_encode.rendition import Pipeline, RenditionRunner

# From half a millisecond (hardware at 60 fps) to a second (something is badly wrong).
_LATENCY_BUCKETS_SECONDS = (0.0005, 0.001, 0.002, 0.004, 0.008, 0.016, 0.033, 0.066, 0.13, 0.25, 0.5, 1.0)


class LatencyFigure:
    """From capture of a picture to its packet leaving the encoder, per rendition."""

    def __init__(self) -> None:
        self._histogram = Histogram(
            "framemesh_hw_encode_latency_seconds",
            "From capture of a picture to its packet leaving the encoder.",
            ("stream", "rendition"),
            buckets=_LATENCY_BUCKETS_SECONDS,
        )

    def observe(self, spec: RenditionSpec, seconds: float) -> None:
        """Count one picture."""
        self._histogram.labels(spec.stream, spec.rendition).observe(seconds)

    def forget(self, spec: RenditionSpec) -> None:
        """The rendition is gone: so are its series, or names of streams would pile up."""
        with contextlib.suppress(KeyError):  # it never encoded a picture
            self._histogram.remove(spec.stream, spec.rendition)


def register_metrics(figures: Figures, runners: "Mapping[str, RenditionRunner]", reader: RingReader) -> None:
    """Register all that is read from the renditions' own counters."""

    def each(read: "Callable[[Pipeline], float]") -> Callable[[], list[Sample]]:
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
        "framemesh_hw_encode_missed_frames",
        "Pictures that were overwritten in the ring before they could be leased.",
        each(lambda p: p.video.counts.missed),
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
