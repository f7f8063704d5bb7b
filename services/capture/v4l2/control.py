"""One control of a camera: what it is, and which values it takes."""

import re
from dataclasses import dataclass, field

from schemas.devices import ControlKind, DeviceControl
from schemas.errors import InvalidValue
from schemas.pictures import ControlValue
from services.capture.v4l2 import control_abi as abi

Raw = int | str
"""A value as the driver takes it."""

KINDS: dict[int, ControlKind] = {
    abi.CTRL_TYPE_INTEGER: "integer",
    abi.CTRL_TYPE_INTEGER64: "integer",
    abi.CTRL_TYPE_BITMASK: "integer",
    abi.CTRL_TYPE_BOOLEAN: "boolean",
    abi.CTRL_TYPE_MENU: "menu",
    abi.CTRL_TYPE_INTEGER_MENU: "menu",
    abi.CTRL_TYPE_BUTTON: "button",
    abi.CTRL_TYPE_STRING: "string",
}
_NOT_A_LETTER = re.compile(r"[^a-z0-9]+")


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
        return KINDS[self.type]

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
        if isinstance(value, bool | str) or (isinstance(value, float) and not value.is_integer()):
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


def control_name(shown: str) -> str:
    """`Exposure Time, Absolute` -> `exposure_time_absolute`, as v4l2-ctl has it."""
    return _NOT_A_LETTER.sub("_", shown.lower()).strip("_")
