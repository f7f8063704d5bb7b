"""The C functions of aravis (LGPL, installed with the system) that are used here, with their types.

No Python function is ever called by the library per picture or packet; only the loss of a camera is, once.
"""

import ctypes
import functools
from ctypes import POINTER, byref, c_char_p, c_double, c_int, c_int64, c_size_t, c_uint, c_uint32, c_uint64, c_void_p
from typing import Any

from schemas.errors import Unavailable
from services.capture.genicam.camera import FeatureRefused

_LIBRARY = "libaravis-0.8.so.0"
_GOBJECT, _GIO, _GLIB = "libgobject-2.0.so.0", "libgio-2.0.so.0", "libglib-2.0.so.0"
MISSING = "install libaravis (Debian: apt install libaravis-0.8-0), or harvesters and a GenTL producer"


class GError(ctypes.Structure):
    _fields_ = (("domain", c_uint32), ("code", c_int), ("message", c_char_p))


class GSList(ctypes.Structure):
    pass


GSList._fields_ = (("data", c_void_p), ("next", POINTER(GSList)))
_GErrorOut = POINTER(POINTER(GError))
LostCallback = ctypes.CFUNCTYPE(None, c_void_p, c_void_p)

_Types = tuple[Any, tuple[Any, ...]]
# name: (result, arguments). Of functions that can fail the last argument, a GError**, is left out here.
_CAN_FAIL: dict[str, _Types] = {
    "arv_gv_device_new": (c_void_p, (c_void_p, c_void_p)),
    "arv_interface_open_device": (c_void_p, (c_void_p, c_char_p)),
    "arv_device_create_stream": (c_void_p, (c_void_p, c_void_p, c_void_p)),
    "arv_device_execute_command": (None, (c_void_p, c_char_p)),
    "arv_device_get_boolean_feature_value": (c_int, (c_void_p, c_char_p)),
    "arv_device_set_boolean_feature_value": (None, (c_void_p, c_char_p, c_int)),
    "arv_device_get_integer_feature_value": (c_int64, (c_void_p, c_char_p)),
    "arv_device_set_integer_feature_value": (None, (c_void_p, c_char_p, c_int64)),
    "arv_device_get_integer_feature_bounds": (None, (c_void_p, c_char_p, POINTER(c_int64), POINTER(c_int64))),
    "arv_device_get_integer_feature_increment": (c_int64, (c_void_p, c_char_p)),
    "arv_device_get_float_feature_increment": (c_double, (c_void_p, c_char_p)),
    "arv_device_get_float_feature_value": (c_double, (c_void_p, c_char_p)),
    "arv_device_set_float_feature_value": (None, (c_void_p, c_char_p, c_double)),
    "arv_device_get_float_feature_bounds": (None, (c_void_p, c_char_p, POINTER(c_double), POINTER(c_double))),
    "arv_device_get_string_feature_value": (c_char_p, (c_void_p, c_char_p)),
    "arv_device_set_string_feature_value": (None, (c_void_p, c_char_p, c_char_p)),
    "arv_device_dup_available_enumeration_feature_values_as_strings": (
        POINTER(c_char_p),
        (c_void_p, c_char_p, POINTER(c_uint)),
    ),
    "arv_device_write_register": (c_int, (c_void_p, c_uint64, c_uint32)),
    "arv_device_read_register": (c_int, (c_void_p, c_uint64, POINTER(c_uint32))),
    "arv_gv_device_get_timestamp_tick_frequency": (c_uint64, (c_void_p,)),
    "arv_gc_feature_node_is_available": (c_int, (c_void_p,)),
    "arv_gc_feature_node_is_implemented": (c_int, (c_void_p,)),
    "arv_gc_feature_node_is_locked": (c_int, (c_void_p,)),
    "arv_chunk_parser_get_integer_value": (c_int64, (c_void_p, c_void_p, c_char_p)),
    "arv_chunk_parser_get_float_value": (c_double, (c_void_p, c_void_p, c_char_p)),
    "arv_chunk_parser_get_boolean_value": (c_int, (c_void_p, c_void_p, c_char_p)),
    "arv_chunk_parser_get_string_value": (c_char_p, (c_void_p, c_void_p, c_char_p)),
}
_SAFE: dict[str, _Types] = {
    "arv_uv_interface_get_instance": (c_void_p, ()),
    "arv_fake_interface_get_instance": (c_void_p, ()),
    "arv_interface_update_device_list": (None, (c_void_p,)),
    "arv_interface_get_n_devices": (c_uint, (c_void_p,)),
    "arv_interface_get_device_id": (c_char_p, (c_void_p, c_uint)),
    "arv_interface_get_device_physical_id": (c_char_p, (c_void_p, c_uint)),
    "arv_interface_get_device_vendor": (c_char_p, (c_void_p, c_uint)),
    "arv_interface_get_device_model": (c_char_p, (c_void_p, c_uint)),
    "arv_interface_get_device_serial_nbr": (c_char_p, (c_void_p, c_uint)),
    "arv_gv_device_is_controller": (c_int, (c_void_p,)),
    "arv_device_get_feature": (c_void_p, (c_void_p, c_char_p)),
    "arv_device_get_genicam_xml": (c_void_p, (c_void_p, POINTER(c_size_t))),
    "arv_device_create_chunk_parser": (c_void_p, (c_void_p,)),
    "arv_gc_feature_node_get_actual_access_mode": (c_int, (c_void_p,)),
    "arv_gc_feature_node_get_name": (c_char_p, (c_void_p,)),
    "arv_gc_category_get_features": (POINTER(GSList), (c_void_p,)),
    "arv_gc_float_get_unit": (c_char_p, (c_void_p,)),
    "arv_gc_integer_get_unit": (c_char_p, (c_void_p,)),
    "arv_gc_category_get_type": (c_size_t, ()),
    "arv_gc_enumeration_get_type": (c_size_t, ()),
    "arv_gc_boolean_get_type": (c_size_t, ()),
    "arv_gc_command_get_type": (c_size_t, ()),
    "arv_gc_float_get_type": (c_size_t, ()),
    "arv_gc_integer_get_type": (c_size_t, ()),
    "arv_gc_string_get_type": (c_size_t, ()),
    "arv_stream_push_buffer": (None, (c_void_p, c_void_p)),
    "arv_stream_timeout_pop_buffer": (c_void_p, (c_void_p, c_uint64)),
    "arv_buffer_new_allocate": (c_void_p, (c_size_t,)),
    "arv_buffer_get_status": (c_int, (c_void_p,)),
    "arv_buffer_get_payload_type": (c_int, (c_void_p,)),
    "arv_buffer_get_timestamp": (c_uint64, (c_void_p,)),
    "arv_buffer_get_system_timestamp": (c_uint64, (c_void_p,)),
    "arv_buffer_get_frame_id": (c_uint64, (c_void_p,)),
    "arv_buffer_get_image_data": (c_void_p, (c_void_p, POINTER(c_size_t))),
    "arv_buffer_get_image_pixel_format": (c_uint32, (c_void_p,)),
    "arv_buffer_get_image_width": (c_int, (c_void_p,)),
    "arv_buffer_get_image_height": (c_int, (c_void_p,)),
    "arv_buffer_get_image_padding": (None, (c_void_p, POINTER(c_int), POINTER(c_int))),
    "arv_buffer_has_chunks": (c_int, (c_void_p,)),
}


class Aravis:
    """The library, loaded. `call` is for functions that can fail, attributes are the others."""

    def __init__(self) -> None:
        self._functions: dict[str, Any] = {}
        try:
            library = ctypes.CDLL(_LIBRARY)
            gobject, gio, glib = ctypes.CDLL(_GOBJECT), ctypes.CDLL(_GIO), ctypes.CDLL(_GLIB)
        except OSError as error:
            raise Unavailable(f"GenICam cameras: {error}; {MISSING}") from None
        for name, (result, arguments) in _SAFE.items():
            self._functions[name] = _typed(library, name, result, arguments)
        for name, (result, arguments) in _CAN_FAIL.items():
            self._functions[name] = _typed(library, name, result, (*arguments, _GErrorOut))
        self._error_free = _typed(glib, "g_error_free", None, (POINTER(GError),))
        self.g_free = _typed(glib, "g_free", None, (c_void_p,))
        self.g_object_ref = _typed(gobject, "g_object_ref", c_void_p, (c_void_p,))
        self.g_object_unref = _typed(gobject, "g_object_unref", None, (c_void_p,))
        self.is_a = _typed(gobject, "g_type_check_instance_is_a", c_int, (c_void_p, c_size_t))
        self.connect = _typed(
            gobject, "g_signal_connect_data", c_size_t, (c_void_p, c_char_p, LostCallback, c_void_p, c_void_p, c_int)
        )
        self.disconnect = _typed(gobject, "g_signal_handler_disconnect", None, (c_void_p, c_size_t))
        # Two properties that are integers.
        self.set_two = _typed(gobject, "g_object_set", None, (c_void_p, c_char_p, c_int, c_char_p, c_int, c_void_p))
        self.address = _typed(gio, "g_inet_address_new_from_string", c_void_p, (c_char_p,))

    def __getattr__(self, name: str) -> Any:
        try:
            return self._functions[name]
        except KeyError:
            raise AttributeError(name) from None

    def call(self, name: str, *arguments: Any) -> Any:
        """Raises:
        FeatureRefused: with the library's own words.
        """
        error = POINTER(GError)()
        result = self._functions[name](*arguments, byref(error))
        if error:
            text = (error.contents.message or b"unknown error").decode("utf-8", "replace")
            self._error_free(error)
            raise FeatureRefused(text)
        return result


def _typed(library: ctypes.CDLL, name: str, result: Any, arguments: tuple[Any, ...]) -> Any:
    function = getattr(library, name)
    function.restype, function.argtypes = result, arguments
    return function


@functools.cache
def aravis() -> Aravis:
    """Load the library, once.

    Raises:
        Unavailable: it is not installed; the text says what to install.
    """
    return Aravis()
