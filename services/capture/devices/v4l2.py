"""Cameras that Linux shows as /dev/videoN."""

from pathlib import Path

from msgspec.structs import replace

from schemas.devices import Device, DeviceControl, DeviceFormat
from schemas.errors import MeshError
from services.capture.v4l2.controls import list_controls, read_control
from services.capture.v4l2.device import VideoDevice
from services.capture.v4l2.modes import Mode
from services.capture.v4l2.nodes import DEV, SYSFS, Node, list_nodes


def find_v4l2(network: bool = False, *, sysfs: Path = SYSFS, dev: Path = DEV) -> list[Device]:
    """Every node that sends pictures; opened beside whoever uses it, and nothing is changed."""
    return [device for node in list_nodes(sysfs, dev) if (device := _look(node)) is not None]


def _look(node: Node) -> Device | None:
    found = Device(
        kind="v4l2",
        location=node.location,
        location_id=0,
        source=f"v4l2://{node.location}",
        model=node.name,
        vendor=node.vendor,
        serial=node.serial,
        address=str(node.path),
    )
    try:
        with VideoDevice(node.path, str(node.path)) as device:
            identity = device.identity()
            found = replace(found, model=identity.card or found.model)
            if not identity.captures:  # metadata, an encoder, an output
                return None
            return replace(found, formats=_formats(device.modes()), controls=_controls(device))
    except MeshError as problem:
        # A later node of a camera is most likely not the one with the pictures.
        return None if node.index else replace(found, error=problem.message)


def _controls(device: VideoDevice) -> tuple[DeviceControl, ...]:
    controls = list_controls(device).values()
    return tuple(control.as_device_control(read_control(device, control)) for control in controls)


def _formats(modes: list[Mode]) -> tuple[DeviceFormat, ...]:
    by_name: dict[str, list[Mode]] = {}
    for mode in modes:
        by_name.setdefault(mode.fourcc, []).append(mode)
    return tuple(_format(name, of_name) for name, of_name in by_name.items())


def _format(name: str, modes: list[Mode]) -> DeviceFormat:
    sizes: list[str] = []
    for mode in modes:
        for width, height in dict.fromkeys((mode.sizes.smallest, mode.sizes.largest)):
            sizes.append(f"{width}x{height}")
    largest = max(modes, key=lambda mode: mode.sizes.largest[0] * mode.sizes.largest[1])
    rates = sorted(largest.rates)
    return DeviceFormat(pixel_format=name, sizes=tuple(sizes), fps=tuple(round(float(rate), 3) for rate in rates))
