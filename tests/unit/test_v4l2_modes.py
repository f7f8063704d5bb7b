"""Choosing among what a camera offers."""

from fractions import Fraction
from typing import Any

import pytest

from schemas.errors import BadRequest, InvalidValue
from schemas.pictures import PictureSettings
from services.capture.v4l2.modes import Mode, SizeRange, choose


def mode(fourcc: str, width: int, height: int, *rates: float) -> Mode:
    return Mode(fourcc, SizeRange.of(width, height), tuple(Fraction(rate).limit_denominator(1001) for rate in rates))


WEBCAM = [
    mode("MJPG", 640, 480, 30, 15),
    mode("MJPG", 1280, 720, 60, 30),
    mode("MJPG", 1920, 1080, 30),
    mode("MJPG", 3840, 2160, 30),
    mode("YUYV", 640, 480, 30, 29.97, 15),
    mode("YUYV", 1280, 720, 10),
    mode("H264", 1920, 1080, 60),
]
SENSOR = [
    mode("GREY", 4096, 3000, 23),
    mode("GREY", 1280, 1024, 60),
    mode("Y10", 1280, 1024, 60),
    mode("Y12", 1280, 1024, 30),
    mode("RGGB", 1280, 1024, 60),
]
WIDE = [
    Mode("YUYV", SizeRange((64, 64), (4096, 3072), (8, 2)), (Fraction(60), Fraction(1)), any_rate=True),
]
SILENT = [mode("YUYV", 720, 576)]


@pytest.mark.parametrize(
    ("modes", "asked", "chosen"),
    [
        (WEBCAM, {}, "1920x1080 MJPG 30"),
        (WEBCAM, {"size": "640x480"}, "640x480 YUYV 30"),
        (WEBCAM, {"size": "640x480", "fps": 15}, "640x480 YUYV 15"),
        (WEBCAM, {"size": "640x480", "fps": 29.97}, "640x480 YUYV 29.97"),
        (WEBCAM, {"size": "1280x720"}, "1280x720 MJPG 30"),
        (WEBCAM, {"size": "1280x720", "fps": 10}, "1280x720 YUYV 10"),
        (WEBCAM, {"size": "3840x2160"}, "3840x2160 MJPG 30"),
        (WEBCAM, {"fps": 60}, "1280x720 MJPG 60"),
        (WEBCAM, {"pixel_format": "bgr24"}, "1920x1080 MJPG 30"),
        (WEBCAM, {"size": "640x480", "pixel_format": "gray", "fps": 30}, "640x480 YUYV 30"),
        (WEBCAM, {"size": "640x480", "crop": "600x400+0+0"}, "1920x1080 MJPG 30"),
        (WEBCAM, {"size": "480x640", "rotate": 90}, "1920x1080 MJPG 30"),
        (WEBCAM, {"crop": "2000x2000+100+100"}, "3840x2160 MJPG 30"),
        (SENSOR, {}, "1280x1024 GREY 60"),
        (SENSOR, {"bit_depth": 12}, "1280x1024 Y12 30"),
        (SENSOR, {"pixel_format": "gray10le"}, "1280x1024 Y10 60"),
        (SENSOR, {"pixel_format": "bayer_rggb8"}, "1280x1024 RGGB 60"),
        (SENSOR, {"size": "4096x3000"}, "4096x3000 GREY 23"),
        (WIDE, {}, "1920x1080 YUYV 30"),
        (WIDE, {"size": "808x602", "fps": 12.5}, "808x602 YUYV 12.5"),
        (SILENT, {}, "720x576 YUYV None"),
        (SILENT, {"fps": 12}, "720x576 YUYV None"),
    ],
    ids=str,
)
def test_choice(modes: list[Mode], asked: dict[str, Any], chosen: str) -> None:
    choice = choose(modes, PictureSettings(**asked), "camera")
    rate = None if choice.rate is None else f"{float(choice.rate):.4g}"
    assert f"{choice} {rate}" == chosen


@pytest.mark.parametrize(
    ("modes", "asked", "text"),
    [
        (WEBCAM, {"size": "1000x1000"}, "size '1000x1000': the camera has 640x480, 1280x720, 1920x1080, 3840x2160"),
        (WEBCAM, {"size": "1280x720", "fps": 25}, "fps '25': the camera has 60, 30, 10 at 1280x720"),
        (WEBCAM, {"fps": 120}, "fps '120': the camera has"),
        (WEBCAM, {"bit_depth": 12}, "bit_depth 12: the camera has 8"),
        (SENSOR, {"bit_depth": 16}, "bit_depth 16: the camera has 8, 10, 12"),
        (SENSOR, {"size": "4096x3000", "bit_depth": 10}, "bit_depth 10: the camera has 8"),
        (SENSOR, {"bit_depth": 12, "fps": 60}, "fps '60': the camera has 30"),
        (WEBCAM, {"pixel_format": "bayer_rggb8"}, "pixel_format 'bayer_rggb8': the camera sends mjpeg, yuyv422"),
        (WEBCAM, {"crop": "4000x100+0+0"}, "crop '4000x100+0+0': the camera has 640x480"),
        (WIDE, {"size": "810x602"}, "size '810x602': the camera has 64x64 to 4096x3072, step 8x2"),
        (WIDE, {"fps": 61}, "fps '61': the camera has 60 to 1"),
    ],
    ids=str,
)
def test_what_a_camera_lacks(modes: list[Mode], asked: dict[str, Any], text: str) -> None:
    with pytest.raises(InvalidValue) as caught:
        choose(modes, PictureSettings(**asked), "camera")
    assert caught.value.message.startswith(text)


def test_a_camera_with_nothing_to_use() -> None:
    with pytest.raises(BadRequest, match="sends H264 only"):
        choose([mode("H264", 1920, 1080, 30)], PictureSettings(), "source 'v4l2:///dev/video0'")


def test_a_long_list_is_cut() -> None:
    many = [mode("YUYV", 16 * number, 16, 30) for number in range(1, 100)]
    with pytest.raises(InvalidValue, match="and 75 more"):
        choose(many, PictureSettings(size="2x2"), "camera")
