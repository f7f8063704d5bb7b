"""Which index, name and place a camera has."""

from schemas.commands import StreamEntry
from schemas.devices import Device
from schemas.resources import StreamSpec
from shared.clients.smartvision.inventory import arrange


def _streams(*names: str) -> dict[str, StreamEntry]:
    return {name: StreamEntry(revision=1, spec=StreamSpec(stream=name, source="test://")) for name in names}


def _device(location_id: int, *, model: str = "", stream: str | None = None, present: bool = True) -> Device:
    return Device(
        kind="v4l2",
        location=f"usb-{location_id}",
        location_id=location_id,
        source=f"v4l2:///dev/v4l/by-path/{location_id}",
        model=model,
        stream=stream,
        present=present,
    )


def _told(found):
    return [(one.index, one.stream, one.name, one.location_id) for one in found.values()]


def test_streams_have_the_number_in_their_name():
    found = arrange(_streams("cam10", "cam2", "line1", "camera", "cam007", "cam1x"), [], [])
    assert _told(found) == [(2, "cam2", "cam2", 2), (10, "cam10", "cam10", 10)]


def test_streams_have_their_place_in_the_list_that_is_given():
    found = arrange(_streams("cam0", "line1"), [], ["line1", "later", "cam0"])
    assert _told(found) == [(0, "line1", "line1", 0), (2, "cam0", "cam0", 2)]


def test_a_stream_has_the_place_and_the_model_of_its_device():
    found = arrange(_streams("cam0"), [_device(5, model="IMX477", stream="cam0")], [])
    assert _told(found) == [(0, "cam0", "IMX477", 5)]
    assert found[0].device is not None


def test_a_device_without_a_stream_has_its_location_as_index():
    found = arrange(_streams("cam0"), [_device(3, model="B"), _device(1, model="A")], [])
    assert _told(found) == [(0, "cam0", "cam0", 0), (1, "cam1", "A", 1), (3, "cam3", "B", 3)]
    assert found[1].entry is None


def test_an_index_and_a_place_are_given_once():
    found = arrange(_streams("cam0"), [_device(0, model="A"), _device(1, model="A")], [])
    assert _told(found) == [(0, "cam0", "cam0", 1000), (1, "cam1", "A", 0), (2, "cam2", "A-1", 1)]


def test_a_name_that_is_given_and_has_no_stream_yet_gets_a_device():
    found = arrange(_streams("front"), [_device(1, model="A")], ["front", "back"])
    assert _told(found) == [(0, "front", "front", 0), (1, "back", "A", 1)]


def test_a_device_that_was_unplugged_is_no_camera_but_its_stream_is():
    assert arrange({}, [_device(0, present=False)], []) == {}
    found = arrange(_streams("cam4"), [_device(0, model="A", stream="cam4", present=False)], [])
    assert _told(found) == [(4, "cam4", "A", 0)]
