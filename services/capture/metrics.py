"""Metrics of capture, read from the streams' counters when scraped."""

from collections.abc import Callable, Mapping

from services.capture.sink import StreamSink
from services.capture.stream import StreamRunner
from shared.metrics import Figures, Sample


def register_metrics(figures: Figures, runners: Mapping[str, StreamRunner]) -> None:
    def each(read: Callable[[StreamSink], float]) -> Callable[[], list[Sample]]:
        return lambda: [
            ({"stream": stream}, read(runner.sink)) for stream, runner in tuple(runners.items()) if runner.sink
        ]

    counter = figures.counter
    counter("framemesh_capture_frames", "Pictures written to the ring.", each(lambda sink: sink.frames_written))
    counter(
        "framemesh_capture_dropped_frames",
        "Pictures not written because every slot of the ring was leased.",
        each(lambda sink: sink.frames_dropped),
    )
    counter(
        "framemesh_capture_packets", "The source's own packets forwarded.", each(lambda sink: sink.packets_forwarded)
    )
    counter("framemesh_capture_audio_blocks", "Blocks of raw sound published.", each(lambda sink: sink.audio_blocks))
    counter(
        "framemesh_capture_reconnects",
        "Times the source had to be opened again.",
        lambda: [({"stream": stream}, runner.reconnects) for stream, runner in tuple(runners.items())],
    )
    figures.gauge(
        "framemesh_capture_last_frame_timestamp_seconds",
        "When the newest picture was written, seconds since 1970.",
        each(lambda sink: sink.last_frame_ns / 1e9),
    )
    figures.gauge(
        "framemesh_capture_live", "1 while the source delivers.", each(lambda sink: float(sink.live_seconds > 0))
    )
