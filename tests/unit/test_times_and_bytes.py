"""Bytes and times as people write them."""

import pytest

from schemas.errors import InvalidValue
from schemas.units import parse_bytes, parse_time

pytestmark = pytest.mark.unit

NOW_NS = 1_700_000_000_123_456_789


@pytest.mark.parametrize(("text", "expected"), [("500M", 500_000_000), ("1.5k", 1500), ("2T", 2 * 10**12), ("7", 7)])
def test_bytes(text: str, expected: int) -> None:
    assert parse_bytes(text, "segment_bytes") == expected


@pytest.mark.parametrize("text", ["", "0", "-1", "1 M", "1MB", "many", "1e9"])
def test_bytes_that_are_none_name_their_field(text: str) -> None:
    with pytest.raises(InvalidValue, match="segment_bytes"):
        parse_bytes(text, "segment_bytes")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("now", NOW_NS),
        ("-10s", NOW_NS - 10_000_000_000),
        ("+250ms", NOW_NS + 250_000_000),
        ("1970-01-01T00:00:01Z", 1_000_000_000),
        ("1970-01-01T02:00:00.000001+02:00", 1_000),
        ("2026-05-04T10:00:00.250Z", 1_777_888_800_250_000_000),
    ],
)
def test_times(text: str, expected: int) -> None:
    assert parse_time(text, "start", NOW_NS) == expected


@pytest.mark.parametrize("text", ["", "10s", "-", "-10", "yesterday", "2026-05-04T10:00:00", "2026-13-04T10:00:00Z"])
def test_times_that_are_none_say_how_to_write_one(text: str) -> None:
    with pytest.raises(InvalidValue, match=r"start.*write now"):
        parse_time(text, "start", NOW_NS)
