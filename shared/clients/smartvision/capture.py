"""The pictures of one camera on their way into this program: one thread per camera, the newest picture wins."""

import logging
import threading
import time
from collections import deque
from typing import Final

from schemas.errors import MeshError
from shared.clients.errors import PicturesHeld
from shared.clients.frame import Frame
from shared.clients.smartvision.connection import before_close, check_process, mesh
from shared.clients.smartvision.image import GetImageCB, Image, SVSdkMemfdInfo
from shared.clients.smartvision.log import say
from shared.clients.sync_mesh import Frames

_RETRY_SECONDS: Final = 1.0  # after an error that waiting may mend: the stream was removed, the bus is away
_HELD_SECONDS: Final = 0.05  # one picture of 20 pictures/s: soon enough after a program let go of what it keeps
_FPS_WINDOW_SECONDS: Final = 2.0  # as capture's own figures
_COMING_DISTANCES: Final = 1.5  # the next picture is not overdue before so many usual distances, there as well
_COMPLAINT_SECONDS: Final = 1.0  # a callback that fails at every picture must not flood the log
_CALLBACK_SECONDS: Final = 5.0  # a callback that is at work is waited for
_LET_GO_SECONDS: Final = 1.0  # what the thread has to give back then; more only where the bus is away


class Capture:
    """Shows demand for a stream, and hands its pictures over, while it is on and somebody wants them."""

    def __init__(self, index: int, stream: str) -> None:
        self.index, self.stream = index, stream
        self._changing = threading.RLock()
        self._callbacks: list[GetImageCB] = []
        self._held = False
        self._stop: threading.Event | None = None
        self._thread: threading.Thread | None = None
        self._frames: Frames | None = None
        self._called = threading.Condition()
        self._call: tuple[threading.Thread, GetImageCB] | None = None
        """The one that runs; a thread that has ended may still be at it when the next one begins."""
        self._arrived = threading.Condition()
        self._newest: Image | None = None
        self._times: deque[float] = deque()
        self._complained_at, self._failures = float("-inf"), 0

    def add(self, callback: GetImageCB) -> None:
        """Call `callback` with each picture from now on."""
        check_process()
        with self._changing:
            self._begin()
            self._callbacks.append(callback)

    def remove(self, callback: GetImageCB) -> threading.Thread | None:
        """Not again. Where it may still be running: `wait_quiet`, which takes what this returns."""
        check_process()
        with self._changing:
            if callback in self._callbacks:
                self._callbacks.remove(callback)
            return self._end() if not self._callbacks and not self._held else None

    def wait_quiet(self, thread: threading.Thread | None, callback: GetImageCB | None = None) -> None:
        """Wait until `callback`, which was removed, is not running, None: any; not where it is what calls this."""

        def quiet() -> bool:
            return self._call is None or callback not in (None, self._call[1])

        with self._called:
            if self._call is not None and self._call[0] is threading.current_thread():
                return
            if not self._called.wait_for(quiet, _CALLBACK_SECONDS):
                text = "camera %d: its callback has not returned within %g s"
                say(logging.WARNING, text, self.index, _CALLBACK_SECONDS)
                return
        if thread is not None and thread is not threading.current_thread():
            thread.join(_LET_GO_SECONDS)

    def hold(self) -> None:
        """Take pictures, also while no callback wants them."""
        with self._changing:
            self._held = True
            self._begin()

    def pause(self) -> None:
        """Take none: no callback is called and no demand shown, until `hold` or `add`."""
        with self._changing:
            self._held = False
            thread = self._end()
        self.wait_quiet(thread)

    def resume(self) -> None:
        """Go on where there are callbacks, after `pause`."""
        check_process()
        with self._changing:
            if self._callbacks:
                self._begin()

    @property
    def running(self) -> bool:
        return self._stop is not None

    @property
    def fps(self) -> float:
        """Pictures per second that came in the last 2 s: between the first and the last of them while they come."""
        now = time.monotonic()
        times = [at for at in tuple(self._times) if at > now - _FPS_WINDOW_SECONDS]
        steps = len(times) - 1
        if steps > 0 and now - times[-1] <= _COMING_DISTANCES * (times[-1] - times[0]) / steps:
            return round(steps / (times[-1] - times[0]), 2)
        return round(len(times) / _FPS_WINDOW_SECONDS, 2)

    def newest(self, timeout_seconds: float) -> Image | None:
        """The newest picture, waited for when there is none yet."""
        with self._arrived:
            self._arrived.wait_for(lambda: self._newest is not None, timeout_seconds)
            return self._newest

    def _begin(self) -> None:
        if self._stop is not None:
            return
        mesh()  # raises here, not in the thread, when there is none
        self._stop = threading.Event()
        self._thread = threading.Thread(
            target=self._run, args=(self._stop,), name=f"smartvision {self.stream}", daemon=True
        )
        self._thread.start()

    def _end(self) -> threading.Thread | None:
        stop, self._stop = self._stop, None
        thread, self._thread = self._thread, None
        if stop is not None:
            stop.set()
            if self._frames is not None:
                self._frames.close()
        return thread

    # -- in the camera's own thread --------------------------------------------------------------------------

    def _run(self, stop: threading.Event) -> None:
        told = ""
        while not stop.is_set():
            try:
                self._follow(stop)
            except MeshError as error:
                if error.message != told and not stop.is_set():
                    say(logging.ERROR, "camera %d: %s", self.index, error.message)
                    told = error.message
                stop.wait(_RETRY_SECONDS)
            except Exception:  # a defect must be seen in the log, and not as pictures that stay away for ever
                say(logging.ERROR, "camera %d: begins again", self.index, exc_info=True)
                stop.wait(_RETRY_SECONDS)

    def _follow(self, stop: threading.Event) -> None:
        """Hand pictures over until the stream or the capture ends."""
        frames = mesh().frames(self.stream)
        self._times.clear()  # a pause is no part of the rate
        with self._changing:
            if stop.is_set():
                return
            self._frames = frames
        try:
            with frames:
                while not stop.is_set():
                    try:
                        frame = next(frames)
                    except StopIteration:
                        return
                    except PicturesHeld as error:
                        self._complain(error.message)
                        stop.wait(_HELD_SECONDS)
                        continue
                    self._deliver(frame, stop)
        finally:
            with self._changing, self._arrived:
                if self._frames is frames:  # else another thread has taken over
                    self._frames = self._newest = None  # its slot is given back

    def _deliver(self, frame: Frame, stop: threading.Event) -> None:
        image = Image(frame)
        now = time.monotonic()
        self._times.append(now)
        while self._times[0] < now - _FPS_WINDOW_SECONDS:
            self._times.popleft()
        with self._arrived:
            self._newest = image
            self._arrived.notify_all()
        place = SVSdkMemfdInfo.of(image, self.index)
        for callback in tuple(self._callbacks):
            if not self._may_call(callback, stop):
                continue
            try:
                callback(image, place)
            except (Exception, SystemExit) as error:  # the program's own fault, and no reason to end its pictures
                self._complain(f"the callback failed: {type(error).__name__}: {error}", trace=True)
            finally:
                with self._called:
                    self._call = None
                    self._called.notify_all()

    def _may_call(self, callback: GetImageCB, stop: threading.Event) -> bool:
        """Take the turn to call it; False: it was removed, or this thread has ended."""
        with self._called:
            while self._call is not None and not stop.is_set():
                self._called.wait(_RETRY_SECONDS)
            if stop.is_set() or callback not in self._callbacks:
                return False
            self._call = (threading.current_thread(), callback)
            return True

    def _complain(self, text: str, *, trace: bool = False) -> None:
        self._failures += 1
        if time.monotonic() - self._complained_at >= _COMPLAINT_SECONDS:
            self._complained_at = time.monotonic()
            say(logging.ERROR, "camera %d: %s (%d times)", self.index, text, self._failures, exc_info=trace)


_captures: dict[str, Capture] = {}
_making = threading.Lock()


def capture_of(index: int, stream: str) -> Capture:
    """This program's capture of a stream; several cameras and functions share it."""
    with _making:
        capture = _captures.get(stream)
        if capture is None:
            capture = _captures[stream] = Capture(index, stream)
        capture.index = index  # FRAMEMESH_SMARTVISION_STREAMS may be another one now
        return capture


def running_capture(stream: str) -> Capture | None:
    """The capture of a stream that this program takes pictures of now."""
    capture = _captures.get(stream)
    return capture if capture is not None and capture.running else None


def _pause_all() -> None:
    for capture in tuple(_captures.values()):
        capture.pause()


before_close(_pause_all)
