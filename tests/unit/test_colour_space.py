"""What a reference says of its picture's colours: from a source's frame, through the ring, to files and encoders."""

import gc
from pathlib import Path
from types import SimpleNamespace
from typing import Any, get_args

import av
import msgspec
import numpy as np
import pytest

from schemas.colours import RGB, UNSPECIFIED, ColourSpace, Matrix, Primaries, Range, Transfer, codes, colour_space
from schemas.frames import FrameRef, PixelFormat
from schemas.pictures import Mask, PictureSettings
from schemas.resources import RenditionSpec
from schemas.sampling import PictureOptions
from services.capture.shaping import Shaped, Shaper
from services.capture.v4l2.colours import driver_colours
from services.frame_extractor.live.ring_pictures import nearest_in_ring
from services.frame_extractor.pictures import make_picture
from services.hw_encode.placement import encoded_colours
from shared import pixel_formats
from shared.media.colour.facts import assumed_matrix, colour_space_of
from shared.media.frames import bgr_of
from shared.media.picture_file import encode_picture
from shared.ring import RingGeometry, RingReader, StreamWriter, kept_pictures, newest_picture
from tests.support.encoder import Bench
from tests.support.reference_pictures import opened, psnr, rgb_truth, yuv_frame

pytestmark = pytest.mark.unit

BT709 = ColourSpace(matrix="bt709", range="limited", primaries="bt709", transfer="bt709")
WIDTH, SD, HD = 96, 270, 720
# Measured: 44 dB and more; the other matrix gives 28, the other range 24.
_LEAST_DB, _LEAST_JPG_DB = 40.0, 36.0


def test_every_name_has_its_code_and_codes_without_a_name_say_nothing() -> None:
    for name in get_args(Matrix):
        assert colour_space(*codes(ColourSpace(matrix=name))).matrix == name
    for name in get_args(Primaries):
        assert colour_space(*codes(ColourSpace(primaries=name))).primaries == name
    for name in get_args(Transfer):
        assert colour_space(*codes(ColourSpace(transfer=name))).transfer == name
    for name in get_args(Range):
        assert colour_space(*codes(ColourSpace(range=name))).range == name
    assert codes(BT709) == (1, 1, 1, 1)
    assert codes(ColourSpace(matrix="rgb", transfer="arib-std-b67")) == (0, 0, 2, 18)
    assert colour_space(3, 9, 77, 255) is UNSPECIFIED


def put(writer: StreamWriter, colours: ColourSpace, **fields: Any) -> FrameRef:
    slot = writer.acquire(RingGeometry("yuv420p", 64, 48))
    assert slot is not None
    return slot.commit(pts_ns=1, captured_ns=2, monotonic_ns=3, colour_space=colours, **fields)


@pytest.mark.parametrize("delivery", ["live", "lossless"])
@pytest.mark.parametrize(
    "colours", [BT709, RGB, UNSPECIFIED, ColourSpace(range="full"), ColourSpace(transfer="smpte2084")]
)
def test_a_reference_and_the_ring_say_the_same(tmp_path: Path, delivery: Any, colours: ColourSpace) -> None:
    writer = StreamWriter(tmp_path, stream="cam0", node="n", epoch=1, delivery=delivery)
    ref = put(writer, colours, metadata={"Gain": 1.5})
    assert (ref.colour_space, ref.delivery, ref.metadata) == (colours, delivery, {"Gain": 1.5})
    ref = put(writer, colours)
    assert newest_picture(tmp_path, "cam0") == ref
    sent = msgspec.json.encode(ref)
    assert msgspec.json.decode(sent, type=FrameRef) == ref
    assert (b"colour_space" in sent) == (colours is not UNSPECIFIED)
    writer.close()


def test_what_is_not_said_goes_by_the_height() -> None:
    assert [assumed_matrix(height) for height in (2, 576, 719, 720, 2160)] == ["smpte170m"] * 3 + ["bt709"] * 2


# -- from a source's frame to the ring ---------------------------------------------------------------------------


def shaped_ref(shaped: Shaped) -> tuple[Any, FrameRef]:
    """The picture as it would lie in the ring, and what its reference would say."""
    geometry = shaped.geometry
    array = np.empty(geometry.array_shape, geometry.array_dtype)
    shaped.fill(array)
    ref = FrameRef(
        stream="cam0", node="n", epoch=1, sequence=1, ring="cam0.1.ab.ring", slot=0,
        pixel_format=geometry.pixel_format, width=geometry.width, height=geometry.height, pts_ns=0, captured_ns=0,
        monotonic_ns=0, colour_space=shaped.colour_space,
    )  # fmt: skip
    return array, ref


def source(kind: str, height: int) -> av.VideoFrame:
    truth = rgb_truth(WIDTH, height)
    if kind in ("rgb24", "bgr0", "rgba"):
        return av.VideoFrame.from_ndarray(np.round(truth * 255).astype(np.uint8), format="rgb24").reformat(format=kind)
    made = {
        "silent": lambda: yuv_frame(truth, 1 if height >= HD else 6, say=False),
        "bt709": lambda: yuv_frame(truth, 1),
        "bt601": lambda: yuv_frame(truth, 6),
        "full": lambda: yuv_frame(truth, 1, full=True),
        "deep": lambda: yuv_frame(truth, 1, bits=10),
        "deep-full": lambda: yuv_frame(truth, 6, full=True, bits=10, layout="422"),
        "bt2020": lambda: yuv_frame(truth, 9, bits=10),
    }
    return made[kind]()


SOURCES = ["silent", "bt709", "bt601", "full", "deep", "deep-full", "bt2020", "rgb24", "bgr0", "rgba"]
SHAPES: list[dict[str, Any]] = [
    {},
    {"size": "64x240"},
    {"crop": f"{WIDTH}x240+0+0"},
    {"rotate": 90},
    {"masks": (Mask(x=0.0, y=0.0, width=0.1, height=0.01),)},
    {"pixel_format": "nv12"},
    {"pixel_format": "nv12", "crop": f"{WIDTH}x240+0+0", "rotate": 180},
    {"pixel_format": "bgr24"},
    {"pixel_format": "rgb24", "size": "64x240"},
]


@pytest.mark.parametrize("height", [SD, HD])
@pytest.mark.parametrize("kind", SOURCES)
def test_every_source_however_it_is_shaped_is_read_as_it_was(kind: str, height: int) -> None:
    for shape in SHAPES:
        truth = rgb_truth(WIDTH, height)
        frame = source(kind, height)
        before = int(frame.colorspace)
        array, ref = shaped_ref(Shaper(PictureSettings(**shape)).frame(frame))
        assert int(frame.colorspace) == before, "a decoder's frame stays as it is"
        if "crop" in shape:
            truth = truth[:240]
        truth = np.rot90(truth, -shape.get("rotate", 0) // 90)
        if "size" in shape:
            truth = rgb_truth(64, 240)
        shown = bgr_of(array, ref)[..., ::-1] / 255
        inner = np.s_[20:-20, 20:-20]
        assert psnr(shown[inner], truth[inner]) > _LEAST_DB, (shape, ref.colour_space)


def test_a_cameras_array_says_what_it_is() -> None:
    rgb = np.zeros((HD, WIDTH, 3), np.uint8)
    assert Shaper(PictureSettings()).image(rgb, "rgb24").colour_space == RGB
    made = Shaper(PictureSettings(pixel_format="yuv420p", size="64x240")).image(rgb, "bgr24").colour_space
    assert (made.matrix, made.range) == ("bt709", "limited")
    drawn = np.zeros((HD * 3 // 2, WIDTH), np.uint8)
    assert Shaper(PictureSettings()).image(drawn, "yuv420p", BT709).colour_space == BT709
    small = Shaper(PictureSettings(size="64x240")).image(drawn, "yuv420p").colour_space
    assert small.matrix == "bt709", "by the height that it was made for"
    assert Shaper(PictureSettings()).image(np.zeros((48, 64), np.uint8), "gray").colour_space is UNSPECIFIED


# (colorspace, ycbcr_enc, quantization, xfer_func), and whether the last three mean anything: linux/videodev2.h
DRIVERS = {
    (0, 0, 0, 0, True): UNSPECIFIED,
    (8, 0, 0, 0, True): ColourSpace(matrix="smpte170m", range="limited", primaries="bt709", transfer="iec61966-2-1"),
    (3, 0, 0, 0, True): BT709,
    (7, 0, 0, 0, True): ColourSpace(matrix="smpte170m", range="full", primaries="bt709", transfer="iec61966-2-1"),
    (8, 2, 1, 1, True): ColourSpace(matrix="bt709", range="full", primaries="bt709", transfer="bt709"),
    (8, 2, 1, 1, False): ColourSpace(matrix="smpte170m", range="limited", primaries="bt709", transfer="iec61966-2-1"),
    (99, 77, 66, 55, True): ColourSpace(matrix="smpte170m", range="limited"),
}


@pytest.mark.parametrize(("said", "colours"), DRIVERS.items())
def test_what_drivers_say(said: tuple[int, int, int, int, bool], colours: ColourSpace) -> None:
    space, matrix, levels, transfer, known = said
    fields = {"colorspace": space, "ycbcr_enc": matrix, "quantization": levels, "xfer_func": transfer}
    assert driver_colours(SimpleNamespace(**fields, priv=0xFEEDCAFE if known else 0)) == colours
    if known:  # several planes: there is no such word
        assert driver_colours(SimpleNamespace(**fields)) == colours


# -- from the ring to files and encoders -------------------------------------------------------------------------


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("matrix", [1, 6, 9])
def test_files_of_the_ring_are_in_the_colours_that_the_reference_says(matrix: int, full: bool) -> None:
    truth = rgb_truth(WIDTH, SD)
    frame = yuv_frame(truth, matrix, full=full)
    array, space = frame.to_ndarray(), colour_space_of(frame)
    for name, least in (("jpg", _LEAST_JPG_DB), ("png", _LEAST_DB), ("webp", _LEAST_JPG_DB - 2)):
        file = encode_picture(array, "yuv420p", WIDTH, SD, name, quality=95, colour_space=space)  # type: ignore[arg-type]
        assert psnr(opened(file.data), truth) > least, name


@pytest.mark.parametrize("pixel_format", pixel_formats.ALL)
def test_pictures_are_made_in_the_rings_memory_and_leave_nothing_of_it_held(
    tmp_path: Path, pixel_format: PixelFormat
) -> None:
    geometry = RingGeometry(pixel_format, 162, 98)
    writer = StreamWriter(tmp_path, stream="cam0", node="n", epoch=1, slots=2)
    options = [{}, {"width": 100}, {"width": 101}, {"format": "png"}, {"format": "webp", "short_side": 200}]
    gc.disable()  # what only a collection lets go of keeps the writer waiting for it
    try:
        with RingReader(tmp_path, max_leases=1) as reader:
            for colours in (BT709, UNSPECIFIED) if pixel_format in pixel_formats.SUBSAMPLED else (UNSPECIFIED,):
                for given in options:
                    slot = writer.acquire(geometry)
                    assert slot is not None
                    slot.array[:] = 99
                    slot.commit(pts_ns=1, captured_ns=2, monotonic_ns=3, colour_space=colours)
                    found, _ = nearest_in_ring(tmp_path, reader, "cam0", 2)
                    assert found is not None, "the picture before is still held"
                    make_picture(found.frame(), PictureOptions(**given))  # type: ignore[arg-type]
                    found.release()
            reader.lease(kept_pictures(tmp_path, "cam0")[-1]).release()
    finally:
        gc.enable()
        writer.close()
    assert kept_pictures(tmp_path, "cam0") == []


def test_a_rendition_says_what_its_pictures_are() -> None:
    _, ref = shaped_ref(Shaper(PictureSettings()).frame(source("bt709", SD)))
    spec = RenditionSpec(stream="cam0", size="64x240")
    assert encoded_colours(spec, ref).matrix == "bt709"
    assert encoded_colours(msgspec.structs.replace(spec, codec="vp8"), ref).matrix == "smpte170m"
    assert encoded_colours(msgspec.structs.replace(spec, codec="mjpeg"), ref).range == "full"
    _, ref = shaped_ref(Shaper(PictureSettings(pixel_format="bgr24")).frame(source("silent", HD)))
    assert (encoded_colours(spec, ref).matrix, encoded_colours(spec, ref).range) == ("bt709", "limited")


# Of one colour, so that nothing is lost but by a wrong matrix or range.
_COLOUR = (40, 160, 90)
_DECODERS = {"h264": "h264", "hevc": "hevc", "vp8": "vp8", "vp9": "vp9", "av1": "libdav1d", "mjpeg": "mjpeg"}


@pytest.mark.parametrize("codec", _DECODERS)
def test_encoded_pictures_say_their_colours_and_have_them(tmp_path: Path, codec: str) -> None:
    spec = RenditionSpec(stream="cam0", codec=codec, encoder="software", bitrate="4M", preset="ultrafast")  # type: ignore[arg-type]
    bench = Bench(tmp_path, spec)
    packets = 0
    decoder = av.CodecContext.create(_DECODERS[codec], "r")
    try:
        for matrix, full in ((1, False), (1, True), (6, False)):
            truth = np.broadcast_to(np.array(_COLOUR) / 255, (240, 320, 3))
            frame = yuv_frame(truth, matrix, full=full)
            for _ in range(3):
                bench.put_array(frame.to_ndarray(), colour_space_of(frame))
                packets += 1
                bench.published.wait(packets)
            frames = [
                shown
                for payload, _ in bench.published.packets[packets - 3 : packets]
                for shown in decoder.decode(av.Packet(payload))
            ]
            newest = frames[-1]
            space = colour_space_of(newest)
            if codec not in ("vp8", "mjpeg"):
                assert (space.matrix, space.range) == ("bt709" if matrix == 1 else "smpte170m", "limited")
            newest.colorspace = 6 if codec in ("vp8", "mjpeg") else newest.colorspace
            pixel = np.frombuffer(make_picture(newest, PictureOptions(format="png")).data, np.uint8)
            assert np.abs(opened(pixel.tobytes())[100, 100] * 255 - _COLOUR).max() <= 4, (matrix, full)
        assert not bench.failures
    finally:
        bench.close()


@pytest.mark.parametrize("name", ["yaf32le", "gray32le", "rgb96le", "rgb4", "x2rgb10be", "y210be"])
def test_what_no_picture_can_be_made_of_is_named(name: str) -> None:
    for kind in ("jpg", "png", "webp"):
        with pytest.raises(ValueError, match=f"pixel format {name}: no picture"):
            make_picture(av.VideoFrame(64, 48, name), PictureOptions(format=kind))  # type: ignore[arg-type]
