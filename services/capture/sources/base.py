"""The contract of a source."""

import threading
from typing import Protocol

from services.capture.sink import StreamSink


class Source(Protocol):
    """Something that delivers a stream. Made afresh for every attempt to open it."""

    def run(self, sink: StreamSink, stop: threading.Event) -> None:
        """Open, call `sink.live(…)`, deliver until the source ends (return) or `stop` is set.

        Runs in the stream's own thread. Pictures are written only while `sink.wants_raw`; the source's own
        packets are forwarded always, where they can be carried.

        Raises:
            MeshError: what went wrong, in one line fit to show; capture tries again with backoff.
        """
        ...
