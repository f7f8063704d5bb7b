"""Controls of a camera: brightness, exposure and the like, by the names that v4l2-ctl shows."""

import contextlib
import ctypes
import errno
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from schemas.devices import ControlKind, DeviceControl
from schemas.errors import InvalidValue, MeshError
from schemas.pictures import ControlValue
from services.capture.v4l2 import abi
from services.capture.v4l2.device import VideoDevice, explain, text

_KINDS: dict[int, ControlKind] = {
    abi.CTRL_TYPE_INTEGER: "integer",
    abi.CTRL_TYPE_INTEGER64: "integer",
    abi.CTRL_TYPE_BITMASK: "integer",
    abi.CTRL_TYPE_BOOLEAN: "boolean",
    abi.CTRL_TYPE_MENU: "menu",
    abi.CTRL_TYPE_INTEGER_MENU: "menu",
    abi.CTRL_TYPE_BUTTON: "button",
    abi.CTRL_TYPE_STRING: "string",
}
_MAX_CONTROLS = 1024  # a driver that never ends its list must not hold us for ever
_MAX_MENU = 256
_MAX_STRING_BYTES = 4096
_NOT_A_LETTER = re.compile(r"[^a-z0-9]+")

Raw = int | str


@dataclass(frozen=True)
class Control:
    """One control as the driver describes it. Compound ones (matrices, regions) are not listed."""

    id: int
    name: str
    type: int
    minimum: int
    maximum: int
    step: int
    default: int
    flags: int
    menu: dict[int, str] = field(default_factory=dict)

    @property
    def kind(self) -> ControlKind:
        return _KINDS[self.type]

    @property
    def writable(self) -> bool:
        return not self.flags & abi.CTRL_FLAG_READ_ONLY

    @property
    def readable(self) -> bool:
        return self.kind != "button" and not self.flags & abi.CTRL_FLAG_WRITE_ONLY

    def parse(self, value: ControlValue) -> Raw:
        """What the driver is to be given for `value`.

        Raises:
            InvalidValue: not a value of this control; says which are.
        """
        raw = self._parsed(value) if self.writable else None
        if raw is None:
            raise InvalidValue(f"controls.{self.name}", value, self._fix())
        return raw

    def shown(self, raw: Raw) -> ControlValue:
        """As people write it."""
        if isinstance(raw, str):
            return raw
        if self.kind == "boolean":
            return bool(raw)
        return self.menu.get(raw, raw) if self.kind == "menu" else raw

    def _parsed(self, value: ControlValue) -> Raw | None:
        if self.kind == "string":
            return value if isinstance(value, str) and self.minimum <= len(value.encode()) <= self.maximum else None
        if self.kind == "menu" and isinstance(value, str):
            return next((index for index, name in self.menu.items() if name.lower() == value.lower()), None)
        if self.kind in ("boolean", "button"):
            return int(value) if isinstance(value, bool | int) and value in (0, 1) else None
        if isinstance(value, bool | str) or value != int(value):
            return None
        number = int(value)
        if self.kind == "menu":
            return number if number in self.menu else None
        within = self.minimum <= number <= self.maximum
        return number if within and (number - self.minimum) % self.step == 0 else None

    def _fix(self) -> str:
        if not self.writable:
            return "it can only be read"
        if self.kind == "menu":
            return f"use one of {', '.join(self.menu.values())}"
        if self.kind == "boolean":
            return "use true or false"
        if self.kind == "button":
            return "use true to press it"
        if self.kind == "string":
            return f"use a text of {self.minimum} to {self.maximum} bytes"
        step = f", step {self.step}" if self.type != abi.CTRL_TYPE_BITMASK else ""
        return f"use {self.minimum} to {self.maximum}{step}"

    def as_device_control(self, raw: Raw | None) -> DeviceControl:
        number = self.kind in ("integer", "string")
        default = None if self.kind in ("button", "string") else self.shown(self.default)
        return DeviceControl(
            name=self.name,
            kind=self.kind,
            value=None if raw is None else self.shown(raw),
            default=default,
            minimum=self.minimum if number else None,
            maximum=self.maximum if number else None,
            step=self.step if number else None,
            options=tuple(self.menu.values()),
            unit="100 µs" if self.name == "exposure_time_absolute" else "",
            writable=self.writable,
        )


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
        if query.type not in _KINDS or query.flags & abi.CTRL_FLAG_DISABLED or query.nr_of_dims:
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


def control_name(shown: str) -> str:
    """`Exposure Time, Absolute` -> `exposure_time_absolute`, as v4l2-ctl has it."""
    return _NOT_A_LETTER.sub("_", shown.lower()).strip("_")


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
