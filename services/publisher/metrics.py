"""Metrics of publisher, read from the writers' progress when scraped."""

from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from services.publisher.output_runner import OutputRunner
from services.publisher.progress import OutputProgress
from services.publisher.rtsp.counters import RtspCounters
from shared.metrics import Figures, Sample
from shared.service_figures import disk_figures


def register_rtsp_metrics(figures: Figures, counters: RtspCounters) -> None:
    def each(label: str, values: Counter[Any]) -> Callable[[], list[Sample]]:
        return lambda: [({label: str(name)}, value) for name, value in values.copy().items()]

    figures.gauge("framemesh_publisher_rtsp_clients", "RTSP clients that play.", each("transport", counters.clients))
    counter = figures.counter
    counter("framemesh_publisher_rtsp_packets", "RTP packets sent.", each("transport", counters.packets))
    counter("framemesh_publisher_rtsp_bytes", "Bytes of those.", each("transport", counters.bytes))
    counter("framemesh_publisher_rtsp_dropped_packets", "RTP packets not sent.", each("reason", counters.dropped))
    counter("framemesh_publisher_rtsp_refused", "RTSP requests refused.", each("status", counters.refused))


def register_metrics(figures: Figures, runners: Mapping[str, OutputRunner], roots: tuple[Path, ...]) -> None:
    """`roots`: folders that recordings may lie in."""

    def each(read: Callable[[OutputProgress], float]) -> Callable[[], list[Sample]]:
        return lambda: [(labels, read(progress)) for labels, progress in _progress(runners)]

    counter = figures.counter
    counter("framemesh_publisher_bytes", "Bytes written or sent.", each(lambda p: p.bytes_written))
    counter("framemesh_publisher_retries", "Times a destination had to be opened again.", each(lambda p: p.retries))
    counter("framemesh_publisher_files", "Files begun, or connections made.", each(lambda p: p.files))
    counter(
        "framemesh_publisher_dropped_packets",
        "Packets that did not reach the destination, by reason.",
        lambda: [
            ({**labels, "reason": reason}, count)
            for labels, progress in _progress(runners)
            for reason, count in tuple(progress.dropped.items())
        ],
    )
    counter(
        "framemesh_publisher_deleted_files",
        "Files deleted because of what is to be kept, by reason.",
        lambda: [
            ({**labels, "reason": reason}, count)
            for labels, progress in _progress(runners)
            for reason, count in tuple(progress.deleted.items())
        ],
    )
    figures.histograms(
        "framemesh_publisher_latency_seconds",
        "From capture of a picture to when it was handed to the destination.",
        lambda: [
            (_labels(output_id), writer.latency)
            for output_id, runner in tuple(runners.items())
            if (writer := runner.writer)  # looked at once: it may go meanwhile
        ],
    )
    disk_figures(
        figures,
        "framemesh_publisher_disk",
        "the disk of a folder for recordings",
        lambda: [({"root": str(root)}, root) for root in roots],
    )
    figures.gauge(
        "framemesh_publisher_running", "1 while packets reach the destination.", each(lambda p: p.state == "running")
    )


def _progress(runners: Mapping[str, OutputRunner]) -> list[tuple[dict[str, str], OutputProgress]]:
    found = []
    for output_id, runner in tuple(runners.items()):
        if writer := runner.writer:  # looked at once: it may go meanwhile
            found.append((_labels(output_id), writer.progress))
    return found


def _labels(output_id: str) -> dict[str, str]:
    stream, _, output = output_id.partition("--")
    return {"stream": stream, "output": output}
