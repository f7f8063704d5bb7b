"""Which video node belongs to which camera, and where it is plugged in: from sysfs, without opening anything.

A location names the port, so it stays when nodes are numbered anew: `usb-0000:00:14.0-1.2` is port 1.2 of that USB
controller, as `v4l2-ctl --list-devices` shows it; `pci-0000:01:00.0`, `platform-fe801000.csi` are other busses.
Where one camera has several nodes, all but the usual one have the USB interface (`:1.2`) or `-index1` added.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from schemas.errors import NotFound

SYSFS = Path("/sys")
DEV = Path("/dev")

_NODE = re.compile(r"^video\d{1,4}$")
_USB_INTERFACE = re.compile(r"^\d+-(?P<port>[\d.]+):(?P<interface>\d+\.\d+)$")
_USB_BUS = re.compile(r"^usb\d+$")
_USUAL_INTERFACE = "1.0"
_NOT_OF_A_LOCATION = re.compile(r"[^A-Za-z0-9:._-]")
_MAX_TEXT = 128  # of one attribute


@dataclass(frozen=True)
class Node:
    """One /dev/videoN."""

    path: Path
    location: str
    index: int
    """Within its camera's part; the first is the one with the pictures, others often have metadata."""
    name: str = ""
    vendor: str = ""
    serial: str = ""


def list_nodes(sysfs: Path = SYSFS, dev: Path = DEV) -> list[Node]:
    """All that there are now, by number."""
    folder = sysfs / "class" / "video4linux"
    try:
        names = [entry.name for entry in folder.iterdir() if _NODE.match(entry.name)]
    except OSError:  # a kernel without V4L2, or a container without sysfs
        return []
    return [_node(folder / name, dev) for name in sorted(names, key=lambda name: int(name[5:]))]


def find_node(location: str, sysfs: Path = SYSFS, dev: Path = DEV) -> Node:
    """The node at `location` today.

    Raises:
        NotFound: nothing is there; lists what is where.
    """
    nodes = list_nodes(sysfs, dev)
    for node in nodes:
        if node.location == location:
            return node
    there = ", ".join(node.location for node in nodes if not node.index) or "none"
    raise NotFound(f"source 'v4l2://{location}': no camera is there; there are at: {there}; is it plugged in?")


def _node(entry: Path, dev: Path) -> Node:
    device = (entry / "device").resolve()
    index = _read(entry / "index")
    number = int(index) if index.isdigit() else 0
    owner = device.parent if _USB_INTERFACE.match(device.name) else device
    return Node(
        path=dev / entry.name,
        location=_NOT_OF_A_LOCATION.sub("_", _location(entry, device, number)),
        index=number,
        name=_read(entry / "name"),
        vendor=_read(owner / "manufacturer"),
        serial=_read(owner / "serial"),
    )


def _location(entry: Path, device: Path, index: int) -> str:
    suffix = f"-index{index}" if index else ""
    usb = _USB_INTERFACE.match(device.name)
    if usb:
        above = [folder.name for folder in device.parents]
        root = next((place for place, name in enumerate(above) if _USB_BUS.match(name)), None)
        if root is not None and root + 1 < len(above):
            interface = "" if usb["interface"] == _USUAL_INTERFACE else f":{usb['interface']}"
            return f"usb-{above[root + 1]}-{usb['port']}{interface}{suffix}"
    if not (entry / "device").exists():  # made by software, numbered by whoever made it
        return f"virtual-{entry.name}{suffix}"
    bus = next(_busses(device), "platform")
    return f"{bus}-{device.name}{suffix}"


def _busses(device: Path) -> Iterator[str]:
    if (device / "subsystem").exists():
        yield (device / "subsystem").resolve().name


def _read(path: Path) -> str:
    try:
        raw = path.read_bytes()[:_MAX_TEXT]
    except OSError:
        return ""
    return "".join(letter for letter in raw.decode("utf-8", "replace") if letter.isprintable()).strip()
