"""What a mirror's entries say is read once each, and again when they change."""

import msgspec

from schemas.resources import StreamSpec
from shared.bus import Entry, Mirror
from shared.state import Readings


class _Entries(Mirror):
    """A copy of no bucket."""

    def __init__(self, **entries: bytes) -> None:
        self.entries = {key: Entry(key, value, 1) for key, value in entries.items()}


class _Other(msgspec.Struct):
    stream: str


def test_read_once_and_again_after_a_change() -> None:
    mirror = _Entries(a=b'{"stream":"cam0","source":"test://"}', bad=b"{")
    readings = Readings(mirror)
    first = readings.get("a", StreamSpec)
    assert first is not None
    assert readings.get("a", StreamSpec) is first, "not read again"
    mirror.entries["a"] = Entry("a", b'{"stream":"cam1","source":"test://"}', 2)
    second = readings.get("a", StreamSpec)
    assert second is not None
    assert second.stream == "cam1", "also where nobody said that it changed"
    other = readings.get("a", _Other)
    assert isinstance(other, _Other)
    assert readings.get("bad", StreamSpec) is None
    assert readings.get("none", StreamSpec) is None
    del mirror.entries["a"]
    readings.forget("a")
    assert readings.get("a", StreamSpec) is None
    assert "a" not in readings._read, "what is gone is kept by nobody"
