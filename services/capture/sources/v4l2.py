"""v4l2:///dev/video0 or v4l2://usb-0000:00:14.0-1 : a camera of this machine, by node or by where it is plugged in.

What it sends, and by which rules, is told in `services/capture/v4l2/modes.py`. MJPG is decoded only while somebody
looks; it is not carried as packets.
"""

import threading
import time
from pathlib import Path

from schemas.errors import InvalidValue, Unavailable
from schemas.pictures import ControlValue
from schemas.resources import StreamSpec, VideoInfo
from services.capture.settings import CaptureSettings
from services.capture.sink import StreamSink
from services.capture.sources.base import Source
from services.capture.v4l2.buffers import Buffers
from services.capture.v4l2.controls import apply_controls, check_controls, list_controls
from services.capture.v4l2.device import VideoDevice
from services.capture.v4l2.modes import Choice, Mode, choose
from services.capture.v4l2.nodes import find_node
from services.capture.v4l2.pictures import PictureMaker, exposure_ns
from shared.netguard import Policy, check

_POLICY = Policy(schemes=frozenset(("v4l2",)))
# By node, the controls that were set here: cameras keep them when they are closed, and what the next spec does not name
# gets its default. As many as there are nodes; a process that was killed has forgotten them.
_set_before: dict[Path, dict[str, ControlValue]] = {}
_STOP_LOOK_SECONDS = 0.1  # how often a wait for a picture looks at the stop event, which is no descriptor


class V4l2Source(Source):
    def __init__(self, spec: StreamSpec, url: str, settings: CaptureSettings) -> None:
        super().__init__(spec, url, settings)
        self._what = f"source {spec.source!r}"
        # Of the open camera; `adjust` comes from another thread.
        self._lock = threading.Lock()
        self._device: VideoDevice | None = None
        self._node = Path()
        self._modes: list[Mode] = []
        self._choice: Choice | None = None
        self._exposure_ns = 0

    @classmethod
    def check(cls, spec: StreamSpec) -> None:
        """Raises:
        InvalidValue: what no V4L2 camera has.
        """
        if spec.binning:
            raise InvalidValue("binning", spec.binning, "v4l2:// cameras have none; ask for a smaller size")
        if spec.trigger:
            raise InvalidValue("trigger", spec.trigger, "v4l2:// cameras have none; leave it out")

    def probe(self) -> None:
        """Open the camera beside whoever uses it, and hold the spec against what it offers."""
        with VideoDevice(self._path(), self._what) as device:
            _require_pictures(device, self.spec.source)
            choose(device.modes(), self.spec, self._what)
            check_controls(list_controls(device), self.spec.controls)

    def adjust(self, spec: StreamSpec) -> bool:
        """Controls are set while the camera runs; another way of sending needs it opened again."""
        with self._lock:
            if self._device is None or choose(self._modes, spec, self._what) != self._choice:
                return False
            if spec.controls != self.spec.controls:
                controls = list_controls(self._device)
                apply_controls(self._device, controls, spec.controls, self.spec.controls)
                _set_before[self._node] = dict(spec.controls)
                self._exposure_ns = exposure_ns(self._device, controls)
            self.spec = spec
            return True

    def run(self, sink: StreamSink, stop: threading.Event) -> None:
        self._node = self._path()
        with VideoDevice(self._node, self._what) as device:
            try:
                self._play(device, sink, stop)
            finally:
                with self._lock:
                    self._device = None

    def _path(self) -> Path:
        guarded = check(self.url, _POLICY, field="source")
        return guarded.file or find_node(guarded.host).path

    def _play(self, device: VideoDevice, sink: StreamSink, stop: threading.Event) -> None:
        _require_pictures(device, self.spec.source)
        modes = device.modes()
        choice = choose(modes, self.spec, self._what)
        controls = list_controls(device)
        check_controls(controls, self.spec.controls)  # before anything is changed
        agreed = device.set_format(choice.format.fourcc, choice.width, choice.height)
        rate = device.set_rate(choice.rate) if choice.rate else None
        with self._lock:
            before, wanted = _set_before.get(self._node, {}), self.spec.controls
            # Only what is named no more: a button of this spec is pressed at every opening.
            apply_controls(device, controls, wanted, {name: before[name] for name in before if name not in wanted})
            _set_before[self._node] = dict(wanted)
            self._exposure_ns = exposure_ns(device, controls)
            self._device, self._modes, self._choice = device, modes, choice
        maker = PictureMaker(choice.format, agreed, round(1e9 / rate) if rate else 0)
        video = VideoInfo(
            codec=choice.format.libav if choice.format.compressed else "raw",
            width=choice.width,
            height=choice.height,
            fps=round(float(rate or 0), 3),
            pixel_format=choice.format.image,
        )
        with Buffers(device) as buffers:
            # A driver may agree on another rate than it was asked for; then the sink leaves pictures out.
            keeps_rate = rate is not None and rate == choice.rate
            sink.live(video, None, (), device_does=("fps",) if keeps_rate else ())
            self._deliver(buffers, maker, sink, stop)

    def _deliver(self, buffers: Buffers, maker: PictureMaker, sink: StreamSink, stop: threading.Event) -> None:
        last_good = time.monotonic()
        while not stop.is_set():
            taken = buffers.take() if buffers.wait(_STOP_LOOK_SECONDS) else None
            if taken is None:
                if time.monotonic() - last_good > self.settings.read_timeout_seconds:
                    raise Unavailable(f"{self._what}: no picture for {self.settings.read_timeout_seconds:g} s")
                continue
            try:
                if maker.take(taken, sink, self._exposure_ns):
                    last_good = time.monotonic()
            finally:
                buffers.give_back(taken)


def _require_pictures(device: VideoDevice, source: str) -> None:
    """Refuse a node that sends none.

    Raises:
        InvalidValue: it is for something else.
    """
    if not device.identity().captures:
        raise InvalidValue("source", source, "this node sends no pictures; give the camera's other node")
