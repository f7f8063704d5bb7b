"""Cameras that are plugged in or announce themselves, as capture finds them."""

from typing import Literal

from msgspec import Struct

from schemas.ids import Id
from schemas.pictures import ControlValue

DeviceKind = Literal["v4l2", "genicam", "onvif"]
ControlKind = Literal["integer", "float", "boolean", "menu", "string", "button"]


class DeviceFormat(Struct, frozen=True, kw_only=True):
    """One form of pictures that a device can send."""

    pixel_format: str
    """By the device's own name: a FourCC (`YUYV`, `MJPG`) or a GenICam name (`Mono12`)."""
    sizes: tuple[str, ...] = ()
    """`1280x720`; of a range its smallest and its largest."""
    fps: tuple[float, ...] = ()
    """Rates at the largest size; of a range its lowest and its highest."""


class DeviceControl(Struct, frozen=True, kw_only=True):
    """Something that can be set at a device."""

    name: str
    kind: ControlKind
    value: ControlValue | None = None
    default: ControlValue | None = None
    minimum: float | None = None
    maximum: float | None = None
    step: float | None = None
    options: tuple[str, ...] = ()
    """Of a menu."""
    unit: str = ""
    writable: bool = True


class Device(Struct, frozen=True, kw_only=True):
    """A camera."""

    kind: DeviceKind
    location: str
    """Where it is, the same after every restart: the USB or CSI port, the MAC address, the ONVIF endpoint."""
    location_id: int
    """A small number for the location, given once per node and kept."""
    source: str
    """What to give to capture.start as `source`."""
    model: str = ""
    vendor: str = ""
    serial: str = ""
    address: str = ""
    """Today's: `/dev/video0`, an IP address."""
    present: bool = True
    """False: it was here before."""
    stream: Id | None = None
    """The stream that uses it."""
    formats: tuple[DeviceFormat, ...] = ()
    controls: tuple[DeviceControl, ...] = ()
    error: str = ""
    """Why nothing more is known of it, for example: used by another program."""
