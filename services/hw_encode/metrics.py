"""Metrics of hw-encode, read from the renditions' counters when scraped."""

from collections.abc import Callable, Iterator, Mapping
from typing import get_args

from schemas.resources import WhenFull
from services.hw_encode.application_rendition import ApplicationRendition
from services.hw_encode.pipeline import Pipeline
from services.hw_encode.rendition import RenditionRunner
from services.hw_encode.stills import Stills
from shared.metrics import Figures, Sample
from shared.ring import RingReader

_DROP_REASONS = tuple(reason for reason in get_args(WhenFull) if reason != "block")


def register_metrics(
    figures: Figures, runners: Mapping[str, RenditionRunner | ApplicationRendition], reader: RingReader, stills: Stills
) -> None:
    """Register all that is read from the renditions' own counters."""

    def encoding() -> Iterator[tuple[dict[str, str], Pipeline]]:
        for rendition_id, runner in tuple(runners.items()):
            if pipeline := runner.pipeline:
                stream, _, rendition = rendition_id.partition("--")
                yield {"stream": stream, "rendition": rendition}, pipeline

    def choices() -> Iterator[tuple[dict[str, str], str, bool]]:
        for rendition_id, runner in tuple(runners.items()):
            if isinstance(runner, RenditionRunner) and (choice := runner.choice):
                stream, _, rendition = rendition_id.partition("--")
                yield {"stream": stream, "rendition": rendition}, *choice

    def each(read: Callable[[Pipeline], float]) -> Callable[[], list[Sample]]:
        return lambda: [(labels, read(pipeline)) for labels, pipeline in encoding()]

    counter = figures.counter
    counter("framemesh_hw_encode_frames", "Pictures encoded.", each(lambda p: p.video.counts.encoded))
    counter("framemesh_hw_encode_key_frames", "Key frames made.", each(lambda p: p.video.counts.key_frames))
    counter("framemesh_hw_encode_failovers", "Times an encoder failed in use.", each(lambda p: p.video.failovers))
    counter(
        "framemesh_hw_encode_restarts",
        "Times an encoder's process died and the same encoder was started again.",
        each(lambda p: p.video.restarts),
    )
    counter(
        "framemesh_hw_encode_skipped_frames",
        "Pictures that found the queue full, or gave way to one that did, by `when_full`.",
        lambda: [
            ({**labels, "reason": reason}, pipeline.video.inbox.dropped[reason])
            for labels, pipeline in encoding()
            for reason in _DROP_REASONS
        ],
    )
    counter(
        "framemesh_hw_encode_left_out_frames",
        "Pictures above the rendition's rate.",
        each(lambda p: p.video.counts.left_out),
    )
    counter(
        "framemesh_hw_encode_missed_frames",
        "Pictures that were overwritten in the ring before they could be leased.",
        each(lambda p: p.video.counts.missed + p.video.inbox.missed),
    )
    counter(
        "framemesh_hw_encode_lost_frames",
        "Pictures that were inside an encoder when it failed.",
        each(lambda p: p.video.counts.lost),
    )
    figures.histograms(
        "framemesh_hw_encode_start_latency_seconds",
        "From capture of a picture to when the encoder begins with it.",
        lambda: [(labels, pipeline.video.start_latency) for labels, pipeline in encoding()],
    )
    figures.gauge(
        "framemesh_hw_encode_encoder_info",
        "1, of each rendition that is encoded and the encoder in use.",
        lambda: [
            ({**labels, "encoder": name, "kind": "hardware" if hardware else "software"}, 1.0)
            for labels, name, hardware in choices()
        ],
    )
    figures.gauge(
        "framemesh_hw_encode_hardware",
        "1 while a rendition's encoder is hardware.",
        lambda: [(labels, float(hardware)) for labels, _, hardware in choices()],
    )
    figures.gauge(
        "framemesh_hw_encode_history_seconds",
        "How far back the packets in memory reach.",
        each(lambda p: p.publisher.held_seconds),
    )
    counter(
        "framemesh_hw_encode_history_too_large_packets",
        "Packets that are not kept, as they are larger than all memory for them.",
        each(lambda p: p.publisher.too_large),
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
    counter(
        "framemesh_hw_encode_stills",
        "Still pictures that were asked for: made, or refused because too many were waiting.",
        lambda: [({"outcome": outcome}, getattr(stills, outcome)) for outcome in ("made", "refused")],
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
