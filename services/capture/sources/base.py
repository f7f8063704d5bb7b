"""The contract of a source."""

import threading
from abc import ABC, abstractmethod

from schemas.capture_commands import PtzRequest, PtzStatus
from schemas.errors import Conflict
from schemas.resources import StreamSpec
from services.capture.settings import CaptureSettings
from services.capture.sink import StreamSink


class Source(ABC):
    """Something that delivers a stream. Made afresh for every attempt to open it, without any I/O."""

    steady = True
    """Pictures come by themselves, one after the other, so that their absence is a stall. False for what sends a
    picture when something happens (a trigger, an application) or one for all; may be set until `sink.live`."""

    listens = False
    """Waits for a sender to come to it, however long that takes: not opened again meanwhile."""

    def __init__(self, spec: StreamSpec, url: str, settings: CaptureSettings) -> None:
        """`url`: the source with its credentials; `spec.source` is how it may be shown."""
        self.spec = spec
        self.url = url
        self.settings = settings

    @classmethod
    def check(cls, spec: StreamSpec) -> None:
        """Refuse what can never work anywhere, without I/O.

        Raises:
            InvalidValue: names the field, the value and the fix.
        """
        return

    def probe(self) -> None:
        """Hold the spec against the device or file itself, changing nothing; blocks, for 5 s at most.

        Raises:
            InvalidValue, BadRequest: this can never be played; names the field or the control.
            NotFound, Unavailable: it cannot be told now.
        """
        return

    def adjust(self, spec: StreamSpec) -> bool:
        """While `run` goes on in its thread: take a changed spec on; False: the source must be opened again for it.

        What the sink does to pictures (masks, crop, rotate) is not the source's business, and changed already.
        Blocks, for 5 s at most.

        Raises:
            InvalidValue: the device refuses a value; it is as it was.
        """
        return False

    def trigger(self) -> int:
        """Take one picture now; CLOCK_REALTIME in nanoseconds when the device had taken the command.

        Raises:
            Conflict: it is not a camera with a software trigger.
        """
        raise Conflict(f"{self.spec.stream}: only cameras with trigger: software take pictures on command")

    def request_key_frame(self, rendition: str | None = None) -> bool:
        """Ask the sender for a key picture; False: it was asked a moment ago.

        `rendition`: of which layer; None: of that which `source` follows.

        Raises:
            Conflict: its key pictures come when they come.
        """
        raise Conflict(f"{self.spec.stream}: only publishers of whip:// streams make key pictures when they are asked")

    def ptz(self, request: PtzRequest) -> PtzStatus:
        """Move the camera, or ask where it looks. Blocks, for 5 s at most.

        Raises:
            Conflict: it is not a camera that moves.
            InvalidValue: a preset that there is not; names those that there are.
            Unavailable: the camera does not answer.
        """
        raise Conflict(f"{self.spec.stream}: not a camera that moves")

    @abstractmethod
    def run(self, sink: StreamSink, stop: threading.Event) -> None:
        """Open, call `sink.live(…)`, deliver until the source ends (return) or `stop` is set.

        Runs in the stream's own thread. `stop` is set too when no picture came for so long that it shall be opened
        again; a source that does not return within 2 s of that is left behind. The stream is live from the first
        picture on; a source that waits for something to happen says so with `sink.waiting(…)`. Every picture that the
        source sends is told with `sink.arrived(…)`, looked at or not. Pictures are written only while
        `sink.wants_raw`, sound is decoded only while `sink.wants_sound`; the source's own packets are forwarded always,
        where they can be carried.

        Raises:
            MeshError: what went wrong, in one line fit to show; capture tries again with backoff.
        """
