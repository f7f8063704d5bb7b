"""Cameras that are plugged in or announce themselves. To add a kind: write its file, add its line to `FINDERS`."""

from collections.abc import Callable

from schemas.devices import Device
from services.capture.devices.genicam import find_genicam
from services.capture.devices.onvif import find_onvif
from services.capture.devices.v4l2 import find_v4l2
from services.capture.settings import CaptureSettings

Finder = Callable[[bool, CaptureSettings], list[Device]]
"""Finds the devices of one kind; blocks, for 5 s at most. Arguments: ask the network too; the settings of capture.

`location_id`, `stream` and `present` are filled in by the inventory. A device that cannot be opened is listed with its
`error`. Raises Unavailable when the kind cannot be looked for here; the text says what to install.
"""

FINDERS: dict[str, Finder] = {
    "v4l2": lambda network, _settings: find_v4l2(network),
    "onvif": find_onvif,
    "genicam": find_genicam,
}
