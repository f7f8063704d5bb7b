"""Signs of life for a GigE Vision camera, more often than aravis gives them."""

import contextlib
import ctypes
import threading

from services.capture.genicam.aravis_library import Aravis
from services.capture.genicam.camera import FeatureRefused

# A camera that hears nothing for so long lets its controller go: how soon the next process gets it after a kill -9.
# Starting that process takes about as long. The standard allows 0.5 s and more.
TIMEOUT_MS = 1_500
# aravis asks once a second, which leaves no room for a lost packet. It asks again 0.5 s after one: with this period two
# in a row may be lost, and this process may stand still for a second.
_PERIOD_SECONDS = 0.4
_TIMEOUT_REGISTER = 0x0938
_PRIVILEGE_REGISTER = 0x0A00
_END_SECONDS = 3.0  # an answer that does not come is waited for 2.5 s


class AravisHeartbeat:
    """Asks the camera who controls it, from a thread of its own, until `end`."""

    def __init__(self, library: Aravis, device: int, name: str) -> None:
        self._library = library
        # Of its own, for a question that is still under way when the camera is closed.
        self._device = library.g_object_ref(device)
        self._ended = threading.Event()
        with contextlib.suppress(FeatureRefused):  # cameras with a fixed one keep theirs
            library.call("arv_device_write_register", device, _TIMEOUT_REGISTER, TIMEOUT_MS)
        self._thread = threading.Thread(target=self._run, name=f"heartbeat {name}", daemon=True)
        self._thread.start()

    def end(self) -> None:
        """No more questions; the camera's memory is let go, after 2.5 s where it does not answer."""
        self._ended.set()
        self._thread.join(_END_SECONDS)

    def _run(self) -> None:
        value = ctypes.c_uint32()
        try:
            while not self._ended.wait(_PERIOD_SECONDS):
                with contextlib.suppress(FeatureRefused):  # aravis asks too, and tells of the loss
                    self._library.call(
                        "arv_device_read_register", self._device, _PRIVILEGE_REGISTER, ctypes.byref(value)
                    )
        finally:
            self._library.g_object_unref(self._device)
