"""Where inputs are in each layout, and how tiles, stills and texts look."""

import io
import struct
import zlib

import numpy as np
import pytest
from av import VideoFrame
from PIL import Image

from schemas.errors import BadRequest, InvalidValue
from schemas.mix_resources import Box, Crop, MixInput, MixLogo, MixSpec, MixText, check_mix
from services.cloud_mix_proxy.mixer.arrangement import boxes
from services.cloud_mix_proxy.mixer.canvas import Canvas
from services.cloud_mix_proxy.mixer.colours import yuv_of
from services.cloud_mix_proxy.mixer.fade import Fade
from services.cloud_mix_proxy.mixer.layer import Fill
from services.cloud_mix_proxy.mixer.placing import Placing, place
from services.cloud_mix_proxy.mixer.rect import Rect
from services.cloud_mix_proxy.mixer.scene import Scene
from services.cloud_mix_proxy.mixer.stills import MAX_STILL_BYTES, decode
from services.cloud_mix_proxy.mixer.text import check_text, filled
from shared.media.frames import Area
from shared.pixel_formats import planes
from shared.ring import RingGeometry

pytestmark = pytest.mark.unit
GREY = "#808080"
SECOND_NS = 1_000_000_000


def box(x: int, y: int, width: int, height: int) -> Box:
    return Box(x=x, y=y, width=width, height=height)


def named(*names: str) -> tuple[MixInput, ...]:
    return tuple(MixInput(input=name, source=f"mesh://{name}") for name in names)


def colour_frame(width: int, height: int, rgb: tuple[int, int, int]) -> VideoFrame:
    image = np.broadcast_to(np.array(rgb, np.uint8), (height, width, 3))
    return VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24").reformat(format="yuv420p")


def drawn(scene: Scene, frames: dict[str, VideoFrame], now_ns: int = 0) -> np.ndarray:
    """RGB of the canvas, by libav."""
    spec = scene.spec
    width, height = (int(edge) for edge in spec.size.split("x"))
    canvas = Canvas(RingGeometry("yuv420p", width, height), Fill(yuv_of(spec.background, height)), 1)
    picture = np.zeros((height * 3 // 2, width), np.uint8)
    tiles = {name: scene.scalers[name].tile(frame) for name, frame in frames.items()}
    canvas.draw(0, picture, scene.layers(tiles, now_ns))
    return VideoFrame.from_ndarray(picture, format="yuv420p").to_ndarray(format="rgb24")


# -- places ------------------------------------------------------------------------------------------------------

PLACES = [
    ("the same shape", (1920, 1080), box(0, 0, 960, 540), "contain", Crop(), Rect(0, 0, 960, 540)),
    ("wide: above and below", (1280, 544), box(0, 0, 960, 540), "contain", Crop(), Rect(0, 66, 960, 474)),
    ("tall: beside it", (720, 1280), box(100, 50, 960, 540), "contain", Crop(), Rect(428, 50, 732, 590)),
    ("larger than it was", (64, 48), box(0, 0, 640, 640), "contain", Crop(), Rect(0, 80, 640, 560)),
    ("stretched", (64, 48), box(10, 20, 640, 640), "fill", Crop(), Rect(10, 20, 650, 660)),
    ("an odd box", (64, 64), box(11, 21, 33, 33), "contain", Crop(), Rect(10, 20, 42, 52)),
    ("before the canvas begins", (64, 64), box(-11, -3, 32, 32), "contain", Crop(), Rect(-12, -4, 20, 28)),
    ("cropped to another shape", (100, 100), box(0, 0, 100, 100), "contain", Crop(left=0.5), Rect(24, 0, 74, 100)),
]


@pytest.mark.parametrize(
    ("size", "into", "fit", "crop", "rect"), [row[1:] for row in PLACES], ids=[p[0] for p in PLACES]
)
def test_a_picture_is_placed(size: tuple[int, int], into: Box, fit: str, crop: Crop, rect: Rect) -> None:
    assert place(*size, into, fit, crop).rect == rect  # type: ignore[arg-type]


def test_what_covers_a_box_is_cut_at_its_edges() -> None:
    assert place(1920, 1080, box(0, 0, 540, 540), "cover", Crop()) == Placing(
        Area(420, 0, 1080, 1080), Rect(0, 0, 540, 540)
    )
    assert place(100, 400, box(0, 0, 200, 100), "cover", Crop()) == Placing(Area(0, 174, 100, 50), Rect(0, 0, 200, 100))
    assert place(200, 100, box(0, 0, 64, 64), "fill", Crop(left=0.25, bottom=0.5)).source == Area(50, 0, 150, 50)


# -- layouts -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", range(1, 17))
@pytest.mark.parametrize("layout", ["grid", "focus", "picture-in-picture"])
def test_every_input_has_its_place(layout: str, count: int) -> None:
    names = [f"in{number}" for number in range(count)]
    found = boxes(MixSpec(mix="wall", inputs=named(*names), layout=layout, gap=8))  # type: ignore[arg-type]
    shown = len(found)
    if layout == "focus" and count > 5:
        assert shown >= 5
    else:
        assert set(found) == set(names)
    places = [Rect(one.x, one.y, one.x + one.width, one.y + one.height) for one in found.values()]
    if layout != "picture-in-picture":
        places_apart(places)
    if layout == "grid":
        assert all(Rect(0, 0, 1920, 1080).contains(one) for one in places)


def places_apart(rects: list[Rect]) -> None:
    for number, one in enumerate(rects):
        assert all(one.meet(other) is None for other in rects[number + 1 :])


def test_a_grid_of_four_fills_the_canvas() -> None:
    assert boxes(MixSpec(mix="wall", inputs=named("a", "b", "c", "d"))) == {
        "a": box(0, 0, 960, 540), "b": box(960, 0, 960, 540), "c": box(0, 540, 960, 540), "d": box(960, 540, 960, 540),
    }  # fmt: skip


def test_the_last_row_of_a_grid_stands_in_the_middle() -> None:
    found = boxes(MixSpec(mix="wall", inputs=named("a", "b", "c")))
    assert found["c"] == box(480, 540, 960, 540)


def test_focus_is_large_whatever_its_place_in_the_list() -> None:
    spec = MixSpec(mix="wall", inputs=named("a", "b", "c"), layout="focus", focus="c")
    found = boxes(spec)
    assert found["c"] == box(0, 0, 1440, 1080)
    assert found["a"] == box(1440, 0, 480, 270)
    assert found["b"] == box(1440, 270, 480, 270)
    small = boxes(MixSpec(mix="wall", inputs=named("a", "b"), layout="picture-in-picture"))
    assert small == {"a": box(0, 0, 1920, 1080), "b": box(1413, 783, 480, 270)}


# -- what is seen ------------------------------------------------------------------------------------------------


def test_layers_boxes_and_colours() -> None:
    inputs = (
        MixInput(input="above", source="mesh://a", box=box(20, 20, 40, 40), layer=9),
        MixInput(input="below", source="mesh://b", box=box(0, 0, 100, 100), layer=1, fit="fill"),
    )
    scene = Scene(MixSpec(mix="wall", inputs=inputs, layout="free", size="128x128", background="#0000ff"), {})
    seen = drawn(scene, {"above": colour_frame(64, 64, (255, 0, 0)), "below": colour_frame(64, 64, (0, 255, 0))})
    for place_, colour in (((40, 40), (255, 0, 0)), ((10, 10), (0, 255, 0)), ((120, 120), (0, 0, 255))):
        assert np.abs(seen[place_].astype(int) - colour).max() <= 4, place_
    without = drawn(scene, {"below": colour_frame(64, 64, (0, 255, 0))})
    assert np.abs(without[40, 40].astype(int) - (0, 255, 0)).max() <= 4, "an input without a picture is not seen"


def test_rounded_corners_opacity_and_borders() -> None:
    one = MixInput(input="one", source="mesh://a", box=box(0, 0, 64, 64), radius=16, border=4, border_colour="#0000ff")
    scene = Scene(MixSpec(mix="wall", inputs=(one,), layout="free", size="64x64"), {})
    seen = drawn(scene, {"one": colour_frame(64, 64, (255, 255, 255))}).astype(int)
    assert np.abs(seen[32, 32] - 255).max() <= 3
    assert seen[1, 1].max() <= 3, "the corner is not the tile's"
    assert np.abs(seen[32, 1] - (0, 0, 255)).max() <= 12
    assert np.abs(seen[1, 32] - (0, 0, 255)).max() <= 12
    np.testing.assert_allclose(seen, seen[::-1, ::-1], atol=3)
    faint = MixInput(input="one", source="mesh://a", box=box(0, 0, 64, 64), opacity=0.25)
    seen = drawn(
        Scene(MixSpec(mix="wall", inputs=(faint,), layout="free", size="64x64"), {}),
        {"one": colour_frame(64, 64, (255, 255, 255))},
    )
    assert np.abs(seen.astype(int) - 64).max() <= 2


def png_of(image: np.ndarray) -> bytes:
    target = io.BytesIO()
    Image.fromarray(image).save(target, "PNG")
    return target.getvalue()


def test_logos_keep_their_transparency_and_their_colour_at_its_edge() -> None:
    image = np.zeros((32, 32, 4), np.uint8)
    image[:, 16:] = (255, 0, 0, 255)
    image[:, :16, 1] = 255  # green, hidden
    logo = MixLogo(source="https://logo.example/l.png", box=box(16, 16, 30, 30))
    spec = MixSpec(mix="wall", inputs=named("a"), size="64x64", logos=(logo,), background="#ffffff")
    seen = drawn(Scene(spec, {logo.source: decode(png_of(image), (64, 64))}), {}).astype(int)
    assert np.abs(seen[30, 40] - (255, 0, 0)).max() <= 6
    assert np.abs(seen[30, 20] - 255).max() <= 3
    edge = seen[30, 26:36]
    assert (edge[:, 1] <= edge[:, 0] + 6).all(), "nothing green"
    half = MixLogo(source="l", box=box(0, 0, 32, 32), opacity=0.5)
    seen = drawn(Scene(MixSpec(mix="wall", inputs=named("a"), size="32x32", logos=(half,)), {"l": image}), {})
    assert np.abs(seen[16, 26].astype(int) - (128, 0, 0)).max() <= 6


def png_claiming(width: int, height: int) -> bytes:
    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


HOSTILE = [
    (b"<html><body>404</body></html>", "not a png, jpg or webp"),
    (b"", "not a png, jpg or webp"),
    (b"GIF89a" + bytes(100), "not a png, jpg or webp"),
    (png_claiming(10_000, 10_000), "10000x10000 pixels"),
    (png_claiming(64, 64), "a broken picture"),
    (png_of(np.full((64, 64, 3), 9, np.uint8))[:80], "a broken picture"),
    (bytes(MAX_STILL_BYTES + 1), "bytes; a still picture has at most"),
]


@pytest.mark.parametrize(("data", "why"), HOSTILE, ids=[why for _, why in HOSTILE])
def test_what_is_no_picture_is_refused(data: bytes, why: str) -> None:
    with pytest.raises(BadRequest, match=why):
        decode(data, (1920, 1080))


def test_pictures_of_every_kind_are_read() -> None:
    grey16 = Image.fromarray(np.full((8, 8), 0x8080, np.uint16))
    for image, expected in (
        (grey16, (128, 128, 128)),
        (Image.new("1", (8, 8), 1), (255, 255, 255)),
        (Image.new("P", (8, 8), 0), (0, 0, 0)),
        (Image.new("LA", (8, 8), (90, 255)), (90, 90, 90, 255)),
    ):
        target = io.BytesIO()
        image.save(target, "PNG")
        assert tuple(int(value) for value in decode(target.getvalue(), (8, 8))[4, 4]) == expected
    upright = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by 90 degrees
    Image.new("RGB", (32, 16)).save(upright, "JPEG", exif=exif)
    assert decode(upright.getvalue(), (1920, 1080)).shape == (32, 16, 3)
    large = io.BytesIO()
    Image.new("RGB", (4_000, 2_000)).save(large, "JPEG")
    assert decode(large.getvalue(), (480, 270)).shape == (500, 1000, 3), "no larger than is needed"


# -- texts and fades ---------------------------------------------------------------------------------------------


def test_texts_are_filled_in_and_drawn() -> None:
    text = MixText(text="{mix} {{live}} {now:%H:%M:%S}", x=0, y=0, timezone="Asia/Tokyo", size=16, background="#ff0000")
    check_text(text, "texts.0")
    assert filled(text, "wall", 1_700_000_000 * SECOND_NS) == "wall {live} 07:13:20"
    spec = MixSpec(mix="wall", inputs=named("a"), size="256x64", texts=(text,))
    first, second = drawn(Scene(spec, {}), {}, 0), drawn(Scene(spec, {}), {}, SECOND_NS)
    assert first[:20, :100].astype(int)[..., 0].max() > 240
    assert (first != second).any(), "the clock goes"
    assert (first[40:] == second[40:]).all()


@pytest.mark.parametrize(
    "text",
    ["{index.__class__}", "{now}", "{0}", "{", "{mix:>999999999}", "{now:{mix}}", "{mix!r}", "{now.__init__:%H}"],
)
def test_texts_fill_in_nothing_else(text: str) -> None:
    with pytest.raises(InvalidValue, match=r"texts\.0\.text"):
        check_text(MixText(text=text, x=0, y=0), "texts.0")


@pytest.mark.parametrize("zone", ["Mars/Olympus", "../../etc/passwd", "", "/etc/passwd"])
def test_a_time_zone_that_there_is_not_is_refused(zone: str) -> None:
    with pytest.raises(InvalidValue, match="timezone"):
        check_text(MixText(text="{now:%H}", x=0, y=0, timezone=zone), "texts.0")


def test_a_fade_goes_from_the_former_picture_to_the_new_one() -> None:
    spec = MixSpec(mix="wall", inputs=named("a"), size="64x64", fade="1s", layout="grid")
    scene = Scene(spec, {})
    canvas = Canvas(RingGeometry("yuv420p", 64, 64), Fill(yuv_of("#000000", 64)), 1)
    white, black = (
        scene.layers({"a": scene.scalers["a"].tile(colour_frame(64, 64, rgb))}, 0) for rgb in ((255,) * 3, (0,) * 3)
    )
    fade = Fade(spec, white, canvas, 0)
    picture = np.zeros((96, 64), np.uint8)
    seen = []
    for tenth in range(11):
        fade.draw(canvas, picture, black, tenth * SECOND_NS // 10)
        seen.append(int(planes(picture, "yuv420p", 64, 64)[0].mean()))
    assert seen == sorted(seen, reverse=True)
    assert seen[0] >= 233
    assert abs(seen[5] - 125) <= 2
    assert seen[10] <= 18
    assert not fade.over(SECOND_NS - 1)
    assert fade.over(SECOND_NS)


WRONG = [
    (MixSpec(mix="wall"), "inputs"),
    (MixSpec(mix="wall", inputs=named("a", "a")), r"inputs\.1\.input"),
    (MixSpec(mix="wall", inputs=named("wall")), r"inputs\.0\.source"),
    (MixSpec(mix="wall", inputs=named("a"), layout="free"), r"inputs\.0\.box"),
    (MixSpec(mix="wall", inputs=named("a"), size="1921x1080"), "size"),
    (MixSpec(mix="wall", inputs=named("a"), focus="b"), "focus"),
    (MixSpec(mix="wall", inputs=named("a"), fade="soon"), "fade"),
    (MixSpec(mix="wall", inputs=(MixInput(input="a", source="mesh://a", crop=Crop(left=0.5, right=0.5)),)), "crop"),
]


@pytest.mark.parametrize(("spec", "field"), WRONG, ids=[field for _, field in WRONG])
def test_a_mix_that_can_never_work_is_refused(spec: MixSpec, field: str) -> None:
    with pytest.raises(InvalidValue, match=field):
        check_mix(spec)


def test_a_fade_begins_with_what_was_seen_also_in_the_midst_of_another_and_on_another_ground() -> None:
    spec = MixSpec(mix="wall", inputs=named("a"), size="64x64", fade="1s", layout="grid")
    geometry = RingGeometry("yuv420p", 64, 64)
    white, black = (Canvas(geometry, Fill(yuv_of(ground, 64)), 1) for ground in ("#ffffff", "#000000"))
    picture = np.zeros((96, 64), np.uint8)

    def level(fade: Fade, canvas: Canvas, now_ns: int) -> int:
        fade.draw(canvas, picture, {}, now_ns)
        return int(planes(picture, "yuv420p", 64, 64)[0].mean())

    first = Fade(spec, {}, white, 0)
    assert level(first, black, 0) == 235, "the former ground"
    half = level(first, black, SECOND_NS // 2)
    assert 120 <= half <= 130
    second = Fade(spec, {}, black, SECOND_NS // 2, first)
    assert abs(level(second, white, SECOND_NS // 2) - half) <= 1, "no jump"
    assert level(second, white, SECOND_NS * 3 // 2) == 235
