"""The cameras that were ever seen on this node, in a file: what gives a location its number for good."""

import contextlib
import logging
from pathlib import Path

import msgspec

from schemas.devices import Device
from shared.whole_file import write_whole

log = logging.getLogger(__name__)

# More places for cameras than a host has; a flood of announcements from the network must not fill the disk.
MAX_KNOWN = 1024
_MODE = 0o600  # where cameras are is nobody else's business
_FORGOTTEN = {"formats": (), "controls": (), "stream": None, "error": ""}  # what is true at one moment only


class KnownDevice(msgspec.Struct, frozen=True, kw_only=True):
    """A camera as it was seen last."""

    device: Device
    local: bool
    """It was found without asking the network, so it is gone when it is not found so."""


Key = tuple[str, str]


def key_of(device: Device) -> Key:
    """What a number is given to: the kind and the location."""
    return device.kind, device.location


class KnownDevices:
    """What is in the file. `save` is for one thread at a time."""

    def __init__(self, path: Path) -> None:
        """Reads the file; one that cannot be read is put aside, and numbers are given anew."""
        self._path = path
        self._entries: dict[Key, KnownDevice] = {}
        try:
            found = msgspec.json.decode(path.read_bytes(), type=list[KnownDevice])
            self._entries = {key_of(known.device): known for known in found}
        except FileNotFoundError:
            pass
        except (OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            log.error("%s cannot be read and is put aside; cameras get new numbers: %s", path, error)
            with contextlib.suppress(OSError):  # somebody else's file or folder: the numbers are not kept, see `save`
                path.replace(path.with_suffix(".unreadable"))

    def all(self) -> list[KnownDevice]:
        """By number."""
        return sorted(self._entries.values(), key=lambda known: known.device.location_id)

    def note(self, device: Device, *, local: bool) -> Device | None:
        """The camera with its number, a new one where it was never seen; None: there are too many."""
        before = self._entries.get(key_of(device))
        if before is None and len(self._entries) >= MAX_KNOWN and not (local and self._forget_one()):
            return None
        number = before.device.location_id if before else self._free_number()
        device = msgspec.structs.replace(device, location_id=number)
        self._entries[key_of(device)] = KnownDevice(
            device=msgspec.structs.replace(device, **_FORGOTTEN), local=local or (before is not None and before.local)
        )
        return device

    def save(self) -> None:
        """Write the file, whole or not at all, also when the power goes.

        Raises:
            OSError: no room, or no right to.
        """
        self._path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(self._path, msgspec.json.format(msgspec.json.encode(self.all()), indent=1), mode=_MODE, sync=True)

    def _forget_one(self) -> bool:
        """Make room for a camera that is plugged in: anybody in the network can announce as many as he likes."""
        announced = [key for key, known in self._entries.items() if not known.local]
        if announced:
            del self._entries[announced[-1]]
        return bool(announced)

    def _free_number(self) -> int:
        taken = {known.device.location_id for known in self._entries.values()}
        return next(number for number in range(MAX_KNOWN + 1) if number not in taken)
