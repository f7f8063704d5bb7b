"""`framemesh mix`: what a command line asks for, and what it teaches."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from schemas.errors import BadRequest
from schemas.mix_resources import MixSpec
from services.cli.__main__ import _parser
from services.cli.mix import run, spec_of

pytestmark = pytest.mark.unit
BOX = {"x": 0, "y": 0, "width": 64, "height": 36}
WALL: dict[str, Any] = {
    "mix": "wall",
    "inputs": [{"input": "a", "source": "mesh://a"}, {"input": "b", "source": "mesh://b", "muted": True}],
    "focus": "b",
    "fade": "1s",
    "end_after": "2h",
    "sound": False,
    "logos": [{"source": "file://logo.png", "box": BOX}],
    "texts": [{"text": "Hall", "x": 0, "y": 0}],
}


def asked(*words: str, before: dict[str, Any] = WALL) -> MixSpec:
    return spec_of(_parser().parse_args(["mix", "update", "wall", *words]), before)


def test_what_is_not_said_stays() -> None:
    spec = asked("--layout", "focus")
    assert (spec.layout, spec.focus, spec.fade, spec.end_after, spec.sound) == ("focus", "b", "1s", "2h", False)
    assert [one.muted for one in spec.inputs] == [False, True]
    assert (len(spec.logos), len(spec.texts)) == (1, 1)


def test_everything_can_be_taken_back() -> None:
    spec = asked(
        *("--no-logos", "--no-texts", "--sound", "--unmute", "b", "--mute", "a"),
        *("--focus", "none", "--fade", "none", "--end-after", "none"),
    )
    assert (spec.logos, spec.texts, spec.sound) == ((), (), True)
    assert (spec.focus, spec.fade, spec.end_after) == (None, None, None)
    assert [one.muted for one in spec.inputs] == [True, False]


def test_inputs_of_before_keep_what_they_had_and_a_focus_that_goes_is_let_go() -> None:
    spec = asked("mesh://b", "mesh://c")
    assert [(one.input, one.muted) for one in spec.inputs] == [("b", True), ("c", False)]
    assert spec.focus == "b"
    assert asked("mesh://c").focus is None


def test_what_show_prints_can_be_given_back(tmp_path: Path) -> None:
    shown, spec = tmp_path / "shown.json", tmp_path / "spec.json"
    shown.write_text(json.dumps({"revision": 3, "spec": WALL, "actual": None}))
    spec.write_text(json.dumps(WALL))
    assert asked("-f", str(shown), before={}) == asked("-f", str(spec), before={}) == asked()


@pytest.mark.parametrize(
    ("words", "lesson"),
    [
        (["create"], "name the mix, for example: framemesh mix create wall"),
        (["create", "wall"], "framemesh mix create wall mesh://cam0 mesh://cam1"),
        (["list", "wall"], "framemesh mix show wall"),
        (["show", "wall", "mesh://a"], "mesh://a changes nothing here"),
        (["delete", "wall", "--no-logos"], "--logo changes nothing here; write framemesh mix update wall"),
        (["delete", "wall", "--end-after", "1s"], "--end-after changes nothing here"),
    ],
)
def test_a_wrong_use_is_told_before_anybody_is_asked(words: list[str], lesson: str) -> None:
    options = _parser().parse_args(["mix", *words, "--nats", "nats://127.0.0.1:1"])
    with pytest.raises(BadRequest) as refused:
        asyncio.run(run(options))
    assert lesson in str(refused.value)


@pytest.mark.parametrize(
    ("words", "lesson"),
    [
        (["--size", "big"], "size 'big'"),
        (["--size", "641x360"], "WIDTHxHEIGHT, even"),
        (["--fps", "0.5"], "fps 0.5: use 1 to 240"),
        (["--logo", "logo.png"], "SOURCE@X,Y,W,H, for example"),
        (["--text", "Hall"], "TEXT@X,Y, for example"),
        (["--gain", "a"], "INPUT=DECIBELS, for example"),
        (["--mute", "c"], "name one of the inputs: a, b"),
        (["--focus", "c"], "name one of the inputs: a, b"),
        (["--background", "red"], "background"),
        (["--fade", "soon"], "fade 'soon'"),
        (["-f", "/nowhere.json"], "No such file"),
    ],
)
def test_a_wrong_value_is_told_with_its_field_and_the_fix(words: list[str], lesson: str) -> None:
    with pytest.raises((BadRequest, LookupError)) as refused:
        asked(*words)
    assert lesson in str(refused.value)
