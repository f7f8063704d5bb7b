"""Which cameras there are: their indices, names and places."""

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from schemas.capture_commands import DeviceList
from schemas.commands import StreamEntry
from schemas.devices import Device
from schemas.errors import InvalidValue, MeshError, NotFound
from schemas.ids import check_id
from shared.clients.smartvision.connection import answers, ask, empty_text, mesh, minus_one
from shared.clients.smartvision.log import say

STREAMS_VARIABLE: Final = "FRAMEMESH_SMARTVISION_STREAMS"
_NUMBERED: Final = re.compile(r"cam(0|[1-9]\d{0,3})")
# Places of cameras that no device stands for, where a device has the number that is the camera's index.
_OTHER_PLACES: Final = 1_000
_DEBUG: Final = 10


@dataclass(frozen=True)
class KnownCamera:
    """One camera: a stream, a device that is plugged in, or both."""

    index: int
    stream: str
    name: str
    location_id: int
    entry: StreamEntry | None
    device: Device | None


def known_cameras(*, detect: bool = False) -> dict[int, KnownCamera]:
    """All cameras by index. `detect`: look for devices afresh, also in the network, which takes about 2 s.

    Raises:
        Unavailable: the bus does not answer.
        InvalidValue: FRAMEMESH_SMARTVISION_STREAMS names no streams.
    """
    streams = {entry.spec.stream: entry for entry in mesh().streams()}
    return arrange(streams, _devices(detect=detect), _given_names())


def arrange(
    streams: Mapping[str, StreamEntry], devices: Sequence[Device], given: Sequence[str]
) -> dict[int, KnownCamera]:
    """Indices, names and places of all cameras.

    A stream's index is its place among the `given` names, else the number in its name (`cam3`). A device that no
    stream uses has the index that is its location id, or the next free one.
    """
    using = {device.stream: device for device in devices if device.stream}
    names = dict(enumerate(given))
    if not given:
        names = {int(found[1]): name for name in streams if (found := _NUMBERED.fullmatch(name))}
    places: dict[int, Device | None] = {index: using.get(name) for index, name in names.items()}
    taken = {index for index, name in names.items() if name in streams}
    for device in sorted(devices, key=lambda one: one.location_id):
        if device.present and device.stream is None:
            index = device.location_id
            while index in taken:
                index += 1
            taken.add(index)
            places[index] = device
            names.setdefault(index, f"cam{index}")
    numbers = {device.location_id for device in devices}
    seen: set[str] = set()
    found_cameras = {}
    for index in sorted(names):
        stream, place = names[index], places.get(index)
        if stream not in streams and place is None:
            continue  # a name without a camera
        location_id = place.location_id if place else index if index not in numbers else _OTHER_PLACES + index
        name = (place.model if place else "") or stream
        if name in seen:
            name = f"{name}-{location_id}"
        seen.add(name)
        found_cameras[index] = KnownCamera(index, stream, name, location_id, streams.get(stream), place)
    return found_cameras


def stream_name(idx: int) -> str:
    """The stream that a camera's index means, whether there is one or not.

    Raises:
        InvalidValue: not an index.
    """
    if isinstance(idx, bool) or not isinstance(idx, int) or not 0 <= idx < _OTHER_PLACES * 10:
        raise InvalidValue("idx", idx, "give a camera's index: 0, 1, …")
    given = _given_names()
    return given[idx] if idx < len(given) else f"cam{idx}"


def has_index(stream: str) -> bool:
    """The stream is a camera of this API, should there be one of that name."""
    given = _given_names()
    return stream in given if given else _NUMBERED.fullmatch(stream) is not None


def camera_at(idx: int) -> KnownCamera:
    """The camera of this index.

    Raises:
        NotFound: there is none; names those that are.
        InvalidValue: not an index.
    """
    stream = stream_name(idx)
    cameras = known_cameras()
    if idx not in cameras:
        there = ", ".join(f"{one.index} ({one.stream})" for one in cameras.values()) or "none yet"
        raise NotFound(f"camera {idx} (stream {stream}) does not exist; there are: {there}")
    return cameras[idx]


def camera_called(name: str) -> KnownCamera:
    """The camera of this name, or of the stream of this name.

    Raises:
        NotFound: there is none; names those that are.
    """
    cameras = known_cameras().values()
    for camera in cameras:
        if name in (camera.name, camera.stream):
            return camera
    there = ", ".join(camera.name for camera in cameras) or "none yet"
    raise NotFound(f"camera {name!r} does not exist; there are: {there}")


def _given_names() -> list[str]:
    text = os.environ.get(STREAMS_VARIABLE, "")
    return [check_id(name.strip(), STREAMS_VARIABLE) for name in text.split(",") if name.strip()]


def _devices(*, detect: bool) -> tuple[Device, ...]:
    """The node's inventory; without a capture there, none: its streams are known all the same."""
    try:
        return ask(f"capture.{mesh().settings.node}.devices", DeviceList, refresh=detect, network=detect).devices
    except MeshError as error:
        say(_DEBUG, "no devices are known: %s", error.message)
        return ()


@answers(list)
def get_all_cam_ids(disable_cache: bool = False) -> list[str]:
    """Names of all cameras, by index: the sensor's model, or the stream's name. Asks `capture.<node>.devices` and the
    list of streams; with `disable_cache` capture looks for cameras afresh."""
    return [camera.name for camera in known_cameras(detect=disable_cache).values()]


@answers(dict)
def get_all_cameras(disable_cache: bool = False) -> dict[int, str]:
    """Names of all cameras by location id, as `get_all_cam_ids`."""
    return {camera.location_id: camera.name for camera in known_cameras(detect=disable_cache).values()}


@answers(list)
def get_all_cam_index() -> list[int]:
    """Indices of all cameras, ascending. Asks as `get_all_cam_ids`."""
    return list(known_cameras())


@answers(minus_one)
def get_idx_by_loc_id(loc_id: int) -> int:
    """Index of the camera at this place; -1 when there is none. Asks as `get_all_cam_ids`."""
    for camera in known_cameras().values():
        if camera.location_id == loc_id:
            return camera.index
    raise NotFound(f"there is no camera at location {loc_id}; get_all_cameras() lists them")


@answers(minus_one)
def get_loc_id_by_idx(idx: int) -> int:
    """Place of a camera: `location_id` of its device; of one without a device its index. -1 when there is none."""
    return camera_at(idx).location_id


@answers(minus_one)
def get_cam_index(cam_id: str) -> int:
    """Index of the camera of this name; -1 when there is none."""
    return camera_called(cam_id).index


@answers(empty_text)
def get_cam_id(cam_index: int) -> str:
    """Name of a camera; "" when there is none."""
    return camera_at(cam_index).name


@answers(empty_text)
def get_sensor_model_info(idx: int) -> str:
    """Vendor, model and serial number of a camera, from `capture.<node>.devices`; "" when it is not known."""
    device = camera_at(idx).device
    if device is None:
        raise NotFound(f"camera {idx} tells no model: it is not a device of this node")
    return " ".join(part for part in (device.vendor, device.model, device.serial) if part)
