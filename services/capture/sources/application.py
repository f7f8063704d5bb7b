"""app:// : an application on this node writes the pictures itself, through `shared.clients.mesh`.

Capture only keeps the stream's place in the mesh; the application takes an epoch and writes its own ring.
"""

import threading

from schemas.resources import StreamSpec
from services.capture.settings import CaptureSettings
from services.capture.sink import StreamSink


class ApplicationSource:
    def __init__(self, spec: StreamSpec, url: str, settings: CaptureSettings) -> None:
        """Nothing to prepare."""

    def run(self, sink: StreamSink, stop: threading.Event) -> None:
        sink.live(None, None, ())
        stop.wait()
