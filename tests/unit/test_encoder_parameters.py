"""The parameter string of SOPHON's encoders, as fields of a rendition."""

import pytest

from schemas.encoder_parameters import apply_parameters, parse_parameters
from schemas.encoding import check_encoding
from schemas.errors import InvalidValue
from schemas.resources import RenditionSpec
from schemas.units import parse_duration

pytestmark = pytest.mark.unit

_WHOLE = "width=1920:height=1080:gop=32:gop_preset=3:framerate=25:bitrate=2000"


def test_the_usual_string_becomes_typed_fields() -> None:
    fields = apply_parameters(RenditionSpec(stream="cam0"), _WHOLE)
    seconds = parse_duration(fields.pop("key_interval"))
    assert 31 / 25 < seconds < 32 / 25  # the 32nd picture is due, the 31st is not
    assert fields == {"size": "1920x1080", "fps": 25.0, "b_frames": 0, "bitrate": "2000k"}


@pytest.mark.parametrize(("text", "pictures"), [("gop=30:framerate=29.97", 30), ("gop=50", 50), ("gop=1", 1)])
def test_a_gop_is_so_many_pictures(text: str, pictures: int) -> None:
    parameters = parse_parameters(text)
    picture_seconds = 1 / (parameters.framerate or 25)
    interval = parse_duration(parameters.fields()["key_interval"])
    assert (pictures - 1) * picture_seconds < interval < pictures * picture_seconds


def test_a_gop_goes_by_the_rate_that_the_rendition_has() -> None:
    fields = apply_parameters(RenditionSpec(stream="cam0", fps=50.0), "gop=50")
    assert 49 / 50 < parse_duration(fields["key_interval"]) < 1


@pytest.mark.parametrize(
    ("preset", "b_frames"), [(1, 0), (2, 0), (3, 0), (4, 1), (5, 3), (6, 0), (7, 0), (8, 7)]
)  # fmt: skip
def test_a_gop_preset_is_its_b_frames(preset: int, b_frames: int) -> None:
    assert parse_parameters(f"gop_preset={preset}").fields()["b_frames"] == b_frames


def test_all_intra_has_no_interval_a_picture_could_fit_in() -> None:
    interval = parse_parameters("gop=32:gop_preset=1:framerate=240").fields()["key_interval"]
    assert parse_duration(interval) < 1 / 240


def test_qp_makes_bitrate_void() -> None:
    fields = parse_parameters("bitrate=2000:qp=30").fields()
    assert fields == {"rate_control": "qp", "quality": 30}
    check_encoding(RenditionSpec(stream="cam0", **fields))


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("width", "parameters 'width': write key=value"),
        ("", "parameters '': write key=value"),
        ("gop=32::qp=30", "parameters '': write key=value"),
        ("=5", "parameters '=5': write key=value"),
        ("gob=32", "parameters 'gob': no such key; use width, height, framerate"),
        ("gop=many", "parameters.gop 'many': write a whole number from 1 to 36000 pictures"),
        ("gop=0", "parameters.gop '0'"),
        ("gop=-1", "parameters.gop '-1'"),
        ("gop=٣", "parameters.gop"),
        ("gop=" + "9" * 5000, "parameters.gop '9999"),
        ("gop=3:gop=3", "parameters.gop '3': it is '3' already; write it once"),
        ("width=1920", "parameters.width '1920': give height as well"),
        ("height=1080", "parameters.height '1080': give width as well"),
        ("width=641:height=480", "parameters.width '641': write a whole number from 2 to 16384 pixels, even"),
        ("framerate=nan", "parameters.framerate 'nan': write pictures per second, above 0, to 240"),
        ("framerate=fast", "parameters.framerate 'fast'"),
        ("framerate=0", "parameters.framerate '0'"),
        ("gop_preset=9", "parameters.gop_preset '9': write a whole number from 1 to 8"),
        ("bitrate=1", "parameters.bitrate '1': write a whole number from 16 to 400000 kbit/s"),
        ("qp=52", "parameters.qp '52': write a whole number from 0 to 51"),
        ("preset=best", "parameters.preset 'best': use fast, medium, slow"),
        ("min_qp=20", "parameters.min_qp '20': no encoder here has this; use qp"),
        ("roi_enable=1", "parameters.roi_enable '1': no encoder here has this"),
    ],
)
def test_what_is_wrong_is_named(text: str, error: str) -> None:
    with pytest.raises(InvalidValue) as raised:
        parse_parameters(text)
    assert raised.value.message.startswith(error)
    assert len(raised.value.message) < 400


def test_a_typed_field_that_says_something_else_is_refused() -> None:
    with pytest.raises(InvalidValue, match=r"size '1280x720': parameters say '1920x1080'; give one of the two"):
        apply_parameters(RenditionSpec(stream="cam0", size="1280x720"), _WHOLE)
    agreeing = RenditionSpec(stream="cam0", size="1920x1080", codec="hevc", fit="cover")
    assert apply_parameters(agreeing, _WHOLE)["size"] == "1920x1080"
    assert apply_parameters(agreeing, "") == {}
