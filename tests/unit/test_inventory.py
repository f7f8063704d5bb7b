"""The inventory of cameras, with finders that are given by the test: numbers, presence, hangs, sharing."""

import asyncio
import json
import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from schemas.capture_commands import ListDevices
from schemas.devices import Device
from schemas.errors import Unavailable
from schemas.resources import StreamSpec
from services.capture.devices import Finder
from services.capture.devices.inventory import Inventory
from services.capture.settings import CaptureSettings

pytestmark = pytest.mark.unit

_NOTHING = ListDevices()
_REFRESH = ListDevices(refresh=True)
_NETWORK = ListDevices(refresh=True, network=True)
_NO_URLS = ("onvif://[::1/", "onvif://10.0.0.9:99999/", "onvif://10.0.0.9:x/")


def device(location: str, kind: str = "v4l2", **fields: Any) -> Device:
    name = {"kind": kind, "location": location, "location_id": 0, "source": f"{kind}://{location}"}
    return Device(**{**name, **fields})


class Rig:
    """An inventory in a folder, and what it told."""

    def __init__(self, folder: Path, *specs: StreamSpec) -> None:
        self.events: list[tuple[str, str]] = []
        self._specs = {spec.stream: (spec, 1) for spec in specs}
        self.settings = CaptureSettings(data_dir=folder, node="edge1")

    def inventory(self, finders: dict[str, Finder], seconds: float = 5.0) -> Inventory:
        def event(resource: str, name: str, detail: dict[str, Any]) -> None:
            assert resource == "edge1"
            self.events.append((name, detail["location"]))

        context = SimpleNamespace(node="edge1", settings=self.settings, event=event)
        streams = SimpleNamespace(owned=lambda _node: self._specs)
        return Inventory(cast(Any, context), cast(Any, streams), finders, seconds)


def finds(*found: Device) -> Callable[[bool, CaptureSettings], list[Device]]:
    return lambda _network, _settings: list(found)


async def numbers(inventory: Inventory, request: ListDevices = _REFRESH) -> dict[str, int]:
    listed = await inventory.devices(request)
    return {item.location: item.location_id for item in listed.devices}


async def present(inventory: Inventory, request: ListDevices = _REFRESH) -> set[str]:
    listed = await inventory.devices(request)
    return {item.location for item in listed.devices if item.present}


async def test_a_location_has_its_number_for_good(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    assert await numbers(rig.inventory({"v4l2": finds(device("usb-1"), device("usb-2"))})) == {"usb-1": 0, "usb-2": 1}
    again = rig.inventory({"v4l2": finds(device("usb-3"), device("usb-2"))})
    assert await numbers(again) == {"usb-1": 0, "usb-2": 1, "usb-3": 2}
    assert await present(again, _NOTHING) == {"usb-2", "usb-3"}
    kept = json.loads((tmp_path / "capture" / "devices-edge1.json").read_text())
    assert [(one["device"]["location"], one["device"]["location_id"]) for one in kept] == [
        ("usb-1", 0),
        ("usb-2", 1),
        ("usb-3", 2),
    ]


async def test_the_same_location_of_two_kinds_is_two(tmp_path: Path) -> None:
    inventory = Rig(tmp_path).inventory({"v4l2": finds(device("1")), "genicam": finds(device("1", "genicam"))})
    listed = await inventory.devices(_NOTHING)
    assert [(item.kind, item.location_id) for item in listed.devices] == [("v4l2", 0), ("genicam", 1)]


async def test_a_file_that_is_broken_is_put_aside(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    path = tmp_path / "capture" / "devices-edge1.json"
    path.parent.mkdir()
    path.write_text("[{")
    assert await numbers(rig.inventory({"v4l2": finds(device("usb-9"))})) == {"usb-9": 0}
    assert path.with_suffix(".unreadable").read_text() == "[{"
    assert json.loads(path.read_text())[0]["device"]["location"] == "usb-9"


async def test_a_file_that_can_neither_be_read_nor_put_aside(tmp_path: Path) -> None:
    """Also one that is somebody else's: cameras are found all the same."""
    rig = Rig(tmp_path)
    path = tmp_path / "capture" / "devices-edge1.json"
    (path.with_suffix(".unreadable") / "full").mkdir(parents=True)
    path.write_text("[" * 200_000)
    assert await numbers(rig.inventory({"v4l2": finds(device("usb-9"))})) == {"usb-9": 0}


async def test_what_comes_and_goes_is_told(tmp_path: Path) -> None:
    rig, plugged = Rig(tmp_path), [device("usb-1")]
    inventory = rig.inventory({"v4l2": lambda _network, _settings: list(plugged)})
    await inventory.devices(_NOTHING)
    plugged[:] = [device("usb-2")]
    await inventory.devices(_NOTHING)
    assert rig.events == [("device-found", "usb-1")], "kept until asked to look again"
    await inventory.devices(_REFRESH)
    await inventory.devices(_REFRESH)
    assert rig.events[1:] == [("device-found", "usb-2"), ("device-lost", "usb-1")]
    rig.events.clear()
    await rig.inventory({"v4l2": finds(device("usb-1"), device("usb-4"))}).devices(_NOTHING)
    assert rig.events == [("device-found", "usb-4")], "known from before the restart is no news"


async def test_a_network_camera_is_there_until_the_network_is_asked_again(tmp_path: Path) -> None:
    answering = {"10.0.0.1", "10.0.0.2"}

    def find(network: bool, _settings: CaptureSettings) -> list[Device]:
        return [device("usb", "genicam")] + [device(one, "genicam") for one in sorted(answering) if network]

    inventory = Rig(tmp_path).inventory({"genicam": find})
    assert await present(inventory, _NOTHING) == {"usb"}
    assert await present(inventory, ListDevices(network=True)) == {"usb", "10.0.0.1", "10.0.0.2"}
    answering.remove("10.0.0.2")
    assert await present(inventory, _REFRESH) == {"usb", "10.0.0.1", "10.0.0.2"}
    assert await present(inventory, _NETWORK) == {"usb", "10.0.0.1"}


async def test_a_finder_that_hangs_or_fails_hides_nobody(tmp_path: Path) -> None:
    go_on, calls = threading.Event(), []

    def hangs(_network: bool, _settings: CaptureSettings) -> list[Device]:
        calls.append(1)
        go_on.wait(20)
        return []

    def fails(_network: bool, _settings: CaptureSettings) -> list[Device]:
        raise Unavailable("install libcamera-of-tests")

    def breaks(_network: bool, _settings: CaptureSettings) -> list[Device]:
        raise ZeroDivisionError

    finders: dict[str, Finder] = {"genicam": hangs, "onvif": fails, "csi": breaks, "v4l2": finds(device("usb-1"))}
    inventory = Rig(tmp_path).inventory(finders, seconds=0.2)
    try:
        assert await present(inventory) == {"usb-1"}
        assert await present(inventory) == {"usb-1"}
        assert len(calls) == 1, "a second thread into the same driver would hang too"
    finally:
        go_on.set()
    async with asyncio.timeout(5):
        while len(calls) < 2:
            await inventory.devices(_REFRESH)


async def test_a_kind_that_cannot_be_told_stays_as_it_was(tmp_path: Path) -> None:
    broken: list[bool] = []

    def find(_network: bool, _settings: CaptureSettings) -> list[Device]:
        if broken:
            raise Unavailable("the bus of the cameras is away")
        return [device("usb-1")]

    rig = Rig(tmp_path)
    inventory = rig.inventory({"v4l2": find})
    await inventory.devices(_NOTHING)
    broken.append(True)
    assert await present(inventory) == {"usb-1"}
    assert ("device-lost", "usb-1") not in rig.events


async def test_callers_share_one_look(tmp_path: Path) -> None:
    looks: list[bool] = []

    def find(network: bool, _settings: CaptureSettings) -> list[Device]:
        looks.append(network)
        started.set()
        go_on.wait(5)
        return [device("usb-1")]

    started, go_on = threading.Event(), threading.Event()
    inventory = Rig(tmp_path).inventory({"v4l2": find})
    first = asyncio.create_task(inventory.devices(_REFRESH))
    await asyncio.to_thread(started.wait, 5)
    others = [asyncio.create_task(inventory.devices(_REFRESH)) for _ in range(10)]
    network = asyncio.create_task(inventory.devices(_NETWORK))
    await asyncio.sleep(0)
    first.cancel()  # who was first goes away: the others still get theirs
    go_on.set()
    answers = await asyncio.gather(*others, network)
    assert all(len(answer.devices) == 1 for answer in answers)
    assert looks == [False, True]


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("v4l2://usb-1.2", device("usb-1.2", address="/dev/video0")),
        ("v4l2:///dev/video0", device("usb-1.2", address="/dev/video0")),
        ("genicam://S-77", device("00:11:22", "genicam", serial="S-77", source="genicam://Vendor-Model-S-77")),
        ("onvif://user:***@10.0.0.9/main", device("urn:uuid:7", "onvif", source="onvif://10.0.0.9:80/")),
    ],
)
async def test_the_stream_that_uses_a_camera_is_named(tmp_path: Path, source: str, found: Device) -> None:
    specs = StreamSpec(stream="other", source="v4l2:///dev/video7"), StreamSpec(stream="line1", source=source)
    inventory = Rig(tmp_path, *specs).inventory({found.kind: finds(found, device("elsewhere", found.kind))})
    listed = await inventory.devices(_NOTHING)
    assert {item.location: item.stream for item in listed.devices} == {found.location: "line1", "elsewhere": None}


async def test_a_stream_whose_source_is_no_url_hides_nothing(tmp_path: Path) -> None:
    specs = [StreamSpec(stream=f"s{number}", source=source) for number, source in enumerate(_NO_URLS)]
    found = device("urn:uuid:7", "onvif", source="onvif://10.0.0.9:80/")
    listed = await Rig(tmp_path, *specs).inventory({"onvif": finds(found)}).devices(_NOTHING)
    assert [item.stream for item in listed.devices] == [None]


async def test_a_flood_from_the_network_leaves_a_place_for_what_is_plugged_in(tmp_path: Path) -> None:
    many = [device(f"urn:{number}", "onvif") for number in range(1100)]
    inventory = Rig(tmp_path).inventory({"onvif": lambda network, _: many if network else [], "v4l2": _after_a_flood()})
    assert "usb-1" not in await numbers(inventory, _NETWORK)
    known = await numbers(inventory)
    assert len(known) == 1024
    assert "usb-1" in known
    assert len(set(known.values())) == 1024


def _after_a_flood() -> Finder:
    looks = iter(([], [device("usb-1")]))
    return lambda _network, _settings: next(looks)


async def test_too_many_are_left_out(tmp_path: Path) -> None:
    many = [device(f"10.0.{number // 256}.{number % 256}", "onvif") for number in range(1100)]
    inventory = Rig(tmp_path).inventory({"onvif": finds(*many)})
    assert len((await inventory.devices(_NETWORK)).devices) == 1024
