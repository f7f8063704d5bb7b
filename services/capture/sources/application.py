"""app:// : an application on this node writes the pictures itself, through `shared.clients.mesh`.

Capture only keeps the stream's place in the mesh; the application takes an epoch and writes its own ring.
"""

import threading

from services.capture.sink import StreamSink
from services.capture.sources.base import Source


class ApplicationSource(Source):
    def run(self, sink: StreamSink, stop: threading.Event) -> None:
        sink.live(None, None, ())
        stop.wait()
