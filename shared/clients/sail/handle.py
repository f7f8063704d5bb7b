"""A device, as programs name it. Which encoder works for a program is decided in the mesh."""

from schemas.errors import InvalidValue
from shared.clients.sail.connection import mesh


class Handle:
    """Holds the number that a program gave to its device."""

    def __init__(self, dev_id: int) -> None:
        """Raises:
        InvalidValue: no number of a device.
        """
        if isinstance(dev_id, bool) or not isinstance(dev_id, int) or dev_id < 0:
            raise InvalidValue("dev_id", dev_id, "use 0 or a higher whole number")
        self._dev_id = dev_id

    def get_device_id(self) -> int:
        """The number that it was made with."""
        return self._dev_id

    def get_sn(self) -> str:
        """What tells one device from another: the mesh's name of this host. Raises: Unavailable: no mesh."""
        return mesh().settings.node

    def get_target(self) -> str:
        """What computes: the mesh."""
        return "framemesh"


def device_of(device: "Handle | int") -> int:
    """The device's number of what a function was given.

    Raises:
        InvalidValue: neither a handle nor a number of a device.
    """
    return (device if isinstance(device, Handle) else Handle(device)).get_device_id()
