"""The pictures that a camera sends, as aravis puts them together from packets."""

import contextlib
import ctypes
import math
import time
from collections.abc import Mapping
from ctypes import byref, c_int, c_size_t

import numpy as np

from services.capture.genicam.aravis_library import Aravis
from services.capture.genicam.camera import Buffer, FeatureKind, FeatureRefused

_SUCCESS = 0
_IMAGE_PAYLOADS = frozenset((1, 5, 10))  # image, extended chunk data, multi-part; the others hold no picture
_BUFFER_MEMORY_BYTES = 256 << 20  # what waits for us in all, so that 8 pictures of a large camera fill no small machine
_MIN_BUFFERS, _MAX_BUFFERS = 3, 8  # one being filled, one looked at, the rest for moments when nobody comes
# What the kernel keeps while our thread waits for a processor, where there is no right to a packet socket. The
# kernel's usual 0.2 MB lost most pictures of 0.26 MB; it gives net.core.rmem_max at most.
_SOCKET_PICTURES = 2
_FIXED_SOCKET_BUFFER = 0
_MAX_PAYLOAD_BYTES = 1 << 30


class AravisStream:
    """Buffers that go round between the library, which fills them, and the source's thread."""

    def __init__(
        self, library: Aravis, device: int, *, gige: bool, has_clock: bool, chunks: Mapping[str, FeatureKind]
    ) -> None:
        """`chunks`: features that are read from the data beside each picture.

        Raises:
            FeatureRefused: there is no stream.
        """
        self._library = library
        self._has_clock = has_clock
        self._chunks = chunks
        payload_bytes = int(library.call("arv_device_get_integer_feature_value", device, b"PayloadSize"))
        if not 0 < payload_bytes <= _MAX_PAYLOAD_BYTES:
            raise FeatureRefused(f"its PayloadSize is {payload_bytes} bytes")
        self._stream: int | None = library.call("arv_device_create_stream", device, None, None)
        if not self._stream:
            raise FeatureRefused("it gives no stream")
        if gige:
            size = min(payload_bytes * _SOCKET_PICTURES, _MAX_PAYLOAD_BYTES)
            library.set_two(self._stream, b"socket-buffer", _FIXED_SOCKET_BUFFER, b"socket-buffer-size", size, None)
        self._parser: int | None = library.arv_device_create_chunk_parser(device) if chunks else None
        for _ in range(min(max(_BUFFER_MEMORY_BYTES // payload_bytes, _MIN_BUFFERS), _MAX_BUFFERS)):
            library.arv_stream_push_buffer(self._stream, library.arv_buffer_new_allocate(payload_bytes))

    def next(self, timeout_seconds: float) -> Buffer | None:
        """The next picture, whole or not; None when there was none in time."""
        library = self._library
        handle = library.arv_stream_timeout_pop_buffer(self._stream, round(timeout_seconds * 1e6))
        if not handle:
            return None
        buffer = Buffer(
            data=np.empty(0, np.uint8),
            width=0,
            height=0,
            pixel_format=0,
            complete=False,
            frame_id=library.arv_buffer_get_frame_id(handle),
            device_ns=library.arv_buffer_get_timestamp(handle) if self._has_clock else 0,
            arrived_ns=library.arv_buffer_get_system_timestamp(handle) or time.time_ns(),
            handle=handle,
        )
        if library.arv_buffer_get_status(handle) != _SUCCESS:
            return buffer
        if library.arv_buffer_get_payload_type(handle) not in _IMAGE_PAYLOADS:
            return buffer
        size, pad_x, pad_y = c_size_t(), c_int(), c_int()
        address = library.arv_buffer_get_image_data(handle, byref(size))
        if not address:  # of several parts, and none of them came
            return buffer
        library.arv_buffer_get_image_padding(handle, byref(pad_x), byref(pad_y))
        # A view of the library's memory, no copy: it is used up before the buffer is given back.
        buffer.data = np.ctypeslib.as_array((ctypes.c_uint8 * size.value).from_address(address))
        buffer.width = library.arv_buffer_get_image_width(handle)
        buffer.height = library.arv_buffer_get_image_height(handle)
        buffer.pixel_format = library.arv_buffer_get_image_pixel_format(handle)
        buffer.row_padding_bytes = pad_x.value
        buffer.complete = True
        if self._parser and library.arv_buffer_has_chunks(handle):
            buffer.chunks = self._read_chunks(handle)
        return buffer

    def give_back(self, buffer: Buffer) -> None:
        """The buffer may be filled again."""
        buffer.data = np.empty(0, np.uint8)
        self._library.arv_stream_push_buffer(self._stream, buffer.handle)

    def close(self) -> None:
        """End the library's thread and free the buffers."""
        if self._parser:
            self._library.g_object_unref(self._parser)
        if self._stream:
            self._library.g_object_unref(self._stream)
        self._stream = self._parser = None

    def _read_chunks(self, handle: int) -> dict[str, int | float | str | bool]:
        found: dict[str, int | float | str | bool] = {}
        for name, kind in self._chunks.items():
            read = "string" if kind == "enumeration" else kind
            with contextlib.suppress(FeatureRefused):  # not in this picture
                value = self._library.call(f"arv_chunk_parser_get_{read}_value", self._parser, handle, name.encode())
                if isinstance(value, bytes):
                    value = value.decode("utf-8", "replace")
                if not isinstance(value, float) or math.isfinite(value):  # a reference, in JSON, has no other numbers
                    found[name] = bool(value) if kind == "boolean" else value
        return found
