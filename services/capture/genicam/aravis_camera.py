"""A GigE Vision or USB3 Vision camera through aravis."""

import contextlib

from schemas.errors import Unavailable
from schemas.pictures import ControlValue
from services.capture.genicam import gvcp
from services.capture.genicam.aravis_features import AravisFeatures
from services.capture.genicam.aravis_heartbeat import AravisHeartbeat
from services.capture.genicam.aravis_library import Aravis, LostCallback
from services.capture.genicam.aravis_stream import AravisStream
from services.capture.genicam.camera import Buffer, Camera, Feature, FeatureKind, FeatureRefused, Found

_ANSWER_SECONDS = 0.6


class AravisCamera(Camera):
    def __init__(self, library: Aravis, found: Found, device: int) -> None:
        super().__init__(found)
        self._library = library
        self._device: int | None = device
        self._gige = bool(found.address)
        self._features = AravisFeatures(library, device)
        self._stream: AravisStream | None = None
        self._chunk_kinds: dict[str, FeatureKind] = {}
        self._has_clock = True
        self._callback = LostCallback(lambda *_: self.lost.set())  # kept alive as long as it is connected
        self._connection = library.connect(device, b"control-lost", self._callback, None, None, 0)
        with contextlib.suppress(FeatureRefused):
            # A controller that was killed may have left it sending, to where nobody listens, its settings locked.
            library.call("arv_device_execute_command", device, b"AcquisitionStop")
        if self._gige:
            with contextlib.suppress(FeatureRefused):
                self._has_clock = bool(library.call("arv_gv_device_get_timestamp_tick_frequency", device))
        self._heartbeat = AravisHeartbeat(library, device, found.name) if self._gige else None

    # -- features --------------------------------------------------------------------------------------------

    def feature_names(self) -> tuple[str, ...]:
        return self._features.names

    def feature(self, name: str) -> Feature | None:
        with self.lock:
            self._check_open()
            return self._features.feature(name)

    def set(self, name: str, value: ControlValue) -> None:
        with self.lock:
            self._check_open()
            kind = self._features.kind(name)
            if kind is None:
                raise FeatureRefused(f"there is no feature {name}")
            self._features.set(name, kind, value)

    def read_chunks(self, names: tuple[str, ...]) -> None:
        with self.lock:
            kinds = {name: self._features.kind(name) for name in names}
        self._chunk_kinds = {name: kind for name, kind in kinds.items() if kind and kind != "command"}

    # -- pictures --------------------------------------------------------------------------------------------

    def start(self) -> None:
        with self.lock:
            device = self._check_open()
            self._stream = AravisStream(
                self._library, device, gige=self._gige, has_clock=self._has_clock, chunks=self._chunk_kinds
            )
            self._lock_parameters(True)
            self._library.call("arv_device_execute_command", device, b"AcquisitionStart")

    def next(self, timeout_seconds: float) -> Buffer | None:
        assert self._stream is not None  # it was started
        return self._stream.next(timeout_seconds)

    def give_back(self, buffer: Buffer) -> None:
        assert self._stream is not None  # it has given the buffer
        self._stream.give_back(buffer)

    def answers(self) -> bool:
        if not self._gige:
            return not self.lost.is_set()
        return gvcp.controlled(self.found.address, _ANSWER_SECONDS) is True

    def stop(self) -> None:
        with self.lock:
            if self._stream is None:
                return
            with contextlib.suppress(FeatureRefused):
                self._library.call("arv_device_execute_command", self._device, b"AcquisitionStop")
                self._lock_parameters(False)
            self._stream.close()
            self._stream = None

    def close(self) -> None:
        self.stop()
        with self.lock:
            device, self._device = self._device, None
            if device:
                if self._heartbeat:
                    self._heartbeat.end()
                self._library.disconnect(device, self._connection)
                self._library.g_object_unref(device)  # gives control back, ends the heartbeat

    def _check_open(self) -> int:
        """Raises:
        Unavailable: another thread still had it when it was closed; the library's memory is gone.
        """
        if self._device is None:
            raise Unavailable(f"camera {self.found.name} has just been closed; try again")
        return self._device

    def _lock_parameters(self, now: bool) -> None:
        """The standard's way to tell a camera that its geometry must stay."""
        with contextlib.suppress(FeatureRefused):
            self._library.call("arv_device_set_integer_feature_value", self._device, b"TLParamsLocked", int(now))
