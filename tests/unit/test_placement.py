"""Where pictures come to lie in a rendition of another shape."""

from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from schemas.frames import FrameRef
from schemas.resources import Fit
from services.hw_encode.placement import placement
from shared.media.frames import Area

pytestmark = pytest.mark.unit

REF = FrameRef(
    stream="cam0", node="n", epoch=1, sequence=1, ring="cam0.1.ab.ring", slot=0, pixel_format="bgr24",
    width=1920, height=1080, pts_ns=0, captured_ns=0, monotonic_ns=0,
)  # fmt: skip
EDGES = st.integers(1, 3000)
EVEN = st.integers(1, 1500).map(lambda half: half * 2)


@pytest.mark.parametrize(
    ("fit", "size", "source", "target"),
    [
        ("contain", (640, 480), Area(0, 0, 1920, 1080), Area(0, 60, 640, 360)),
        ("contain", (640, 200), Area(0, 0, 1920, 1080), Area(142, 0, 356, 200)),
        ("cover", (640, 480), Area(240, 0, 1440, 1080), Area(0, 0, 640, 480)),
        ("cover", (640, 200), Area(0, 240, 1920, 600), Area(0, 0, 640, 200)),
        ("fill", (640, 480), Area(0, 0, 1920, 1080), Area(0, 0, 640, 480)),
        ("contain", (1280, 720), Area(0, 0, 1920, 1080), Area(0, 0, 1280, 720)),
        ("cover", None, Area(0, 0, 1920, 1080), Area(0, 0, 1920, 1080)),
    ],
)
def test_each_fit(fit: Fit, size: tuple[int, int] | None, source: Area, target: Area) -> None:
    place = placement(REF, size, fit)
    assert (place.source, place.target) == (source, target)
    assert place.has_bars == (target.top > 0 or target.left > 0)


@given(EDGES, EDGES, EVEN, EVEN, st.sampled_from(get_args(Fit)))
def test_every_area_lies_within_its_picture_at_an_even_place(
    source_width: int, source_height: int, width: int, height: int, fit: Fit
) -> None:
    place = placement(replace(REF, width=source_width, height=source_height), (width, height), fit)
    assert (place.width, place.height) == (width, height)
    for area, outer in ((place.source, (source_width, source_height)), (place.target, (width, height))):
        assert area.left % 2 == area.top % 2 == 0
        assert 0 <= area.left <= area.left + area.width <= outer[0]
        assert 0 <= area.top <= area.top + area.height <= outer[1]
        assert min(area.width, area.height) >= 1
    assert place.target.width % 2 == place.target.height % 2 == 0
