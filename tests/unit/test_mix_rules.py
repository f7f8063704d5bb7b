"""Every field, range and correction of the CloudMix API."""

import json
from typing import Any

import pytest

from services.cloud_mix_proxy.edge.body import parse_body
from services.cloud_mix_proxy.edge.refusal import Refusal
from services.cloud_mix_proxy.edge.rules import parse_create, parse_page, parse_task, parse_update
from tests.support.cloud_mix import mixed_rules

pytestmark = pytest.mark.unit
TASK = "3b1a7bb73ab6b06c"
SCENE, LAYOUT = "InputLayout.Scene", "InputLayout.Scene.Layout.0"
SOURCE, LOGO, VIDEO, AUDIO = "InputSource.0", "InputLayout.Logo.0", "Output.Video", "Output.Audio"
ABSENT = object()
URL = "https://tos.example.org/obj"


def changed(path: str, value: object, sources: int = 1) -> dict[str, Any]:
    """The example's rules with one field changed, or taken away."""
    rules = mixed_rules(sources)
    *steps, last = path.split(".")
    place: Any = rules
    for step in steps:
        place = place[int(step) if step.isdigit() else step]
    if value is ABSENT:
        del place[last]
    else:
        place[int(last) if last.isdigit() else last] = value
    return rules


def refusal(rules: object, name: object = "mixtask001") -> Refusal:
    with pytest.raises(Refusal) as refused:
        parse_create({"Name": name, "MixedRules": rules})
    assert refused.value.status == 400
    return refused.value


def test_the_example_passes_as_it_is() -> None:
    name, rules, callback_url = parse_create({"Name": "mixtask001", "MixedRules": mixed_rules()})
    assert (name, callback_url) == ("mixtask001", "https://callback.com")
    assert rules.output.url == ("push.example.com", "push2.example.com")
    assert (rules.input_source[0].id, rules.input_source[0].layer) == ("1", 1)
    assert (rules.output.video.bit_rate, rules.output.video.gop) == (8_000_000, 2)


RANGES = [
    (f"{SOURCE}.Layer", 1, 9_999),
    (f"{SCENE}.Width", 10, 2_160),
    (f"{SCENE}.Height", 10, 2_160),
    (f"{LAYOUT}.X", 0, 1_920),
    (f"{LAYOUT}.Y", 0, 1_080),
    (f"{LAYOUT}.W", 10, 2_160),
    (f"{LAYOUT}.H", 10, 2_160),
    (f"{LOGO}.Layout.X", 0, 1_920),
    (f"{LOGO}.Layout.Y", 0, 1_080),
    (f"{LOGO}.Layout.W", 10, 2_160),
    (f"{LOGO}.Layout.H", 10, 2_160),
    (f"{VIDEO}.GOP", 1, 10),
    (f"{AUDIO}.BitRate", 128_000, 320_000),
]


@pytest.mark.parametrize(("path", "lowest", "highest"), RANGES, ids=[row[0] for row in RANGES])
def test_bounds_are_allowed_and_what_lies_behind_them_is_not(path: str, lowest: int, highest: int) -> None:
    for value in (lowest, highest):
        rules = changed(path, value)
        if path == f"{SOURCE}.Layer":
            rules["InputLayout"]["Scene"]["Layout"][0]["Layer"] = value
        parse_create({"Name": "a", "MixedRules": rules})
    for value in (lowest - 1, highest + 1, float(lowest), str(lowest), True, [lowest]):
        found = refusal(changed(path, value))
        assert found.code == "InvalidParameter"
        assert path.rpartition(".")[2] in found.message, found.message


@pytest.mark.parametrize(
    ("given", "corrected"), [(-5, 1_000_000), (999_999, 1_000_000), (1_000_000, 1_000_000), (2**40, 20_000_000)]
)
def test_the_bit_rate_is_corrected(given: int, corrected: int) -> None:
    rules = parse_create({"Name": "a", "MixedRules": changed(f"{VIDEO}.BitRate", given)}).rules
    assert rules.output.video.bit_rate == corrected


@pytest.mark.parametrize(("given", "corrected"), [(0, 10), (9, 10), (10, 10), (60, 60), (61, 60), (10**9, 60)])
def test_the_frame_rate_is_corrected(given: int, corrected: int) -> None:
    rules = parse_update({"TaskID": TASK, "MixedRules": changed(f"{VIDEO}.FrameRate", given)}).rules
    assert rules.output.video.frame_rate == corrected


@pytest.mark.parametrize("path", [f"{VIDEO}.BitRate", f"{VIDEO}.FrameRate"])
def test_what_is_no_number_is_not_corrected(path: str) -> None:
    for value in ("30", 30.5, True, {}):
        assert path.rpartition(".")[2] in refusal(changed(path, value)).message


@pytest.mark.parametrize("rate", [22_000, 32_000, 44_100, 48_000])
def test_usual_sample_rates_pass(rate: int) -> None:
    parse_create({"Name": "a", "MixedRules": changed(f"{AUDIO}.SampleRate", rate)})


REQUIRED = [
    "InputSource",
    *(f"{SOURCE}.{name}" for name in ("ID", "Layer", "Type", "Url")),
    "InputLayout",
    SCENE,
    *(f"{SCENE}.{name}" for name in ("Width", "Height", "Layout")),
    *(f"{LAYOUT}.{name}" for name in ("X", "Y", "W", "H", "Layer")),
    f"{LOGO}.Url",
    f"{LOGO}.Layout",
    *(f"{LOGO}.Layout.{name}" for name in ("X", "Y", "W", "H")),
    *(f"Output.{name}" for name in ("Url", "Video", "Audio")),
    *(f"{VIDEO}.{name}" for name in ("BitRate", "FrameRate", "GOP", "Codec")),
    *(f"{AUDIO}.{name}" for name in ("BitRate", "ChannelLayout", "SampleRate")),
    "Output.Callback.Url",
    "Output",
]


@pytest.mark.parametrize("path", REQUIRED)
def test_what_must_be_there(path: str) -> None:
    for value in (ABSENT, None):
        rules = changed(path, value)
        if value is None:  # as it comes out of a body
            rules = parse_body(json.dumps(rules).encode())
        found = refusal(rules)
        assert found.code == "MissingParameter"
        assert f"`{path.rpartition('.')[2]}`" in found.message


@pytest.mark.parametrize("path", ["InputLayout.Logo", "Output.Callback"])
def test_what_may_be_left_out(path: str) -> None:
    rules = parse_create({"Name": "a", "MixedRules": changed(path, ABSENT)}).rules
    assert (rules.input_layout.logo == ()) == (path == "InputLayout.Logo")
    assert (rules.output.callback is None) == (path == "Output.Callback")


def test_what_nobody_knows_is_ignored() -> None:
    rules = changed("InputLayout.TemplateID", "t")
    rules["InputLayout"]["Logo"][0]["Layout"]["Layer"] = -7
    rules["Output"]["Video"]["Profile"] = {"a": [1]}
    parse_create({"Name": "a", "MixedRules": rules, "More": 1})


BAD = [
    ("no sources", changed("InputSource", []), "InputSource"),
    ("nine sources", mixed_rules(9), "InputSource"),
    ("five logos", changed("InputLayout.Logo", [mixed_rules()["InputLayout"]["Logo"][0]] * 5), "Logo"),
    ("nowhere to push to", changed("Output.Url", []), "Output.Url"),
    ("nine addresses", changed("Output.Url", [f"rtmp://push{n}.example.com/a/b" for n in range(9)]), "Output.Url"),
    ("one address as text", changed("Output.Url", "push.example.com"), "Output.Url"),
    ("an ID twice", changed("InputSource.1.ID", "1", 2), "InputSource[1].ID"),
    ("a layer twice", changed("InputSource.1.Layer", 1, 2), "InputSource[1].Layer"),
    ("a place twice", changed("InputLayout.Scene.Layout.1.Layer", 1, 2), "Layout[1].Layer"),
    ("a place of no source", changed(f"{LAYOUT}.Layer", 2), "Layout[0].Layer"),
    (
        "a source without place",
        changed(SCENE + ".Layout", mixed_rules()["InputLayout"]["Scene"]["Layout"], 2),
        "Layout",
    ),
    ("an empty ID", changed(f"{SOURCE}.ID", ""), "ID"),
    ("an ID that is a number", changed(f"{SOURCE}.ID", 1), "ID"),
    ("another type", changed(f"{SOURCE}.Type", "video"), "use one of live, pic, vod"),
    ("another codec", changed(f"{VIDEO}.Codec", "av1"), "use one of h264, h265"),
    ("another channel layout", changed(f"{AUDIO}.ChannelLayout", "5.1"), "use one of mono, stereo"),
    ("a sample rate of nothing", changed(f"{AUDIO}.SampleRate", 0), "SampleRate"),
    ("rules that are none", [], "MixedRules"),
    ("a list of nulls", changed("InputSource", [None]), "InputSource[0]"),
    ("an address too long", changed(f"{SOURCE}.Url", f"{URL}/{'a' * 4_096}.mp4"), "InputSource[0].Url"),
]


@pytest.mark.parametrize(("rules", "where"), [row[1:] for row in BAD], ids=[row[0] for row in BAD])
def test_what_is_refused(rules: object, where: str) -> None:
    found = refusal(rules)
    assert found.code == "InvalidParameter"
    assert where in found.message, found.message


def test_eight_of_everything_pass() -> None:
    rules = mixed_rules(8)
    rules["InputLayout"]["Logo"] *= 4
    rules["Output"]["Url"] = [f"rtmp://push{number}.example.com/live/key" for number in range(8)]
    assert len(parse_create({"Name": "a", "MixedRules": rules}).rules.input_source) == 8


def test_a_box_may_pass_the_edge_of_the_scene() -> None:
    parse_create({"Name": "a", "MixedRules": changed(f"{LAYOUT}.X", 1_920)})


ADDRESSES = [
    ("vod", f"{URL}/a.mp4", True),
    ("vod", f"{URL}/a.FLV?sign=x.png", True),
    ("vod", f"{URL}/signed", True),
    ("vod", f"{URL}/a.png", False),
    ("vod", f"{URL}/a.m3u8", False),
    ("vod", "rtmp://live.example.org/a/b", False),
    ("vod", "file:///etc/passwd", False),
    ("vod", "mesh://cam0", False),
    ("live", "rtmp://live.example.org/a/b", True),
    ("live", "rtmps://live.example.org/a/b?token=x", True),
    ("live", "http://live.example.org/a/b.flv", True),
    ("live", "http://live.example.org/a/b", True),
    ("live", "http://live.example.org/a/b.mp4", False),
    ("live", "http://live.example.org/a/b.m3u8", False),
    ("live", "rtsp://live.example.org/a", False),
    ("live", "live.example.org", False),
    ("pic", f"{URL}/a.png", True),
    ("pic", f"{URL}/a.JPG?x=1", True),
    ("pic", f"{URL}/a.jpeg", True),
    ("pic", f"{URL}/a.webp", False),
    ("pic", f"{URL}/a.mp4", False),
    ("pic", f"{URL}/a", True),
    ("pic", f"{URL}/picture.php?id=7", True),
    ("pic", f"{URL}/a.html", False),
    ("pic", "rtmp://live.example.org/a.png", False),
    ("pic", "https://tos.example.org:0/a.png", False),
    ("pic", "https:///a.png", False),
    ("pic", "https://a b/a.png", False),
]


@pytest.mark.parametrize(("kind", "url", "good"), ADDRESSES)
def test_an_address_is_what_its_type_says(kind: str, url: str, good: bool) -> None:
    rules = changed(f"{SOURCE}.Type", kind)
    rules["InputSource"][0]["Url"] = url
    if good:
        parse_create({"Name": "a", "MixedRules": rules})
    else:
        assert "MixedRules.InputSource[0].Url" in refusal(rules).message


@pytest.mark.parametrize(
    ("path", "url"),
    [
        (f"{LOGO}.Url", "ftp://a.example/b.png"),
        (f"{LOGO}.Url", f"{URL}/a.mp4"),
        ("Output.Url.1", "http://push.example.com/a"),
        ("Output.Url.1", "push example.com"),
        ("Output.Url.1", ""),
        ("Output.Url.1", "file:///tmp/a.mp4"),
        ("Output.Callback.Url", "callback.com"),
        ("Output.Callback.Url", "ftp://callback.com"),
    ],
)
def test_other_addresses(path: str, url: str) -> None:
    shown = path.replace(".0", "[0]").replace(".1", "[1]")
    assert shown in refusal(changed(path, url)).message


@pytest.mark.parametrize("name", ["a.png", "a.jpeg", "a.webp?x=1", "A.WEBP", "logo?id=7"])
def test_a_logo_may_be_what_the_mixer_reads(name: str) -> None:
    parse_create({"Name": "a", "MixedRules": changed(f"{LOGO}.Url", f"{URL}/{name}")})
    assert f"{LOGO.replace('.0', '[0]')}.Url" in refusal(changed(f"{LOGO}.Url", f"{URL}/a.gif")).message


@pytest.mark.parametrize(
    "url", ["push.example.com", "push.example.com:1936", "push.example.com/live/key", "rtmp://h/a"]
)
def test_where_to_push_to_needs_no_scheme(url: str) -> None:
    assert parse_create({"Name": "a", "MixedRules": changed("Output.Url.0", url)}).rules.output.url[0] == url


TRUSTED = [
    (f"{SOURCE}.Type", "live", "mesh://cam0", True),
    (f"{SOURCE}.Type", "live", "rtsp://admin:secret@192.168.1.7/1", True),
    (f"{SOURCE}.Type", "live", "mesh://Cam 0", False),
    (f"{SOURCE}.Type", "live", "file:///clip.mp4", False),
    (f"{SOURCE}.Type", "vod", "file:///clip.mp4", True),
    (f"{SOURCE}.Type", "pic", "file:///slate.png", True),
    (f"{SOURCE}.Type", "pic", "file:///clip.mp4", False),
]


@pytest.mark.parametrize(("field", "kind", "url", "good"), TRUSTED)
def test_where_keys_are_trusted_the_mesh_itself_can_be_mixed(field: str, kind: str, url: str, good: bool) -> None:
    rules = changed(field, kind)
    rules["InputSource"][0]["Url"] = url
    rules["Output"]["Url"] = ["file://recordings/mix.mp4", "udp://192.168.1.8:5000"]
    if good:
        parse_create({"Name": "a", "MixedRules": rules}, trusted=True)
        rules["Output"]["Url"] = ["push.example.com"]
    else:
        with pytest.raises(Refusal, match="InputSource"):
            parse_create({"Name": "a", "MixedRules": rules}, trusted=True)
    assert "MixedRules.InputSource[0].Url" in refusal(rules).message


@pytest.mark.parametrize("host", ["127.0.0.1", "10.0.0.1:8080", "[::1]", "2130706433", "0x7f.1", "169.254.169.254"])
def test_an_address_in_a_private_network_is_refused_at_once(host: str) -> None:
    """A name is judged when it is asked."""
    for path, url in (
        (f"{SOURCE}.Url", f"http://{host}/a.mp4"),
        (f"{LOGO}.Url", f"http://{host}/a.png"),
        ("Output.Url.0", f"rtmp://{host}/live/a"),
        ("Output.Url.1", host),
        ("Output.Callback.Url", f"http://{host}/"),
    ):
        rules = changed(path, url)
        message = refusal(rules).message
        assert path.replace(".0", "[0]").replace(".1", "[1]") in message
        assert "may not be reached" in message
        if "169.254" not in host:
            parse_create({"Name": "a", "MixedRules": rules}, trusted=True)


def test_a_password_is_not_said_again() -> None:
    found = refusal(changed(f"{SOURCE}.Url", "https://user:hunter22@tos.example.org/a.png"))
    assert "hunter22" not in found.message
    assert "tos.example.org" in found.message


@pytest.mark.parametrize("name", ["", "a\nb", 5, "x" * 257])
def test_names(name: object) -> None:
    assert "Name" in refusal(mixed_rules(), name).message


def test_an_update_has_no_callback() -> None:
    task, rules = parse_update({"TaskID": TASK, "MixedRules": changed("Output.Callback", {"Url": 7})})
    assert (task, rules.output.callback) == (TASK, None)


@pytest.mark.parametrize("task", ["", "x", TASK.upper(), TASK + "0", f"{TASK}\n"])
def test_what_can_be_no_task(task: str) -> None:
    with pytest.raises(Refusal, match="TaskID") as refused:
        parse_task({"TaskID": task})
    assert refused.value.code == "InvalidParameter.ErrorActiveTaskNotFound"


def test_a_task_is_text() -> None:
    with pytest.raises(Refusal, match="TaskID") as refused:
        parse_task({"TaskID": 3})
    assert refused.value.code == "InvalidParameter"
    with pytest.raises(Refusal, match="TaskID") as refused:
        parse_task({})
    assert refused.value.code == "MissingParameter"


def test_pages() -> None:
    assert parse_page({"Page": 1, "PageSize": 10}) == (1, 10)
    assert parse_page({"Page": 0, "PageSize": 100}) == (1, 100)
    for page, size in ((-1, 10), (1, 0), (1, 101), ("1", 10), (1, None)):
        with pytest.raises(Refusal, match="Page"):
            parse_page({"Page": page, "PageSize": size})
    for body in ({"Page": 1}, {"PageSize": 1}, {}):
        with pytest.raises(Refusal) as refused:
            parse_page(body)
        assert refused.value.code == "MissingParameter"


BODIES = [
    b"", b"x", b"[]", b"null", b'"a"', b"{}}", b'{"a":1,"a":2}', b"{'a':1}", b'{"a":NaN}', b"\xff\xfe{}",
    b'{"a":' + b"[" * 100_000, b'{"a":1e999}', b'{"a":' + b"9" * 40 + b"}", b'{"a":' + b"9" * 9_000 + b"}",
    b'{"a":"\\ud800"}', b"\xef\xbb\xbf{}",
]  # fmt: skip


@pytest.mark.parametrize("data", BODIES, ids=[repr(data[:12]) for data in BODIES])
def test_bodies_that_are_none(data: bytes) -> None:
    with pytest.raises(Refusal) as refused:
        parse_body(data)
    assert refused.value.code == "InvalidParameter"
    assert len(refused.value.message) < 200


def test_null_is_as_if_it_were_not_there() -> None:
    assert parse_body(b'{"a":null,"b":{"c":null},"d":[{"e":null}]}') == {"b": {}, "d": [{}]}
