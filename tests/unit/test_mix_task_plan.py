"""What a task's rules become: mix, rendition, outputs, and what can be none."""

from typing import Any

import msgspec
import pytest

from schemas.cloud_mix import MixedRules
from schemas.errors import InvalidValue
from services.cloud_mix_proxy.tasks.full_rules import FullRules, as_shown
from services.cloud_mix_proxy.tasks.plan import Limits, Plan, input_of, plan, source_names
from services.cloud_mix_proxy.tasks.push_address import push_url, shown

pytestmark = pytest.mark.unit

TASK = "3b1a7bb73ab6b06c"
LIMITS = Limits(True, 60, 72.0)


def rules(**changes: Any) -> MixedRules:
    """Rules with two sources and a logo; `changes` are dotted, as in `Output__Url`."""
    body: dict[str, Any] = {
        "InputSource": [
            {"ID": "the camera", "Layer": 2, "Type": "live", "Url": "rtmp://pull.example.com/live/cam"},
            {"ID": "1", "Layer": 1, "Type": "pic", "Url": "https://tos.example.org/back.png"},
        ],
        "InputLayout": {
            "Scene": {
                "Width": 1919,
                "Height": 1080,
                "Layout": [
                    {"X": 0, "Y": 0, "W": 1920, "H": 1080, "Layer": 1},
                    {"X": 960, "Y": 540, "W": 960, "H": 540, "Layer": 2},
                ],
            },
            "Logo": [{"Layout": {"X": 10, "Y": 20, "W": 200, "H": 100}, "Url": "https://tos.example.org/logo.png"}],
        },
        "Output": {
            "Url": ["push.example.com", "push2.example.com"],
            "Video": {"BitRate": 8_000_000, "FrameRate": 30, "GOP": 2, "Codec": "h264"},
            "Audio": {"BitRate": 320_000, "ChannelLayout": "mono", "SampleRate": 44_100},
        },
    }
    for path, value in changes.items():
        *parents, last = path.split("__")
        place = body
        for name in parents:
            place = place[name]
        place[last] = value
    return msgspec.convert(body, MixedRules)


def made(**changes: Any) -> Plan:
    return plan(TASK, rules(**changes), "edge1", LIMITS)


def test_each_source_lies_in_the_box_of_its_layer() -> None:
    mix = made().mix
    places = [(one.source[:4], one.layer, one.box and (one.box.x, one.box.y, one.box.width)) for one in mix.inputs]
    assert places == [("rtmp", 2, (960, 540, 960)), ("http", 1, (0, 0, 1920))]
    assert (mix.mix, mix.layout, mix.size, mix.fps) == (f"mix-{TASK}", "free", "1920x1080", 30.0)
    assert [(one.source[-8:], one.box.x, one.box.height) for one in mix.logos] == [("logo.png", 10, 100)]
    assert (mix.end_when_lost, mix.end_after, mix.public_only, mix.channels) == ("60s", "72h", True, 1)
    assert source_names(rules())[mix.inputs[0].input] == "the camera"


def test_a_source_keeps_its_input_when_its_place_is_another() -> None:
    assert input_of("the camera") == made().mix.inputs[0].input != input_of("the camera ")


def test_rates_and_codec_are_those_of_the_output() -> None:
    rendition = made(Output__Video={"BitRate": 1_000_000, "FrameRate": 25, "GOP": 10, "Codec": "h265"}).rendition
    assert (rendition.codec, rendition.bitrate, rendition.key_interval) == ("hevc", "1000000", "10s")
    assert (rendition.audio_bitrate, rendition.audio_sample_rate, rendition.always) == ("320000", 44_100, True)


@pytest.mark.parametrize(("asked", "had"), [(22_000, 22_050), (48_000, 48_000), (96_000, 48_000), (32_000, 32_000)])
def test_the_nearest_sample_rate_that_aac_has(asked: int, had: int) -> None:
    audio = {"BitRate": 128_000, "ChannelLayout": "stereo", "SampleRate": asked}
    assert made(Output__Audio=audio).rendition.audio_sample_rate == had


@pytest.mark.parametrize(
    ("address", "url"),
    [
        ("push.example.com", f"rtmp://push.example.com/live/{TASK}"),
        ("push.example.com:1936/", f"rtmp://push.example.com:1936/live/{TASK}"),
        ("push.example.com/app", f"rtmp://push.example.com/app/{TASK}"),
        ("push.example.com/app/key?sign=1", "rtmp://push.example.com/app/key?sign=1"),
        ("rtmps://push.example.com/app/key", "rtmps://push.example.com/app/key"),
        ("srt://push.example.com:9000?streamid=x", "srt://push.example.com:9000?streamid=x"),
    ],
)
def test_push_addresses(address: str, url: str) -> None:
    assert push_url(address, TASK, "Url", public_only=True) == url


@pytest.mark.parametrize(
    "address", ["file:///etc/passwd", "udp://239.0.0.1:5000", "gopher://x/", "two words", "rtmp://", "a\\b/c/d", ""]
)
def test_what_is_no_push_address_names_its_field(address: str) -> None:
    with pytest.raises(InvalidValue, match=r"^MixedRules\.Output\.Url\.1 "):
        plan(TASK, rules(Output__Url=["push.example.com", address or " "]), "edge1", LIMITS)


def test_who_is_not_trusted_pushes_to_no_private_network() -> None:
    assert [one.public_only for one in made().outputs] == [True, True]
    trusted = plan(TASK, rules(), "edge1", LIMITS._replace(public_only=False))
    assert [one.public_only for one in trusted.outputs] == [False, False]


def test_an_address_that_is_there_twice_is_pushed_to_once() -> None:
    outputs = made(
        Output__Url=["push.example.com", "other.example.com", f"rtmp://push.example.com/live/{TASK}"]
    ).outputs
    assert [(one.output, one.to.split("/")[2]) for one in outputs] == [
        ("out1", "push.example.com"),
        ("out2", "other.example.com"),
    ]


def test_streams_of_the_mesh_are_mixed_where_their_pictures_are() -> None:
    source = {"ID": "1", "Layer": 1, "Type": "live", "Url": "mesh://cam0"}
    place = {"X": 0, "Y": 0, "W": 10, "H": 10, "Layer": 1}
    found = made(InputSource=[source], InputLayout__Scene__Layout=[place])
    assert {found.mix.node, *(one.node for one in found.outputs)} == {None}
    assert {made().mix.node, *(one.node for one in made().outputs)} == {"edge1"}


def test_a_file_is_for_who_is_trusted() -> None:
    assert push_url("file://mix.mp4", TASK, "Url", public_only=False) == "file://mix.mp4"


def test_a_source_without_a_place_names_its_field() -> None:
    with pytest.raises(InvalidValue, match=r"InputSource\.0\.Layer 2"):
        made(InputLayout__Scene__Layout=[{"X": 0, "Y": 0, "W": 10, "H": 10, "Layer": 1}])


@pytest.mark.parametrize(
    ("address", "seen"),
    [
        ("push.example.com", "push.example.com"),
        ("push.example.com/app/key", "push.example.com/app/***"),
        ("rtmp://user:word@push.example.com/app/key", "rtmp://user:***@push.example.com/app/***"),
        ("https://hooks.example.com/x?token=abc", "https://hooks.example.com/x?token=***"),
    ],
)
def test_nothing_secret_is_shown(address: str, seen: str) -> None:
    assert shown(address) == seen
    full = FullRules(rules(Output__Url=[address]), address)
    assert as_shown(full).rules.output.url == (seen,)
    assert as_shown(full).callback_url == seen
