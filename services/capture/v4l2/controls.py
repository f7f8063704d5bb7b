"""The controls of an open camera, brightness, exposure and the like: listed, read, set, and put back."""

import contextlib
import ctypes
import errno
from collections.abc import Mapping

from schemas.errors import InvalidValue, MeshError
from schemas.pictures import ControlValue
from services.capture.v4l2 import control_abi as abi
from services.capture.v4l2.control import KINDS, Control, Raw, control_name
from services.capture.v4l2.device import VideoDevice, explain, text

_MAX_CONTROLS = 1024  # a driver that never ends its list must not hold us for ever
_MAX_MENU = 256
_MAX_STRING_BYTES = 4096


def list_controls(device: VideoDevice) -> dict[str, Control]:
    """Every control that can be used, by name, in the driver's order."""
    found: dict[str, Control] = {}
    last = 0
    for _ in range(_MAX_CONTROLS):
        query = abi.QueryControl(id=last | abi.CTRL_FLAG_NEXT_CTRL)
        try:
            device.ioctl(abi.QUERY_EXT_CTRL, query)
        except OSError as error:
            if error.errno in (errno.EINVAL, errno.ENOTTY):  # the end, or a device without any
                break
            raise explain(error, device.what) from None
        if query.id <= last:
            break
        last = query.id
        if query.type not in KINDS or query.flags & abi.CTRL_FLAG_DISABLED or query.nr_of_dims:
            continue
        name = control_name(text(query.name))
        found.setdefault(
            name,
            Control(
                id=query.id,
                name=name,
                type=query.type,
                minimum=query.minimum if query.type != abi.CTRL_TYPE_BITMASK else 0,
                maximum=query.maximum if query.type != abi.CTRL_TYPE_BITMASK else query.maximum & 0xFFFF_FFFF,
                step=max(query.step, 1),
                default=query.default_value,
                flags=query.flags,
                menu=_menu(device, query),
            ),
        )
    return found


def read_control(device: VideoDevice, control: Control) -> Raw | None:
    """Its value now; None where it has none to tell."""
    if not control.readable:
        return None
    entry = abi.Control(id=control.id)
    buffer = (
        ctypes.create_string_buffer(min(control.maximum + 1, _MAX_STRING_BYTES)) if control.kind == "string" else None
    )
    if buffer is not None:
        entry.size, entry.string = len(buffer), ctypes.addressof(buffer)
    try:
        device.ioctl(abi.G_EXT_CTRLS, _one(entry))
    except OSError as error:
        if error.errno in (errno.ENODEV, errno.ENXIO):
            raise explain(error, device.what) from None
        return None  # cameras refuse to tell one or another in some states
    if buffer is not None:
        return text(buffer.value)
    return int(entry.value64 if control.type == abi.CTRL_TYPE_INTEGER64 else entry.value)


def check_controls(controls: Mapping[str, Control], wanted: Mapping[str, ControlValue]) -> dict[str, Raw]:
    """The driver's values for `wanted`, without touching the camera.

    Raises:
        InvalidValue: names the control, the value and the fix.
    """
    return {name: _named(controls, name, value).parse(value) for name, value in wanted.items()}


def apply_controls(
    device: VideoDevice,
    controls: Mapping[str, Control],
    wanted: Mapping[str, ControlValue],
    before: Mapping[str, ControlValue] | None = None,
) -> None:
    """Set them in order; those of `before` that are named no more go back to their defaults first.

    Raises:
        InvalidValue: the camera refuses one; all are as they were.
        MeshError: the camera is gone.
    """
    before = before or {}
    new = check_controls(controls, wanted)
    done: list[tuple[Control, Raw]] = []
    try:
        # Backwards, because what governs others was set before them.
        for name in reversed([name for name in before if name not in wanted and name in controls]):
            control = controls[name]
            if control.readable and control.kind != "string":
                with contextlib.suppress(InvalidValue):  # nobody asked for this value: an automatic may be in charge
                    _set(device, control, control.default, done)
        for name, raw in new.items():
            # A button is pressed when it is named, and not again at every other change.
            if controls[name].kind != "button" or (raw and before.get(name) != wanted[name]):
                _set(device, controls[name], raw, done, wanted[name])
    except MeshError:
        for control, raw in reversed(done):
            with contextlib.suppress(MeshError):  # the first error is the one to tell
                _write(device, control, raw, None)
        raise


def _set(
    device: VideoDevice,
    control: Control,
    raw: Raw,
    done: list[tuple[Control, Raw]],
    value: ControlValue | None = None,
) -> None:
    """Set one, and keep in `done` what it was."""
    present = read_control(device, control)
    _write(device, control, raw, value)
    if present is not None:
        done.append((control, present))


def _write(device: VideoDevice, control: Control, raw: Raw, value: ControlValue | None) -> None:
    entry = abi.Control(id=control.id)
    if isinstance(raw, str):
        buffer = ctypes.create_string_buffer(raw.encode())
        entry.size, entry.string = len(buffer), ctypes.addressof(buffer)
    elif control.type == abi.CTRL_TYPE_INTEGER64:
        entry.value64 = raw
    else:
        entry.value = ctypes.c_int32(raw).value  # a bitmask may have its highest bit
    try:
        device.ioctl(abi.S_EXT_CTRLS, _one(entry))
    except OSError as error:
        if error.errno in (errno.ENODEV, errno.ENXIO):
            raise explain(error, device.what) from None
        shown = control.shown(raw) if value is None else value
        raise InvalidValue(f"controls.{control.name}", shown, _refusal(error)) from None


def _refusal(error: OSError) -> str:
    if error.errno in (errno.EACCES, errno.EBUSY, errno.EPERM):
        return "the camera does not take it now; first switch off the automatic that governs it"
    return f"the camera refuses it ({error.strerror})"


def _one(entry: abi.Control) -> abi.Controls:
    return abi.Controls(which=abi.CTRL_WHICH_CUR_VAL, count=1, controls=ctypes.pointer(entry))


def _named(controls: Mapping[str, Control], name: str, value: ControlValue) -> Control:
    if name not in controls:
        there = ", ".join(controls) or "none"
        raise InvalidValue(f"controls.{name}", value, f"there is no such control; there are {there}")
    return controls[name]


def _menu(device: VideoDevice, query: abi.QueryControl) -> dict[int, str]:
    if query.type not in (abi.CTRL_TYPE_MENU, abi.CTRL_TYPE_INTEGER_MENU):
        return {}
    menu: dict[int, str] = {}
    for index in range(max(query.minimum, 0), min(query.maximum, query.minimum + _MAX_MENU) + 1):
        item = abi.QueryMenu(id=query.id, index=index)
        with contextlib.suppress(OSError):  # menus have holes
            device.ioctl(abi.QUERYMENU, item)
            menu[index] = str(item.value) if query.type == abi.CTRL_TYPE_INTEGER_MENU else text(item.name)
    return menu
