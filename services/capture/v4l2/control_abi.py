"""Structures and request numbers of linux/videodev2.h for controls; a test holds them too against a C compiler's."""

import ctypes
from ctypes import Structure, Union, c_char, c_int32, c_int64, c_uint32, c_uint64
from typing import Final

from services.capture.v4l2.abi import READ, WRITE, request_number

_MAX_CONTROL_DIMENSIONS: Final = 4

CTRL_TYPE_INTEGER: Final = 1
CTRL_TYPE_BOOLEAN: Final = 2
CTRL_TYPE_MENU: Final = 3
CTRL_TYPE_BUTTON: Final = 4
CTRL_TYPE_INTEGER64: Final = 5
CTRL_TYPE_STRING: Final = 7
CTRL_TYPE_BITMASK: Final = 8
CTRL_TYPE_INTEGER_MENU: Final = 9
CTRL_FLAG_DISABLED: Final = 0x0001
CTRL_FLAG_READ_ONLY: Final = 0x0004
CTRL_FLAG_WRITE_ONLY: Final = 0x0040
CTRL_FLAG_NEXT_CTRL: Final = 0x8000_0000
CTRL_WHICH_CUR_VAL: Final = 0


class QueryControl(Structure):
    """struct v4l2_query_ext_ctrl"""

    _fields_ = (
        ("id", c_uint32),
        ("type", c_uint32),
        ("name", c_char * 32),
        ("minimum", c_int64),
        ("maximum", c_int64),
        ("step", c_uint64),
        ("default_value", c_int64),
        ("flags", c_uint32),
        ("elem_size", c_uint32),
        ("elems", c_uint32),
        ("nr_of_dims", c_uint32),
        ("dims", c_uint32 * _MAX_CONTROL_DIMENSIONS),
        ("reserved", c_uint32 * 32),
    )


class _MenuUnion(Union):
    _pack_ = 1
    _fields_ = (("name", c_char * 32), ("value", c_int64))


class QueryMenu(Structure):
    _pack_ = 1
    _anonymous_ = ("item",)
    _fields_ = (("id", c_uint32), ("index", c_uint32), ("item", _MenuUnion), ("reserved", c_uint32))


class _ControlUnion(Union):
    _pack_ = 1
    _fields_ = (("value", c_int32), ("value64", c_int64), ("string", ctypes.c_void_p))


class Control(Structure):
    """struct v4l2_ext_control"""

    _pack_ = 1
    _anonymous_ = ("content",)
    _fields_ = (("id", c_uint32), ("size", c_uint32), ("reserved2", c_uint32), ("content", _ControlUnion))


class Controls(Structure):
    """struct v4l2_ext_controls"""

    _fields_ = (
        ("which", c_uint32),
        ("count", c_uint32),
        ("error_idx", c_uint32),
        ("request_fd", c_int32),
        ("reserved", c_uint32),
        ("controls", ctypes.POINTER(Control)),
    )


QUERYMENU: Final = request_number(READ | WRITE, 37, QueryMenu)
G_EXT_CTRLS: Final = request_number(READ | WRITE, 71, Controls)
S_EXT_CTRLS: Final = request_number(READ | WRITE, 72, Controls)
QUERY_EXT_CTRL: Final = request_number(READ | WRITE, 103, QueryControl)
