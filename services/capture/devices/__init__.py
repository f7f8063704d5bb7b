"""Cameras that are plugged in or announce themselves. To add a kind: write its file, add its line to `_FINDERS`."""

from collections.abc import Callable

from schemas.devices import Device
from services.capture.devices.onvif import find_onvif
from services.capture.devices.v4l2 import find_v4l2

Finder = Callable[[bool], list[Device]]
"""Finds the devices of one kind; blocks, for 5 s at most. Argument: ask the network too.

`location_id`, `stream` and `present` are filled in by the inventory. A device that cannot be opened is listed with its
`error`. Raises Unavailable when the kind cannot be looked for here; the text says what to install.
"""

_FINDERS: dict[str, Finder] = {
    "v4l2": find_v4l2,
    "onvif": find_onvif,
}
