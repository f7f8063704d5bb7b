"""Metrics of capture, read from the streams' counters when scraped."""

from collections.abc import Callable, Mapping

from services.capture.sink import StreamSink
from services.capture.source_thread import left_behind
from services.capture.stream import StreamRunner
from services.capture.voice import VoiceWatch
from shared.metrics import Figures, Sample


def register_metrics(figures: Figures, runners: Mapping[str, StreamRunner]) -> None:
    def each(read: Callable[[StreamSink], float]) -> Callable[[], list[Sample]]:
        return lambda: [
            ({"stream": stream}, read(runner.sink)) for stream, runner in tuple(runners.items()) if runner.sink
        ]

    def heard(read: Callable[[VoiceWatch], float | None]) -> Callable[[], list[Sample]]:
        return lambda: [
            ({"stream": stream}, value)
            for stream, runner in tuple(runners.items())
            if runner.sink and (voice := runner.sink.voice) and (value := read(voice)) is not None
        ]

    counter = figures.counter
    counter("framemesh_capture_frames", "Pictures written to the ring.", each(lambda sink: sink.frames.written))
    counter(
        "framemesh_capture_dropped_frames",
        "Pictures left out: every slot of the ring was leased, above the stream's fps, damaged, too large, …",
        lambda: [
            ({"stream": stream, "reason": reason}, count)
            for stream, runner in tuple(runners.items())
            if runner.sink
            for reason, count in ({"ring-full": 0} | runner.sink.dropped).items()
        ],
    )
    counter(
        "framemesh_capture_packets", "The source's own packets forwarded.", each(lambda sink: sink.packets.forwarded)
    )
    figures.gauge(
        "framemesh_capture_history_seconds",
        "How far back the source's own packets in memory reach.",
        each(lambda sink: sink.packets.held_seconds),
    )
    counter("framemesh_capture_audio_blocks", "Blocks of raw sound published.", each(lambda sink: sink.audio_blocks))
    figures.gauge(
        "framemesh_audio_level_dbfs",
        "Level of the sound where `voice` is on, RMS of 0.4 s; a sine of full scale is 0.",
        heard(lambda voice: voice.level_dbfs),
    )
    figures.gauge(
        "framemesh_audio_voice_probability",
        "That somebody speaks at this moment, where `voice` is on.",
        heard(lambda voice: voice.probability),
    )
    counter(
        "framemesh_capture_dropped_events",
        "Events of a device left out because there were too many.",
        each(lambda sink: sink.events_dropped),
    )
    counter(
        "framemesh_capture_reconnects",
        "Times the source had to be opened again.",
        lambda: [({"stream": stream}, runner.reconnects) for stream, runner in tuple(runners.items())],
    )
    figures.gauge(
        "framemesh_capture_last_frame_timestamp_seconds",
        "When the newest picture was written, seconds since 1970.",
        each(lambda sink: sink.frames.last_ns / 1e9),
    )
    counter(
        "framemesh_capture_stalls",
        "Times the pictures stayed away although the source was open.",
        lambda: [({"stream": stream}, runner.health.stalls) for stream, runner in tuple(runners.items())],
    )
    counter(
        "framemesh_capture_freezes",
        "Times the pictures came and were all the same.",
        lambda: [({"stream": stream}, runner.health.freezes) for stream, runner in tuple(runners.items())],
    )
    counter(
        "framemesh_capture_stand_in_frames",
        "Pictures written in place of a lost source's.",
        each(lambda sink: sink.frames.stood_in),
    )
    counter(
        "framemesh_capture_stuck_sources",
        "Threads left behind because their source did not let go.",
        lambda: [({}, left_behind.total)],
    )
    figures.gauge(
        "framemesh_capture_stuck_threads", "Those of them that still hang.", lambda: [({}, left_behind.alive)]
    )
    figures.gauge(
        "framemesh_capture_live",
        "1 while the source delivers pictures that differ.",
        lambda: [
            ({"stream": stream}, float(runner.actual is not None and runner.actual.state == "live"))
            for stream, runner in tuple(runners.items())
        ],
    )
