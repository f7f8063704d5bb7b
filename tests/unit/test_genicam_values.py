"""What a camera's feature takes, what a picture becomes, when it was taken: without a camera."""

import numpy as np
import pytest

from schemas.errors import InvalidValue, Unavailable
from schemas.pictures import ControlValue
from schemas.resources import StreamSpec
from services.capture.genicam import aravis_library
from services.capture.genicam.backends import backend
from services.capture.genicam.camera import Buffer, Feature, Found
from services.capture.genicam.device_clock import DeviceClock
from services.capture.genicam.pixel_formats import BY_CODE, FORMATS, choose, known_format
from services.capture.genicam.unpacking import Unpacker
from services.capture.genicam.values import check_value
from services.capture.settings import CaptureSettings
from services.capture.sources.genicam import GenicamSource
from tests.support.packing import packed

EXPOSURE = Feature(name="ExposureTime", kind="float", minimum=10.0, maximum=1e7, unit="us")
WIDTH = Feature(name="Width", kind="integer", minimum=16, maximum=2048, increment=16)
GAIN_AUTO = Feature(name="GainAuto", kind="enumeration", entries=("Off", "Once"))


@pytest.mark.parametrize(
    ("feature", "value", "fix"),
    [
        (EXPOSURE, -5, "use 10 to 10000000 us"),
        (EXPOSURE, "long", "use 10 to 10000000 us"),
        (EXPOSURE, True, "use 10 to 10000000 us"),
        (EXPOSURE, float("nan"), "use 10 to 10000000 us"),
        (WIDTH, 100, "use 16 to 2048 in steps of 16"),
        (WIDTH, 2064, "use 16 to 2048 in steps of 16"),
        (WIDTH, 32.5, "use 16 to 2048 in steps of 16"),
        (GAIN_AUTO, "Sometimes", "use one of Off, Once"),
        (GAIN_AUTO, 1, "use one of Off, Once"),
        (Feature(name="ReverseX", kind="boolean"), 1, "use true or false"),
        (Feature(name="TriggerSoftware", kind="command"), False, "this is a command; use true"),
        (Feature(name="SensorWidth", kind="integer", writable=False), 5, "the camera does not let this be set"),
        (Feature(name="Offset", kind="integer", minimum=0), -1, "a whole number, 0 at least"),
        (Feature(name="Offset", kind="integer"), 2**64 + 5, "use a whole number"),
        (Feature(name="Offset", kind="integer"), float("inf"), "use a whole number"),
        (Feature(name="Gain", kind="float"), 10**400, "use a number"),
        (Feature(name="UserID", kind="string"), "a\0b", "leave the NUL character out"),
    ],
)
def test_a_bad_value_names_the_field_and_the_fix(feature: Feature, value: ControlValue, fix: str) -> None:
    with pytest.raises(InvalidValue, match=r"^controls\.X ") as caught:
        check_value(feature, "controls.X", value)
    assert fix in str(caught.value)


def test_values_get_the_type_of_the_feature() -> None:
    taken = check_value(EXPOSURE, "f", 20)
    assert (taken, type(taken)) == (20.0, float)
    taken = check_value(WIDTH, "f", 640.0)
    assert (taken, type(taken)) == (640, int)
    assert check_value(GAIN_AUTO, "f", "Once") == "Once"


@pytest.mark.parametrize("name", ["00:11:1C:f0:0a:bc", "00-11-1c-F0-0A-BC", "0123", "acme corp-eye-0123", "192.0.2.7"])
def test_a_camera_has_several_names(name: str) -> None:
    found = Found(location="00:11:1c:f0:0a:bc", vendor="ACME Corp", model="Eye", serial="0123", address="192.0.2.7")
    assert found.is_called(name)
    assert not found.is_called(name + "4")


@pytest.mark.parametrize(
    "source",
    [
        "genicam://",
        "genicam:///x",
        "genicam://?",
        "genicam://a?b=c",
        "genicam://a/b",
        "genicam://u:p@a",
        "genicam://a%0Ab",
    ],
)
def test_a_source_names_one_camera(source: str) -> None:
    with pytest.raises(InvalidValue, match=r"^source .*write genicam:// and the camera's serial number"):
        GenicamSource.check(StreamSpec(stream="a", source=source))


def test_a_depth_that_a_format_does_not_have() -> None:
    with pytest.raises(InvalidValue, match=r"^bit_depth 8: gray12le has 12 bits"):
        GenicamSource.check(StreamSpec(stream="a", source="genicam://a", pixel_format="gray12le", bit_depth=8))


def test_a_library_that_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aravis_library, "_LIBRARY", "libaravis-0.0.so.0")
    aravis_library.aravis.cache_clear()
    with pytest.raises(Unavailable, match=r"install libaravis \(Debian: apt install libaravis-0\.8-0\), or harvesters"):
        aravis_library.aravis()
    with pytest.raises(Unavailable, match="install libaravis"):
        backend(CaptureSettings())


# -- pictures ------------------------------------------------------------------------------------------------


def buffer(name: str, data: bytes, width: int, height: int, padding: int = 0) -> Buffer:
    known = known_format(name)
    assert known is not None
    return Buffer(
        data=np.frombuffer(data, np.uint8),
        width=width,
        height=height,
        pixel_format=known.code,
        complete=True,
        frame_id=1,
        device_ns=0,
        arrived_ns=0,
        row_padding_bytes=padding,
    )


@pytest.mark.parametrize(
    "name", ["Mono10p", "Mono12p", "Mono10Packed", "Mono12Packed", "BayerRG12p", "BayerGB10Packed"]
)
def test_packed_samples_come_out_as_they_went_in(name: str) -> None:
    known = known_format(name)
    assert known is not None
    rng = np.random.default_rng(7)
    samples = rng.integers(0, 1 << known.bits, (6, 10))
    image = Unpacker(known).image(buffer(name, packed(name, samples.reshape(-1).tolist()), 10, 6))
    assert image is not None
    np.testing.assert_array_equal(image, samples << known.shift)


def test_an_odd_number_of_packed_samples() -> None:
    known = known_format("Mono12p")
    assert known is not None
    image = Unpacker(known).image(buffer("Mono12p", packed("Mono12p", [1, 2, 4095]), 3, 1))
    assert image is not None
    assert image.tolist() == [[1, 2, 4095]]


def test_depths_without_a_format_of_their_own_fill_16_bits() -> None:
    for name, full in (("Mono14", 0x3FFF), ("BayerRG10", 0x3FF), ("BayerBG12", 0xFFF)):
        known = known_format(name)
        assert known is not None
        image = Unpacker(known).image(buffer(name, np.array([0, full], "<u2").tobytes(), 2, 1))
        assert image is not None
        assert image[0, 0] == 0
        assert image[0, 1] >> (16 - known.bits) == full


def test_whole_bytes_are_not_copied() -> None:
    known = known_format("RGB8")
    assert known is not None
    sent = buffer("RGB8", bytes(range(18)), 3, 2)
    image = Unpacker(known).image(sent)
    assert image is not None
    assert image.shape == (2, 3, 3)
    assert np.shares_memory(image, sent.data)


def test_padding_of_rows_is_left_out() -> None:
    known = known_format("Mono8")
    assert known is not None
    image = Unpacker(known).image(buffer("Mono8", b"abXXcdXX", 2, 2, padding=2))
    assert image is not None
    assert image.tobytes() == b"abcd"


def test_a_buffer_that_is_too_short_is_no_picture() -> None:
    for name in ("Mono8", "Mono12p", "RGB8", "Mono16"):
        known = known_format(name)
        assert known is not None
        assert Unpacker(known).image(buffer(name, b"123", 4, 2)) is None
        assert Unpacker(known).image(buffer(name, b"123", 4, 2, padding=1)) is None


@pytest.mark.parametrize("size", [(-4, 2), (4, -2), (0, 2), (-4, -2)])
@pytest.mark.parametrize("padding", [0, 2])
def test_a_size_that_is_none_is_no_picture(size: tuple[int, int], padding: int) -> None:
    known = known_format("Mono8")
    assert known is not None
    assert Unpacker(known).image(buffer("Mono8", b"12345678", *size, padding=padding)) is None


def test_codes_say_how_many_bits_a_pixel_has() -> None:
    assert len(BY_CODE) == len(FORMATS)
    for known in FORMATS:
        of_pixel = (known.code >> 16) & 0xFF
        colours = {"rgb24": 3, "bgr24": 3, "yuyv422": 2, "uyvy422": 2}.get(known.becomes, 1)
        container = known.bits if known.packing == "p" else 12 if known.packing == "packed" else -(-known.bits // 8) * 8
        assert of_pixel == colours * container, known.name


@pytest.mark.parametrize(
    ("wanted", "depth", "chosen"),
    [
        (None, None, "Mono8"),
        ("gray", None, "Mono8"),
        ("gray12le", None, "Mono12p"),
        (None, 12, "Mono12p"),
        (None, 16, None),
        ("bayer_rggb16le", None, "BayerRG12"),
        ("bayer_rggb16le", 10, "BayerRG10"),
        ("yuv420p", None, "Mono8"),  # it will do, and is what the camera was set to
        ("rgb24", None, None),
    ],
)
def test_the_cameras_format_for_what_is_asked(wanted: str | None, depth: int | None, chosen: str | None) -> None:
    has = ("Mono8", "Mono12p", "BayerRG8", "BayerRG10", "BayerRG12", "Confidence8")
    assert choose(has, "Mono8", wanted, depth) == chosen  # type: ignore[arg-type]


# -- time ----------------------------------------------------------------------------------------------------

MS = 1_000_000


def test_the_quickest_arrival_sets_the_clock() -> None:
    clock = DeviceClock()
    late_ms = (5, 2, 9, 0, 7)
    at = [clock.realtime(index * 100 * MS, 10**18 + (index * 100 + late) * MS) for index, late in enumerate(late_ms)]
    # After the quickest the distances are the camera's own.
    assert at[4] - at[3] == 100 * MS
    assert at[3] == 10**18 + 300 * MS
    assert all(
        taken <= 10**18 + (index * 100 + late) * MS for index, (taken, late) in enumerate(zip(at, late_ms, strict=True))
    )


def test_a_clock_that_drifts_is_followed() -> None:
    clock = DeviceClock()
    for second in range(120):
        arrived_ns = 10**18 + second * 1_000_000_000
        device_ns = second * (1_000_000_000 - 50_000)  # 50 ppm slow: 6 ms after 2 minutes
        taken_ns = clock.realtime(device_ns, arrived_ns)
        assert abs(taken_ns - arrived_ns) <= 1 * MS


def test_a_clock_that_is_set_anew() -> None:
    clock = DeviceClock()
    clock.realtime(50_000_000_000, 10**18)
    assert clock.realtime(0, 10**18 + 40 * MS) == 10**18 + 40 * MS
