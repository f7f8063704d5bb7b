"""Cameras: open, capture, ask."""

import logging
import threading
from collections.abc import Callable
from typing import Any

from schemas.capture_commands import StreamStats
from schemas.errors import Conflict, InvalidValue, NotFound
from schemas.resources import StreamState
from shared.clients.smartvision.capture import Capture, capture_of, running_capture
from shared.clients.smartvision.configuration import open_stream
from shared.clients.smartvision.connection import abnormal, answers, ask, minus_one, nothing, zero
from shared.clients.smartvision.image import GetImageCB
from shared.clients.smartvision.inventory import camera_at
from shared.clients.smartvision.log import say
from shared.clients.smartvision.profile import DeviceParam, read_profile

_STATUS: dict[StreamState, int] = {"live": 2, "off": 0}
_ABNORMAL = 4


class Camera:
    """One camera of the mesh, by its index; the stream it means lives on when it is closed or the program ends."""

    def __init__(self) -> None:
        self._capture: Capture | None = None
        self._callback: GetImageCB | None = None
        self._started = False
        self._changing = threading.Lock()
        """Not held while a callback is waited for, which may change the camera itself."""

    def open(self, dev_param: DeviceParam | Callable[..., Any] | None = None, cb: GetImageCB | None = None) -> int:
        """`open(cb)`: camera 0 as it is set; `open(dev_param, cb)`: the camera that the configuration file names in
        `cam_id` (0), with its settings.

        A camera without a stream is made one by `capture.start`, from the file's `source` or from the device that is
        plugged in; settings are given by `capture.<stream>.configure`. Pictures come after `start_capture`.

        Args:
            cb: called as cb(image, mem_info) in a thread of the camera's own, with the newest picture: one that works
                for long misses some. What it raises is logged, and the pictures go on.

        Returns:
            0; -1: refused, the log says why and names the key, and the camera is as it was.
        """
        if cb is None and callable(dev_param):
            return _open(self, None, dev_param)
        return _open(self, dev_param, cb)

    def start_capture(self) -> None:
        """Begin to call the callback: demand is shown for the stream's pictures, and capture decodes them."""
        _start_capture(self)

    def stop_capture(self) -> None:
        """Call it no more, and withdraw the demand. The camera stays open; called by the callback itself, too."""
        _stop_capture(self)

    def close(self) -> int:
        """Stop capturing and let go of the camera; its stream stays in the mesh, see `qmm_cleanup`.

        Returns:
            0; -1: it was not open.
        """
        return _close(self)


@answers(minus_one)
def _open(camera: Camera, dev_param: Any, cb: Any) -> int:
    if camera._capture is not None:
        raise Conflict(f"camera {camera._capture.index} is open already; close it first")
    if not callable(cb):
        raise InvalidValue("cb", cb, "give a function that takes (image, mem_info)")
    profile = None
    if dev_param is not None:
        if not isinstance(dev_param, DeviceParam):
            raise InvalidValue("dev_param", dev_param, "give a DeviceParam")
        profile = read_profile(dev_param.cfg_name)
    index = profile.index() if profile else 0
    stream = open_stream(index, profile)
    with camera._changing:
        if camera._capture is not None:
            raise Conflict(f"camera {camera._capture.index} was opened by another thread meanwhile")
        camera._capture, camera._callback = capture_of(index, stream), cb
    say(logging.INFO, "camera %d is open: stream %s", index, stream)
    return 0


@answers(nothing)
def _start_capture(camera: Camera) -> None:
    with camera._changing:
        if camera._capture is None or camera._callback is None:
            raise Conflict("the camera is not open")
        if camera._started:
            camera._capture.resume()
            return
        camera._capture.add(camera._callback)
        camera._started = True


@answers(nothing)
def _stop_capture(camera: Camera) -> None:
    _end_capture(camera, close=False)


@answers(minus_one)
def _close(camera: Camera) -> int:
    if camera._capture is None:
        raise Conflict("the camera is not open")
    _end_capture(camera, close=True)
    return 0


def _end_capture(camera: Camera, *, close: bool) -> None:
    with camera._changing:
        capture, callback = camera._capture, camera._callback
        thread = None
        if capture is not None and callback is not None and camera._started:
            thread = capture.remove(callback)
            camera._started = False
        if close:
            camera._capture = camera._callback = None
    if capture is not None:
        capture.wait_quiet(thread, callback)


@answers(nothing)
def start_camera_capture(idx: int = 0) -> None:
    """Take a camera's pictures from now on: callbacks that were started are called again, and `image_read`,
    `get_cvimage` and `get_fps` have the newest at hand. Shows demand for the stream's pictures."""
    camera = camera_at(idx)
    if camera.entry is None:
        raise NotFound(f"camera {idx} is not open; open it first")
    capture_of(idx, camera.stream).hold()


@answers(nothing)
def stop_camera_capture(idx: int = 0) -> None:
    """Take none: no callback is called and no demand shown by this program. The camera stays open and as it is set."""
    capture = running_capture(camera_at(idx).stream)
    if capture is not None:
        capture.pause()


@answers(abnormal)
def get_camera_status(idx: int = 0) -> int:
    """2: the camera delivers pictures; 4: it does not, though it should; 0: off, or there is none. Logged, too.

    From the stream's state, as `capture.list` has it.
    """
    try:
        entry = camera_at(idx).entry
    except (NotFound, InvalidValue):
        entry = None
    actual = entry.actual if entry else None
    status = 0 if entry is None else _STATUS.get(actual.state, _ABNORMAL) if actual else _ABNORMAL
    why = f": {actual.error.message}" if actual and actual.error else ""
    say(logging.INFO, "camera %d: status %d (%s%s)", idx, status, actual.state if actual else "not there", why)
    return status


@answers(zero)
def get_dst_width(idx: int = 0) -> int:
    """Width of a camera's pictures in pixels, from `capture.<stream>.stats`; 0 when it is not known."""
    return _stats(idx).width


@answers(zero)
def get_dst_height(idx: int = 0) -> int:
    """Height of a camera's pictures in pixels, from `capture.<stream>.stats`; 0 when it is not known."""
    return _stats(idx).height


def _no_rate() -> float:
    return 0.0


@answers(_no_rate)
def get_fps(idx: int = 0) -> float:
    """Pictures per second over the last 2 s: those that came to this program where it captures the camera, else those
    that the camera sends, from `capture.<stream>.stats`; 0.0 when there is none."""
    capture = running_capture(camera_at(idx).stream)
    return capture.fps if capture is not None else _stats(idx).fps


def _stats(idx: int) -> StreamStats:
    """Raises: NotFound: no such camera. Unavailable: its capture does not answer."""
    return ask(f"capture.{camera_at(idx).stream}.stats", StreamStats)
