"""app:// : an application on this node writes the pictures itself, through `shared.clients.mesh`.

Capture only keeps the stream's place in the mesh; the application takes an epoch and writes its own ring. What it
does is seen at that ring: its writer's lock, which the kernel drops when the application dies, and its last sequence.
"""

import threading

from schemas.errors import InvalidValue
from schemas.resources import AudioInfo, StreamSpec, VideoInfo
from services.capture.settings import CaptureSettings
from services.capture.sink import StreamSink
from services.capture.sources.base import Source
from shared.ring import RingHeader
from shared.ring.folder import written_rings

# A look costs 30 microseconds; the ring's file system tells of new files, but not of locks and sequences.
_LOOK_SECONDS = 0.25


class ApplicationSource(Source):
    """Live while an application has a ring for the stream, however rarely it writes: many draw only when asked."""

    steady = False
    listens = True
    waits_for = "the application"

    def __init__(self, spec: StreamSpec, url: str, settings: CaptureSettings) -> None:
        super().__init__(spec, url, settings)
        self.fps = spec.fps
        self.sound: AudioInfo | None = None

    @classmethod
    def check(cls, spec: StreamSpec) -> None:
        """Raises:
        InvalidValue: a mask that would hide nothing, or the like: capture does not see these pictures.
        """
        for name in ("masks", "crop", "rotate", "frozen_after"):
            if getattr(spec, name):
                raise InvalidValue(
                    name, getattr(spec, name), f"{cls.waits_for} makes these pictures itself; do it there"
                )

    def run(self, sink: StreamSink, stop: threading.Event) -> None:
        sink.waiting(self.waits_for)
        writing: RingHeader | None = None
        while not stop.wait(_LOOK_SECONDS if writing else 0):
            rings = written_rings(self.settings.shm_dir, self.spec.stream)
            newest = max(rings, key=lambda ring: (ring.epoch, ring.last_sequence, ring.created_ns), default=None)
            before, writing = writing, newest
            if newest is None:
                if before is not None:
                    sink.lost()
                    sink.waiting(self.waits_for)
                if stop.wait(_LOOK_SECONDS):
                    return
                continue
            if before is None or before.geometry != newest.geometry:
                sink.live(_video(newest, self.fps), self.sound, ())
                before = None
            written = newest.last_sequence - (before.last_sequence if before else 0)
            if written:
                sink.arrived(pictures=max(written, 0))


def _video(ring: RingHeader, fps: float | None) -> VideoInfo:
    geometry = ring.geometry
    return VideoInfo(
        codec="raw",
        width=geometry.width,
        height=geometry.height,
        fps=fps or 0.0,
        pixel_format=geometry.pixel_format,
    )
