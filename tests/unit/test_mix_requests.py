"""Mixes before any of them runs: how they are written, what is refused at once, when they end by themselves."""

import argparse
from typing import Any

import pytest

from schemas.errors import BadRequest, InvalidValue
from schemas.mesh_file import plan_from_mapping
from schemas.mix_file import input_name, mix_from_mapping
from schemas.mix_resources import Box, MixInput, MixLogo, MixSpec
from schemas.resources import StreamSpec
from services.capture.sources import check_source
from services.capture.sources.mix import MixSource
from services.cli import mix as mix_command
from services.cloud_mix_proxy.mixes.endings import Endings
from services.cloud_mix_proxy.mixes.layout import ReadyLayout
from services.cloud_mix_proxy.mixes.sources import check_sources, kind_of, stream_of
from services.cloud_mix_proxy.mixes.stills import StillFile

BOX = Box(x=0, y=0, width=100, height=50)
NS = 1_000_000_000


def spec(*sources: str, **fields: Any) -> MixSpec:
    inputs = tuple(MixInput(input=f"in{number}", source=source) for number, source in enumerate(sources))
    return MixSpec(**{"mix": "wall", "inputs": inputs, **fields})


@pytest.mark.parametrize(
    ("source", "kind"),
    [
        ("mesh://cam0", "stream"),
        ("file://logo.png", "still"),
        ("file:///pictures/a.JPEG", "still"),
        ("https://host/logo.webp?size=2", "still"),
        ("https://host/a%2Epng", "still"),
        ("https://host.png/", "made"),
        ("https://host.png", "made"),
        ("https://host/clip.mp4?poster=x.png", "made"),
        ("rtsp://user:secret@camera/1", "made"),
        ("http://[::1/x.png", "made"),
    ],
)
def test_an_address_tells_what_it_leads_to(source: str, kind: str) -> None:
    assert kind_of(MixInput(input="a", source=source)) == kind
    assert kind_of(MixInput(input="a", source=source, still=True)) == ("stream" if kind == "stream" else "still")


def test_whose_pictures_an_input_is() -> None:
    names = [stream_of("wall", one) for one in spec("mesh://cam0", "file://a.png", "rtsp://camera/1").inputs]
    assert names == ["cam0", None, "wall-in2"]


@pytest.mark.parametrize(
    ("wrong", "path"),
    [
        (spec("cam0"), "inputs.0.source"),
        (spec("mesh://Cam 0"), "inputs.0.source"),
        (spec("mesh://a", "app://"), "inputs.1.source"),
        (spec("whip://"), "inputs.0.source"),
        (spec("mesh://wall"), "inputs.0.source"),
        (spec("mesh://a", logos=(MixLogo(source="file://a.gif", box=BOX),)), "logos.0.source"),
        (spec("mesh://a", logos=(MixLogo(source="https://u:p4ssword@host/clip.mp4", box=BOX),)), "logos.0.source"),
        (spec("rtsp://camera/1", mix="m" * 62), "inputs.0.input"),
        (spec("mesh://a", logos=(MixLogo(source="rtsp://camera/1", box=BOX),)), "logos.0.source"),
        (spec(inputs=(MixInput(input="a", source="mesh://a", still=True),)), "inputs.0.still"),
        (spec(), "inputs"),
    ],
)
def test_what_can_never_work_is_refused_at_once(wrong: MixSpec, path: str) -> None:
    with pytest.raises(InvalidValue) as refused:
        check_sources(wrong)
    assert refused.value.field.startswith(path)
    assert "p4ssword" not in refused.value.message


def test_a_layout_knows_its_streams() -> None:
    mix = spec("mesh://cam0", "file://a.png", "rtsp://camera/1", sound=False, public_only=True, fps=25)
    layout = ReadyLayout(mix, 7, {"file://a.png": StillFile("d1", b"picture")})
    assert layout.streams() == {"in0": "cam0", "in2": "wall-in2"}
    made = layout.stream_specs("edge1")
    assert set(made) == {"wall", "wall-in2"}
    assert made["wall"].source == "mix://?fps=25&sample_rate=48000&channels=0"
    assert made["wall-in2"].public_only
    assert {one.made_for for one in made.values()} == {"wall"}
    assert [still.digest for still in layout.files()] == ["d1"]
    assert layout.files(frozenset({"d1"})) == []
    assert layout.message().stills == {"file://a.png": "d1"}


# -- capture's side ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "source", ["file://a.mp4", "test://", "v4l2:///dev/video0", "udp://:5000", "srt://h:1", "app://"]
)
def test_public_only_leaves_nothing_of_this_machine(source: str) -> None:
    with pytest.raises(InvalidValue, match="public_only"):
        check_source(StreamSpec(stream="cam0", source=source, public_only=True))


@pytest.mark.parametrize(
    ("query", "word"), [("fps=0", "fps"), ("channels=3", "channels"), ("sample_rate=1", "sample_rate"), ("x=1", "x")]
)
def test_the_query_of_a_mix_is_checked(query: str, word: str) -> None:
    with pytest.raises(InvalidValue, match=word):
        check_source(StreamSpec(stream="wall", source=f"mix://?{query}"))


def test_capture_does_nothing_to_the_pictures_of_a_mix() -> None:
    with pytest.raises(InvalidValue, match="the mix makes these pictures itself"):
        MixSource.check(StreamSpec(stream="wall", source="mix://", rotate=90))


# -- how they are written --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("mesh://cam0", "cam0"),
        ("file://bunny.mp4", "bunny"),
        ("file:///clips/Big Buck (1).mp4", "big-buck-1"),
        ("rtsp://user:pw@camera.local/stream1", "stream1"),
        ("rtsp://user:pw@camera.local", "camera"),
        ("rtmp://h/ä", "input-3"),
        ("http://[::1", "input-3"),
        ("https://host/" + "x" * 80 + ".mp4", "x" * 24),
    ],
)
def test_an_input_without_a_name_gets_one(source: str, name: str) -> None:
    assert input_name(source, 2) == name


def test_inputs_may_be_sources_alone() -> None:
    mix = mix_from_mapping(
        "wall", {"inputs": ["mesh://a", "mesh://a", {"source": "mesh://b", "muted": True}]}, "mixes.wall"
    )
    assert [(one.input, one.source, one.muted) for one in mix.inputs] == [
        ("a", "mesh://a", False),
        ("a-2", "mesh://a", False),
        ("b", "mesh://b", True),
    ]


def test_a_mix_in_a_file_has_outputs_like_a_stream() -> None:
    plan = plan_from_mapping(
        {
            "streams": {"a": "test://"},
            "mixes": {"wall": {"inputs": ["mesh://a"], "outputs": {"rec": "file://w.mp4"}, "renditions": {"main": {}}}},
        }
    )
    assert [mix.mix for mix in plan.mixes] == ["wall"]
    assert [(one.stream, one.output) for one in plan.outputs] == [("wall", "rec")]
    assert [(one.stream, one.rendition) for one in plan.renditions] == [("wall", "main")]


def asked(*arguments: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    mix_command.add_arguments(parser)
    return parser.parse_args(arguments)


def test_the_command_line_says_a_whole_mix() -> None:
    options = asked(
        "create", "wall", "mesh://a", "mesh://b", "--layout", "focus", "--focus", "b", "--size", "1280x720",
        "--logo", "file://l.png@1,2,30,40", "--text", "Hall 3 @ noon@5,6", "--mute", "a", "--gain", "b=-6",
        "--on-loss", "slate", "--end-when-lost", "60s",
    )  # fmt: skip
    mix = mix_command.spec_of(options, {})
    assert (mix.layout, mix.focus, mix.size, mix.end_when_lost) == ("focus", "b", "1280x720", "60s")
    assert mix.logos == (MixLogo(source="file://l.png", box=Box(x=1, y=2, width=30, height=40)),)
    assert (mix.texts[0].text, mix.texts[0].x, mix.texts[0].y) == ("Hall 3 @ noon", 5, 6)
    assert [(one.muted, one.gain_db, one.on_loss) for one in mix.inputs] == [(True, 0, "slate"), (False, -6, "slate")]


def test_an_update_says_only_what_changes() -> None:
    before = {"inputs": [{"input": "one", "source": "mesh://a", "gain_db": -3}], "focus": "one", "layout": "focus"}
    kept = mix_command.spec_of(asked("update", "wall", "--gap", "4"), before)
    assert (kept.layout, kept.gap, kept.inputs[0].gain_db) == ("focus", 4, -3)
    swapped = mix_command.spec_of(asked("update", "wall", "mesh://b", "mesh://a"), before)
    assert [(one.input, one.gain_db) for one in swapped.inputs] == [("b", 0), ("one", -3)]
    gone = mix_command.spec_of(asked("update", "wall", "mesh://b"), before)
    assert gone.focus is None


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (("create", "wall"), "inputs"),
        (("create", "wall", "mesh://a", "--logo", "x.png"), "--logo"),
        (("create", "wall", "mesh://a", "--text", "x"), "--text"),
        (("create", "wall", "mesh://a", "--mute", "b"), "--mute"),
        (("create", "wall", "mesh://a", "--gain", "a"), "--gain"),
        (("create", "wall", "mesh://a", "--size", "3x3"), "size"),
        (("create", "Wall", "mesh://a"), "mix.mix"),
    ],
)
def test_the_command_line_names_what_is_wrong(arguments: tuple[str, ...], word: str) -> None:
    with pytest.raises(BadRequest, match=word):
        mix_command.spec_of(asked(*arguments), {})


# -- the end -----------------------------------------------------------------------------------------------------------


def test_a_mix_ends_when_all_inputs_are_lost_for_so_long() -> None:
    endings = Endings()
    endings.begin(spec("mesh://a", end_when_lost="60s"), 5 * NS)
    assert endings.reason(live=False, now_ns=0, now=100.0) is None
    assert endings.reason(live=False, now_ns=0, now=159.9) is None
    assert endings.reason(live=True, now_ns=0, now=159.95) is None
    assert endings.reason(live=False, now_ns=0, now=170.0) is None
    reason = endings.reason(live=False, now_ns=0, now=230.0)
    assert reason is not None
    assert "end_when_lost" in reason.message


def test_a_mix_ends_after_its_time_whenever_the_service_began() -> None:
    endings = Endings()
    endings.begin(spec("mesh://a", end_after="2h"), 0)
    assert endings.reason(live=True, now_ns=10**19, now=0.0) is None, "it was not seen yet"
    endings.started_ns = 1_000 * NS
    assert endings.reason(live=True, now_ns=8_199 * NS, now=0.0) is None
    reason = endings.reason(live=True, now_ns=8_200 * NS, now=0.0)
    assert reason is not None
    assert "end_after" in reason.message


def test_without_rules_nothing_ends() -> None:
    endings = Endings()
    endings.begin(spec("mesh://a"), NS)
    assert endings.reason(live=False, now_ns=0, now=0.0) is None
    assert endings.reason(live=False, now_ns=10**19, now=1e9) is None
