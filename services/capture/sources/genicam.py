"""genicam://serial : an industrial camera, GigE Vision or USB3 Vision."""

import threading
import time
from functools import partial
from urllib.parse import unquote, urlsplit

from schemas.errors import Conflict, InvalidValue, NotFound, Unavailable
from schemas.resources import StreamSpec, VideoInfo
from schemas.units import MAX_EDGE_PIXELS
from services.capture.genicam.backends import Backend, backend, locate
from services.capture.genicam.camera import Camera, ControlledError, FeatureRefused, Found
from services.capture.genicam.configuration import SOFTWARE, Configuration, enable_chunks
from services.capture.genicam.delivery import Delivery
from services.capture.genicam.open_cameras import CAMERAS
from services.capture.genicam.region import device_region
from services.capture.settings import CaptureSettings
from services.capture.sink import StreamSink
from services.capture.sources.base import Source

_MAX_NAME_CHARACTERS = 128
_POLL_SECONDS = 0.1  # how soon a thread that waits for a picture sees that it shall end
_ASK_AGAIN_SECONDS = 0.3  # of a camera that was here and reboots: one small packet each time
_KILLED_SECONDS = 1.5  # for so long a camera waits for a sign of life of its controller
_SILENCE_SECONDS = 1.0  # then a camera is asked whether it is still there; its own loss signal takes 5 s and more
_LIVE_FIELDS = frozenset(("fps", "controls", "masks", "rotate", "timecode", "stall_after", "frozen_after", "on_loss"))


class GenicamSource(Source):
    """Pictures straight from the camera's buffers into the ring; while nobody looks they are given back unread."""

    def __init__(self, spec: StreamSpec, url: str, settings: CaptureSettings) -> None:
        super().__init__(spec, url, settings)
        self._name = _name(spec.source)
        self._lock = threading.Lock()
        self._camera: Camera | None = None
        self._configuration: Configuration | None = None
        self._delivery: Delivery | None = None

    @classmethod
    def check(cls, spec: StreamSpec) -> None:
        _name(spec.source)
        if spec.trigger is not None and not spec.trigger:
            raise InvalidValue("trigger", spec.trigger, "name the camera's line, Line1, or write software")
        depth = _DEPTHS.get(spec.pixel_format or "")
        if depth and spec.bit_depth and spec.bit_depth not in depth:
            depths = " or ".join(map(str, depth))
            raise InvalidValue("bit_depth", spec.bit_depth, f"{spec.pixel_format} has {depths} bits")

    def probe(self) -> None:
        """Hold the spec against the camera's own ranges; one that runs is only read."""
        if camera := CAMERAS.running(self._name):
            Configuration(camera, dry=True).apply(self.spec)
            return
        way = backend(self.settings)
        found = locate(way, self._name)
        with CAMERAS.opened(found, way.open) as camera:
            Configuration(camera, dry=True).apply(self.spec)

    def run(self, sink: StreamSink, stop: threading.Event) -> None:
        way = backend(self.settings)
        found = self._locate(way, sink, stop)
        if found is None:
            return
        with CAMERAS.opened(found, partial(_open, way, stop), stream=self.spec.stream) as camera:
            configuration = Configuration(camera, undo=CAMERAS.changes_of(found))
            configuration.put_back()  # what an earlier spec set, and this one does not name
            configuration.apply(self.spec)
            try:
                enable_chunks(camera)
                camera.start()
            except FeatureRefused as error:
                raise Unavailable(f"camera {found.name} does not start: {error}") from None
            delivery = Delivery(camera)
            with self._lock:
                self._camera, self._configuration, self._delivery = camera, configuration, delivery
            try:
                sink.live(self._video(camera), None, (), device_does=_done_by_device(self.spec))
                if self.spec.trigger is not None:
                    sink.waiting("a trigger")
                self._deliver(camera, delivery, sink, stop)
            finally:
                with self._lock:
                    self._camera = self._configuration = self._delivery = None
                if not camera.lost.is_set() and not camera.answers():
                    camera.lost.set()  # closing one that is dead takes 10 s, and is not waited for

    def adjust(self, spec: StreamSpec) -> bool:
        """Rate and controls while it runs, where the camera lets them be set now; the rest needs it opened again."""
        before = self.spec
        changed = {name for name in spec.__struct_fields__ if getattr(spec, name) != getattr(before, name)}
        if changed - _LIVE_FIELDS or device_region(spec) != device_region(before):
            return False
        with self._lock:
            camera, configuration, delivery = self._camera, self._configuration, self._delivery
        if camera is None or configuration is None or delivery is None:
            return False
        if not self._adjusted(camera, configuration, before, spec):
            return False
        self.spec = spec
        delivery.read_exposure()
        return True

    def trigger(self) -> int:
        with self._lock:
            camera = self._camera
        if (self.spec.trigger or "").lower() != SOFTWARE:
            raise Conflict(f"{self.spec.stream}: give the stream trigger: software first")
        if camera is None:
            raise Unavailable(f"{self.spec.stream}: the camera is not open now")
        try:
            camera.set("TriggerSoftware", True)
        except FeatureRefused as error:
            raise Unavailable(f"{self.spec.stream}: the camera does not take the trigger: {error}") from None
        return time.time_ns()

    # -- finding it ------------------------------------------------------------------------------------------

    def _locate(self, way: Backend, sink: StreamSink, stop: threading.Event) -> Found | None:
        """The camera; one that has already sent pictures is waited for as long as opening may take. None: stopped.

        Raises:
            NotFound, Conflict, Unavailable
        """
        patience = self.settings.open_timeout_seconds if sink.arrivals.pictures else 0.0
        deadline = time.monotonic() + patience
        while not stop.is_set():
            try:
                return locate(way, self._name, CAMERAS.last_seen(self._name))
            except NotFound:
                if time.monotonic() >= deadline:
                    raise
            stop.wait(_ASK_AGAIN_SECONDS)
        return None

    # -- pictures --------------------------------------------------------------------------------------------

    def _video(self, camera: Camera) -> VideoInfo:
        with camera.lock:
            width, height, rate = (
                feature.value if (feature := camera.feature(name)) else None
                for name in ("Width", "Height", "AcquisitionFrameRate")
            )
        return VideoInfo(
            codec="raw",
            width=_edge(width),
            height=_edge(height),
            fps=round(float(rate), 3) if isinstance(rate, int | float) and self.spec.trigger is None else 0.0,
        )

    def _deliver(self, camera: Camera, delivery: Delivery, sink: StreamSink, stop: threading.Event) -> None:
        quiet_since = asked_at = time.monotonic()
        while not stop.is_set():
            buffer = camera.next(_POLL_SECONDS)
            now = time.monotonic()
            if buffer is not None:
                quiet_since = asked_at = now
                try:
                    delivery.deliver(buffer, sink)
                finally:
                    camera.give_back(buffer)
                continue
            if not camera.lost.is_set() and now - asked_at >= _SILENCE_SECONDS:
                asked_at = now
                if not camera.answers() and not camera.answers():
                    camera.lost.set()
            if camera.lost.is_set():
                raise Unavailable(f"camera {camera.found.name} is gone; check its power and cable")
            if self.spec.trigger is None and now - quiet_since >= self.settings.read_timeout_seconds:
                raise Unavailable(f"camera {camera.found.name} answers, but sends no pictures")

    # -- while it runs ---------------------------------------------------------------------------------------

    def _adjusted(self, camera: Camera, configuration: Configuration, before: StreamSpec, spec: StreamSpec) -> bool:
        dropped = before.controls.keys() - spec.controls.keys()
        changed = {name: value for name, value in spec.controls.items() if before.controls.get(name) != value}
        if any(name.endswith("Selector") for name in (*before.controls, *spec.controls)) and (dropped or changed):
            return False  # what a selector's features were before cannot be told without its history
        if before.fps != spec.fps and spec.fps is None:
            return False
        with camera.lock:
            back = {name: value for name in dropped if (value := configuration.original(name)) is not None}
            if len(back) < len(dropped):
                return False
            for name in (*back, *changed):
                feature = camera.feature(name)
                if feature is not None and not feature.writable:
                    return False  # locked while it sends
            mark = configuration.mark
            try:
                for name, value in (*back.items(), *changed.items()):
                    configuration.control(name, value)
                if spec.fps is not None and before.fps != spec.fps and spec.trigger is None:
                    configuration.rate(spec.fps)
            except InvalidValue:
                configuration.put_back(mark)
                raise
        return True


_DEPTHS = {
    "gray": (8,),
    "gray10le": (10,),
    "gray12le": (12,),
    "gray16le": (14, 16),
    "rgb24": (8,),
    "bgr24": (8,),
    **{f"bayer_{tile}8": (8,) for tile in ("rggb", "bggr", "gbrg", "grbg")},
    **{f"bayer_{tile}16le": (10, 12, 16) for tile in ("rggb", "bggr", "gbrg", "grbg")},
}


def _open(way: Backend, stop: threading.Event, found: Found) -> Camera:
    """Open a camera, also one whose controller was killed a moment ago.

    Raises:
        Unavailable: it does not answer, or another program goes on to control it.
    """
    deadline = time.monotonic() + _KILLED_SECONDS
    while True:
        try:
            return way.open(found)
        except ControlledError:
            if stop.wait(_ASK_AGAIN_SECONDS) or time.monotonic() >= deadline:
                raise


def _done_by_device(spec: StreamSpec) -> set[str]:
    """What of the spec the camera does; a change of the rest of it has the camera opened again."""
    done = {"crop"} if spec.crop is not None and device_region(spec) is not None else set()
    return done if spec.trigger is not None else done | {"fps"}  # the trigger makes the rate, `fps` only limits it


def _edge(value: object) -> int:
    return value if isinstance(value, int) and 0 < value <= MAX_EDGE_PIXELS else 0


def _name(source: str) -> str:
    """What a source URL calls its camera.

    Raises:
        InvalidValue: nothing, or more than a name.
    """
    parts = urlsplit(source)
    name = unquote(parts.netloc)
    rest = parts.path.strip("/") or parts.query or parts.fragment or "?" in source
    if not name or rest or "@" in name or len(name) > _MAX_NAME_CHARACTERS or not name.isprintable():
        fix = "write genicam:// and the camera's serial number, vendor-model-serial, IP or MAC address"
        raise InvalidValue("source", source, fix)
    return name
