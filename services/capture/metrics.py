"""Metrics of capture, read from the streams' counters when scraped."""

import time
from collections.abc import Callable, Mapping
from pathlib import Path

from services.capture.sink import StreamSink
from services.capture.source_thread import left_behind
from services.capture.stream import StreamRunner
from services.capture.voice import VoiceWatch
from shared.metrics import Figures, Sample
from shared.ring import Occupancy, occupancy

_SCRAPE_SECONDS = 0.2  # from its first family to its last, with much to spare


class _Look:
    """One look at the rings for all that a scrape asks of them; a tenth of a millisecond for each ring."""

    def __init__(self, shm_dir: Path) -> None:
        self._shm_dir = shm_dir
        self._rings: dict[str, Occupancy] = {}
        self._looked_at = float("-inf")

    def rings(self) -> dict[str, Occupancy]:
        if time.monotonic() - self._looked_at > _SCRAPE_SECONDS:
            self._rings = occupancy(self._shm_dir)
            self._looked_at = time.monotonic()
        return self._rings


def register_metrics(figures: Figures, runners: Mapping[str, StreamRunner], shm_dir: Path) -> None:
    """`shm_dir`: where the rings of this node lie, also those that mixers and applications write."""

    def each(read: Callable[[StreamSink], float]) -> Callable[[], list[Sample]]:
        return lambda: [
            ({"stream": stream}, read(sink))
            for stream, runner in tuple(runners.items())
            if (sink := runner.sink)  # looked at once: it may go meanwhile
        ]

    def heard(read: Callable[[VoiceWatch], float | None]) -> Callable[[], list[Sample]]:
        return lambda: [
            ({"stream": stream}, value)
            for stream, runner in tuple(runners.items())
            if (sink := runner.sink) and (voice := sink.voice) and (value := read(voice)) is not None
        ]

    look = _Look(shm_dir)

    def rings(read: Callable[[Occupancy], float]) -> Callable[[], list[Sample]]:
        return lambda: [({"stream": stream}, read(found)) for stream, found in look.rings().items()]

    counter = figures.counter
    counter("framemesh_capture_frames", "Pictures written to the ring.", each(lambda sink: sink.frames.written))
    counter(
        "framemesh_capture_dropped_frames",
        "Pictures left out: every slot of the ring was leased, above the stream's fps, damaged, too large, …",
        lambda: [
            ({"stream": stream, "reason": reason}, count)
            for stream, runner in tuple(runners.items())
            if (sink := runner.sink)
            for reason, count in ({"ring-full": 0} | sink.dropped).items()
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
    counter(
        "framemesh_capture_history_too_large_packets",
        "The source's own packets that are not kept, as they are larger than all memory for them.",
        each(lambda sink: sink.packets.too_large),
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
    figures.histograms(
        "framemesh_capture_latency_seconds",
        "From capture of a picture to its reference on the bus.",
        lambda: [
            ({"stream": stream}, sink.frames.latency)
            for stream, runner in tuple(runners.items())
            if (sink := runner.sink)
        ],
    )
    figures.gauge("framemesh_ring_slots", "Slots of a stream's ring.", rings(lambda found: found.slots))
    figures.gauge("framemesh_ring_held_slots", "Slots that readers hold just now.", rings(lambda found: found.held))
    figures.gauge("framemesh_ring_bytes", "Shared memory of a stream's ring.", rings(lambda found: found.file_bytes))
    figures.gauge(
        "framemesh_capture_live",
        "1 while the source delivers pictures that differ.",
        lambda: [
            ({"stream": stream}, float((actual := runner.actual) is not None and actual.state == "live"))
            for stream, runner in tuple(runners.items())
        ],
    )
