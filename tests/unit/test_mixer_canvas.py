"""The canvas: what is drawn bit by bit is what would be drawn anew, and layers look as they should."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.cloud_mix_proxy.mixer.canvas import Canvas
from services.cloud_mix_proxy.mixer.layer import OPAQUE, Alpha, Fill, Layer, Part, blend
from services.cloud_mix_proxy.mixer.rect import Rect
from shared.pixel_formats import planes
from shared.ring import RingGeometry

pytestmark = pytest.mark.unit
WIDTH, HEIGHT = 64, 48
BACKGROUND = (16, 128, 128)


def make_canvas(slots: int = 3) -> Canvas:
    return Canvas(RingGeometry("yuv420p", WIDTH, HEIGHT), Fill(BACKGROUND), slots)


def empty() -> np.ndarray:
    return np.full((HEIGHT * 3 // 2, WIDTH), 77, np.uint8)


def flat(width: int, height: int, values: tuple[int, int, int]) -> list[np.ndarray]:
    shapes = ((height, width), (height // 2, width // 2), (height // 2, width // 2))
    return [np.full(shape, value, np.uint8) for shape, value in zip(shapes, values, strict=True)]


def even(low: int, high: int) -> st.SearchStrategy[int]:
    return st.integers(low // 2, high // 2).map(lambda half: 2 * half)


def evenly(opacity: float) -> Alpha:
    weights = np.full((1, 1), round(opacity * OPAQUE), np.uint16)
    return Alpha(weights, weights)


@st.composite
def a_layer(draw: st.DrawFn) -> Layer:
    width, height = draw(even(2, WIDTH)), draw(even(2, HEIGHT))
    values = draw(st.tuples(*[st.integers(0, 255)] * 3))
    opacity = draw(st.sampled_from((1.0, 0.5, 0.1)))
    parts = None if opacity == 1.0 else [Part(Rect(0, 0, width, height), evenly(opacity))]
    return Layer(flat(width, height, values), draw(even(-20, WIDTH)), draw(even(-20, HEIGHT)), parts)


NAMES = ("a", "b", "c", "d")
SCENES = st.lists(st.dictionaries(st.sampled_from(NAMES), a_layer(), max_size=4), min_size=2, max_size=6)


@settings(max_examples=60, deadline=None)
@given(SCENES, st.data())
def test_only_what_changed_is_drawn_and_it_looks_as_drawn_anew(
    scenes: list[dict[str, Layer]], data: st.DataObject
) -> None:
    canvas = make_canvas()
    slots = [empty() for _ in range(3)]
    kept: dict[str, Layer] = {}
    for scene in scenes:
        # Mostly the layers of before stay: that is what is not to be drawn again.
        kept = scene if data.draw(st.booleans()) else {**kept, **scene}
        slot = data.draw(st.integers(0, 2))
        canvas.draw(slot, slots[slot], kept)
        anew = empty()
        make_canvas().draw(0, anew, kept)
        np.testing.assert_array_equal(slots[slot], anew)


def test_nothing_is_drawn_where_nothing_changed() -> None:
    canvas, picture = make_canvas(), empty()
    still, moving = Layer(flat(32, 48, (50, 60, 70)), 0, 0), Layer(flat(32, 24, (90, 100, 110)), 32, 0)
    canvas.draw("slot", picture, {"still": still, "moving": moving})
    assert canvas.drawn_pixels == WIDTH * HEIGHT
    canvas.draw("slot", picture, {"still": still, "moving": moving})
    assert canvas.drawn_pixels == WIDTH * HEIGHT
    canvas.draw("slot", picture, {"still": still, "moving": Layer(flat(32, 24, (1, 2, 3)), 32, 0)})
    assert canvas.drawn_pixels == WIDTH * HEIGHT + 32 * 24
    canvas.forget("slot")
    canvas.draw("slot", picture, {"still": still})
    assert canvas.drawn_pixels == 2 * WIDTH * HEIGHT + 32 * 24


def test_a_logo_over_a_still_picture_stays_as_it_is() -> None:
    """Blended again and again over itself it would become opaque."""
    canvas, picture = make_canvas(), empty()
    alpha = evenly(0.5)
    below = Layer(flat(WIDTH, HEIGHT, (100, 128, 128)), 0, 0)
    logo = Layer(flat(16, 16, (200, 128, 128)), 8, 8, [Part(Rect(0, 0, 16, 16), alpha)])
    for number in range(5):
        clock = Layer(flat(4, 4, (number, 128, 128)), 12, 12)  # above it something that changes
        canvas.draw("slot", picture, {"below": below, "logo": logo, "clock": clock})
        luma = planes(picture, "yuv420p", WIDTH, HEIGHT)[0]
        assert luma[9, 9] == 150
        assert luma[13, 13] == number
        assert luma[0, 0] == 100


def test_a_layer_beyond_the_edge_is_cut_off_and_one_outside_is_not_drawn() -> None:
    canvas, picture = make_canvas(), empty()
    ramp = np.arange(32 * 32, dtype=np.uint16).reshape(32, 32).astype(np.uint8)
    gradient = [ramp, *flat(32, 32, (0, 5, 6))[1:]]
    canvas.draw(0, picture, {"over": Layer(gradient, 48, -16), "outside": Layer(flat(8, 8, (255, 0, 0)), 64, 0)})
    luma, blue, red = planes(picture, "yuv420p", WIDTH, HEIGHT)
    np.testing.assert_array_equal(luma[:16, 48:], gradient[0][16:, :16])
    assert (luma[16:] == BACKGROUND[0]).all()
    assert (luma[:, :48] == BACKGROUND[0]).all()
    assert (blue[:8, 24:] == 5).all()
    assert (red[8:] == BACKGROUND[2]).all()


def test_blending_is_exact_to_half_a_level() -> None:
    below, above = (plane.astype(np.uint8) for plane in np.meshgrid(np.arange(256), np.arange(256)))
    for weight in (0, 1, 127, 128, 255, 256):
        target = below.copy()
        blend(target, above, np.full((1, 1), weight, np.uint16))
        true = (below.astype(np.float64) * (256 - weight) + above.astype(np.float64) * weight) / 256
        assert np.abs(target - true).max() <= 0.5


def test_parts_of_which_nothing_is_listed_are_invisible() -> None:
    canvas, picture = make_canvas(), empty()
    weights = np.zeros((8, 8), np.uint16)
    weights[:, :4] = 256
    part = Part(Rect(8, 8, 16, 16), Alpha(weights, weights[::2, ::2]))
    canvas.draw(0, picture, {"logo": Layer(flat(32, 32, (235, 128, 128)), 0, 0, [part])})
    luma = planes(picture, "yuv420p", WIDTH, HEIGHT)[0]
    seen = np.zeros((HEIGHT, WIDTH), bool)
    seen[8:16, 8:12] = True
    assert (luma[seen] == 235).all()
    assert (luma[~seen] == BACKGROUND[0]).all()


def test_slots_that_are_gone_are_forgotten() -> None:
    canvas = make_canvas(slots=2)
    layer = {"all": Layer(flat(WIDTH, HEIGHT, (1, 2, 3)), 0, 0)}
    for slot in ("first", "second", "third", "first"):
        canvas.draw(slot, empty(), layer)
    assert canvas.drawn_pixels == 4 * WIDTH * HEIGHT
