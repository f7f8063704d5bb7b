"""onvif://user:password@host[:port]/[profile] : a camera that is asked for its RTSP URL, moved, and listened to."""

import logging
import threading
import time
from functools import partial
from urllib.parse import unquote, urlsplit

from schemas.capture_commands import PtzRequest, PtzStatus
from schemas.errors import Conflict, InvalidValue, MeshError, Unavailable
from schemas.resources import StreamSpec
from services.capture.onvif.device import OnvifDevice, Services
from services.capture.onvif.events import EventPull
from services.capture.onvif.ptz import Ptz, check_ptz
from services.capture.onvif.transport import Transport
from services.capture.settings import CaptureSettings
from services.capture.sink import StreamSink
from services.capture.sources.base import Source
from services.capture.sources.network import NetworkSource
from shared.netguard import Policy, check, interruptible
from shared.netguard.interrupt import watch
from shared.urls import redact

log = logging.getLogger(__name__)


class OnvifSource(Source):
    """Pictures come as from rtsp://; the URL is asked for afresh at every attempt, as cameras change it."""

    def __init__(self, spec: StreamSpec, url: str, settings: CaptureSettings) -> None:
        super().__init__(spec, url, settings)
        self._pictures: NetworkSource | None = None
        self._ptz: Ptz | None = None
        self._connected = False

    @classmethod
    def check(cls, spec: StreamSpec) -> None:
        """Raises:
        InvalidValue: there is more in the URL than host and profile.
        """
        parts = urlsplit(spec.source)
        if parts.query or parts.fragment:
            shown = redact(spec.source)[0]
            raise InvalidValue("source", shown, "write onvif://user:password@host:port/profile and nothing after it")

    def run(self, sink: StreamSink, stop: threading.Event) -> None:
        policy = Policy(schemes=frozenset(("onvif",)), allow_private=True, file_roots=())
        transport = Transport(check(self.url, policy, field="source"))
        events: EventPull | None = None
        try:
            with interruptible(stop):
                watch(transport)
                services, pictures = self._ask(transport)
            self._pictures = pictures
            events = self._listen(transport, services.events, sink)
            pictures.run(sink, stop)
        except MeshError:
            if not stop.is_set():  # otherwise it is the interruption
                raise
        finally:
            self._connected = False
            if self._ptz:
                self._ptz.close()
            if events:
                events.close()
            transport.abort()

    def adjust(self, spec: StreamSpec) -> bool:
        pictures = self._pictures
        return pictures is not None and pictures.adjust(spec)

    def ptz(self, request: PtzRequest) -> PtzStatus:
        """Move the camera, or ask where it looks. Blocks, for 5 s at most.

        Raises:
            InvalidValue: what no camera can do, or a preset that there is not; names those that there are.
            Conflict: this camera cannot do it.
            Unavailable: it does not answer.
        """
        check_ptz(request)
        if not self._connected:
            raise Unavailable(f"{self.spec.stream}: the camera is not connected yet; see the stream's state")
        if self._ptz is None:
            raise Conflict(f"{self.spec.stream}: this camera has no PTZ")
        return self._ptz.do(request)

    def _ask(self, transport: Transport) -> tuple[Services, NetworkSource]:
        """Learn from the camera what it has, where its pictures are, and whether it moves."""
        device = OnvifDevice(transport, time.monotonic() + self.settings.open_timeout_seconds)
        device.take_clock()
        services = device.services()
        profile, movable = device.profile(services, unquote(urlsplit(self.url).path.strip("/")))
        url = device.stream_uri(services, profile, self.spec.transport)
        self._ptz = Ptz(transport, services.ptz, movable) if services.ptz and movable else None
        self._connected = True
        return services, NetworkSource(self.spec, url, self.settings)

    def _listen(self, transport: Transport, url: str, sink: StreamSink) -> EventPull | None:
        if not url:
            log.info("the camera has no events", extra={"stream": self.spec.stream})
            return None

        def dropped() -> None:
            sink.events_dropped += 1

        events = EventPull(transport, url, self.spec.stream, partial(sink.tell, "onvif"), dropped)
        events.start()
        return events
