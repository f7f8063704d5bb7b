"""The cameras that this process has open: control of a camera is exclusive, so there is one of each."""

import contextlib
import threading
from collections.abc import Callable, Iterator

from schemas.errors import Conflict
from schemas.pictures import ControlValue
from services.capture.genicam.camera import Camera, Found

_WAIT_SECONDS = 5.0  # for one who only looks at a camera: as long as a source may probe
_STREAM_WAIT_SECONDS = 1.0  # for another stream, which may be closing it just now


class OpenCameras:
    """Lends each camera to one at a time; those who only look may look at one that runs."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._busy: dict[str, threading.Lock] = {}
        self._running: dict[str, Camera] = {}
        self._changes: dict[str, list[tuple[str, ControlValue]]] = {}
        self._users: dict[str, str] = {}
        self._seen: dict[str, Found] = {}

    def running(self, name: str) -> Camera | None:
        """The running camera of this name, if there is one. Hold its lock while using it."""
        with self._lock:
            return next((camera for camera in self._running.values() if camera.found.is_called(name)), None)

    def last_seen(self, name: str) -> Found | None:
        """Where the camera of this name was when it was opened last."""
        with self._lock:
            return next((found for found in self._seen.values() if found.is_called(name)), None)

    def changes_of(self, found: Found) -> list[tuple[str, ControlValue]]:
        """What has been changed in the camera and is to be put back before a spec that does not name it."""
        with self._lock:
            return self._changes.setdefault(found.location, [])

    @contextlib.contextmanager
    def opened(self, found: Found, open_camera: Callable[[Found], Camera], *, stream: str = "") -> Iterator[Camera]:
        """Open a camera for as long as the block lasts. `stream`: whose it is; of those who only look none.

        Raises:
            Conflict: another stream of this node has it.
            MeshError: what `open_camera` raises.
        """
        with self._lock:
            busy = self._busy.setdefault(found.location, threading.Lock())
            user = self._users.get(found.location)
        if not busy.acquire(timeout=_STREAM_WAIT_SECONDS if user else _WAIT_SECONDS):
            user = self._users.get(found.location)
            by = f"stream {user!r} of this node; stop that" if user else "a look at it that hangs; end that"
            raise Conflict(f"camera {found.name} is used by {by} first")
        try:
            self._users[found.location] = stream
            camera = open_camera(found)
            with self._lock:
                self._running[found.location] = camera
                self._seen[found.location] = found
            try:
                yield camera
            finally:
                with self._lock:
                    del self._running[found.location]
                _close(camera)
        finally:
            self._users.pop(found.location, None)
            busy.release()


def _close(camera: Camera) -> None:
    if not camera.lost.is_set():
        camera.close()
        return
    # A camera that no longer answers is asked to let go for 10 s; its next opening must not wait for that. There is
    # one such thread per loss, and a camera is only opened, and lost again, when it answers.
    threading.Thread(target=camera.close, name=f"close {camera.found.name}", daemon=True).start()


CAMERAS = OpenCameras()
