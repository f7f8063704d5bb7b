"""A GigE Vision or USB3 Vision camera through aravis."""

import contextlib
import ctypes
import logging
import threading
import time
from collections.abc import Iterator
from ctypes import byref, c_int, c_size_t

import numpy as np

from schemas.errors import Unavailable
from schemas.pictures import ControlValue
from services.capture.genicam import gvcp
from services.capture.genicam.aravis_features import AravisFeatures
from services.capture.genicam.aravis_library import Aravis, LostCallback, aravis
from services.capture.genicam.camera import Buffer, Camera, Feature, FeatureKind, FeatureRefused, Found

log = logging.getLogger(__name__)

# A camera that hears nothing for so long lets its controller go: how soon the next process gets it after a kill -9.
# aravis asks once a second, and again after 0.5 s when the answer is lost: two in a row may be.
HEARTBEAT_TIMEOUT_MS = 3_000
_HEARTBEAT_REGISTER = 0x0938
_SUCCESS = 0
_IMAGE_PAYLOADS = frozenset((1, 5, 10))  # image, extended chunk data, multi-part; the others hold no picture
_BUFFER_MEMORY_BYTES = 256 << 20  # what waits for us in all, so that 8 pictures of a large camera fill no small machine
_MIN_BUFFERS, _MAX_BUFFERS = 3, 8  # one being filled, one looked at, the rest for moments when nobody comes
_ANSWER_SECONDS = 0.6
# What the kernel keeps while our thread waits for a processor, where there is no right to a packet socket. The
# kernel's usual 0.2 MB lost most pictures of 0.26 MB; it gives net.core.rmem_max at most.
_SOCKET_PICTURES = 2
_FIXED_SOCKET_BUFFER = 0
_MAX_PAYLOAD_BYTES = 1 << 30
_usb_lock = threading.Lock()  # aravis keeps one list of USB devices, unguarded


def find_usb() -> Iterator[Found]:
    """USB3 Vision cameras that are plugged in.

    Raises:
        Unavailable: aravis is not installed.
    """
    library = aravis()
    with _usb_lock:
        interface = library.arv_uv_interface_get_instance()
        library.arv_interface_update_device_list(interface)
        found = [
            _usb_device(library, interface, index) for index in range(library.arv_interface_get_n_devices(interface))
        ]
    yield from found


def _usb_device(library: Aravis, interface: int, index: int) -> Found:
    def text(what: str) -> str:
        raw = getattr(library, f"arv_interface_get_device_{what}")(interface, index)
        return (raw or b"").decode("utf-8", "replace")

    return Found(
        location=f"usb-{text('physical_id')}",
        vendor=text("vendor"),
        model=text("model"),
        serial=text("serial_nbr"),
        handle=text("id").encode(),
    )


def open_aravis(found: Found) -> "AravisCamera":
    """Open a camera and take control of it.

    Raises:
        Unavailable: it does not answer, or another program controls it.
    """
    library = aravis()
    called = f"camera {found.name}"
    try:
        if found.address:
            device = _open_gige(library, found)
        else:
            with _usb_lock:
                interface = library.arv_uv_interface_get_instance()
                device = library.call("arv_interface_open_device", interface, found.handle)
    except FeatureRefused as error:
        raise Unavailable(f"{called} cannot be opened ({error}); is it used by another program?") from None
    if not device:
        raise Unavailable(f"{called} does not answer; check its power, cable and address")
    return AravisCamera(library, found, device)


def _open_gige(library: Aravis, found: Found) -> int | None:
    ours, its = library.address(found.interface_address.encode()), library.address(found.address.encode())
    try:
        device: int | None = library.call("arv_gv_device_new", ours, its)
    finally:
        library.g_object_unref(ours)
        library.g_object_unref(its)
    # Not asked before who controls it: there are cameras that take a question for a sign of life of their controller.
    if device and not library.arv_gv_device_is_controller(device):
        library.g_object_unref(device)
        raise Unavailable(
            f"camera {found.name} at {found.address} is controlled by another program, or by one that ended less than "
            f"{HEARTBEAT_TIMEOUT_MS // 1000} s ago; end that program or wait"
        )
    return device


class AravisCamera(Camera):
    def __init__(self, library: Aravis, found: Found, device: int) -> None:
        super().__init__(found)
        self._library = library
        self._device: int | None = device
        self._gige = bool(found.address)
        self._features = AravisFeatures(library, device)
        self._stream: int | None = None
        self._parser: int | None = None
        self._chunk_kinds: dict[str, FeatureKind] = {}
        self._has_clock = True
        self._callback = LostCallback(lambda *_: self.lost.set())  # kept alive as long as it is connected
        self._connection = library.connect(device, b"control-lost", self._callback, None, None, 0)
        with contextlib.suppress(FeatureRefused):
            # A controller that was killed may have left it sending, to where nobody listens, its settings locked.
            library.call("arv_device_execute_command", device, b"AcquisitionStop")
        if self._gige:
            with contextlib.suppress(FeatureRefused):  # cameras with a fixed one keep theirs
                library.call("arv_device_write_register", device, _HEARTBEAT_REGISTER, HEARTBEAT_TIMEOUT_MS)
            with contextlib.suppress(FeatureRefused):
                self._has_clock = bool(library.call("arv_gv_device_get_timestamp_tick_frequency", device))

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
        library = self._library
        with self.lock:
            payload_bytes = int(library.call("arv_device_get_integer_feature_value", self._device, b"PayloadSize"))
            if not 0 < payload_bytes <= _MAX_PAYLOAD_BYTES:
                raise FeatureRefused(f"its PayloadSize is {payload_bytes} bytes")
            self._stream = library.call("arv_device_create_stream", self._device, None, None)
            if not self._stream:
                raise FeatureRefused("it gives no stream")
            if self._gige:
                size = min(payload_bytes * _SOCKET_PICTURES, _MAX_PAYLOAD_BYTES)
                library.set_two(self._stream, b"socket-buffer", _FIXED_SOCKET_BUFFER, b"socket-buffer-size", size, None)
            if self._chunk_kinds:
                self._parser = library.arv_device_create_chunk_parser(self._device)
            for _ in range(min(max(_BUFFER_MEMORY_BYTES // payload_bytes, _MIN_BUFFERS), _MAX_BUFFERS)):
                library.arv_stream_push_buffer(self._stream, library.arv_buffer_new_allocate(payload_bytes))
            self._lock_parameters(True)
            library.call("arv_device_execute_command", self._device, b"AcquisitionStart")

    def next(self, timeout_seconds: float) -> Buffer | None:
        library = self._library
        handle = library.arv_stream_timeout_pop_buffer(self._stream, round(timeout_seconds * 1e6))
        if not handle:
            return None
        arrived_ns = library.arv_buffer_get_system_timestamp(handle) or time.time_ns()
        buffer = Buffer(
            data=np.empty(0, np.uint8),
            width=0,
            height=0,
            pixel_format=0,
            complete=False,
            frame_id=library.arv_buffer_get_frame_id(handle),
            device_ns=library.arv_buffer_get_timestamp(handle) if self._has_clock else 0,
            arrived_ns=arrived_ns,
            handle=handle,
        )
        if library.arv_buffer_get_status(handle) != _SUCCESS:
            return buffer
        if library.arv_buffer_get_payload_type(handle) not in _IMAGE_PAYLOADS:
            return buffer
        size, pad_x, pad_y = c_size_t(), c_int(), c_int()
        address = library.arv_buffer_get_image_data(handle, byref(size))
        library.arv_buffer_get_image_padding(handle, byref(pad_x), byref(pad_y))
        # A view of the library's memory, no copy: it is used up before the buffer is given back.
        buffer.data = np.ctypeslib.as_array((ctypes.c_uint8 * size.value).from_address(address))
        buffer.width = library.arv_buffer_get_image_width(handle)
        buffer.height = library.arv_buffer_get_image_height(handle)
        buffer.pixel_format = library.arv_buffer_get_image_pixel_format(handle)
        buffer.row_padding_bytes = pad_x.value
        buffer.complete = True
        if self._parser and library.arv_buffer_has_chunks(handle):
            buffer.chunks = self._chunks(handle)
        return buffer

    def give_back(self, buffer: Buffer) -> None:
        buffer.data = np.empty(0, np.uint8)
        self._library.arv_stream_push_buffer(self._stream, buffer.handle)

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
            self._library.g_object_unref(self._stream)  # ends its thread and frees the buffers
            if self._parser:
                self._library.g_object_unref(self._parser)
            self._stream = self._parser = None

    def close(self) -> None:
        self.stop()
        with self.lock:
            device, self._device = self._device, None
            if device:
                self._library.disconnect(device, self._connection)
                self._library.g_object_unref(device)  # gives control back, ends the heartbeat

    def _check_open(self) -> None:
        """Raises:
        Unavailable: another thread still had it when it was closed; the library's memory is gone.
        """
        if self._device is None:
            raise Unavailable(f"camera {self.found.name} has just been closed; try again")

    def _lock_parameters(self, now: bool) -> None:
        """The standard's way to tell a camera that its geometry must stay."""
        with contextlib.suppress(FeatureRefused):
            self._library.call("arv_device_set_integer_feature_value", self._device, b"TLParamsLocked", int(now))

    def _chunks(self, handle: int) -> dict[str, int | float | str | bool]:
        found: dict[str, int | float | str | bool] = {}
        for name, kind in self._chunk_kinds.items():
            read = "string" if kind == "enumeration" else kind
            with contextlib.suppress(FeatureRefused):  # not in this picture
                value = self._library.call(f"arv_chunk_parser_get_{read}_value", self._parser, handle, name.encode())
                if isinstance(value, bytes):
                    value = value.decode("utf-8", "replace")
                found[name] = bool(value) if kind == "boolean" else value
        return found
