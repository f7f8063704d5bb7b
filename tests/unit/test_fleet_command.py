"""What `framemesh fleet` makes of its words."""

import argparse
from typing import Any

import pytest

from schemas.errors import BadRequest
from schemas.fleet import FleetList, FleetMember, LogLine
from services.cli import fleet
from services.cli.fleet_text import describe_fleet, describe_lines


def asked(*words: str) -> list[Any]:
    parser = argparse.ArgumentParser()
    fleet.add_arguments(parser)
    return fleet._requests(parser.parse_args(words))


def test_what_is_asked() -> None:
    (scale, other) = asked("scale", "capture=4", "frame-extractor=2", "--wait", "3")
    assert (scale.service, scale.instances, scale.wait_s) == ("capture", 4, 3.0)
    assert (other.service, other.instances) == ("frame-extractor", 2)
    assert "@" in scale.by
    (one,) = asked("restart", "hw-encode-2")
    assert (one.service, one.instance) == ("hw-encode", 2)
    (every,) = asked("restart", "hw-encode")
    assert (every.service, every.instance) == ("hw-encode", None)
    (logs,) = asked("logs", "capture", "--tail", "7")
    assert (logs.service, logs.instance, logs.tail) == ("capture", None, 7)
    assert asked("stop", "--all")[0].all
    assert asked("ps")[0].service is None
    assert asked("start")[0].service is None


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("stop",), "name a service, or say --all"),
        (("stop", "capture", "--all"), "name a service, or say --all"),
        (("ps", "capture", "publisher"), "at most one"),
        (("logs",), "exactly one"),
        (("restart",), "name one"),
        (("restart", "--all"), "--all: restart does not take it"),
        (("scale", "capture"), "SERVICE 'capture': say how many, as in capture=4"),
        (("scale", "capture=many"), "SERVICE 'capture=many': say how many"),
        (("scale", "capture=65"), "fleet scale: "),
        (("restart", "Capture"), "fleet restart: "),
        (("logs", "capture", "--tail", "100000"), "at `tail"),
        (("start", "capture", "--wait", "-1"), "at `wait_s"),
    ],
)
def test_words_that_it_does_not_take(words: tuple[str, ...], said: str) -> None:
    with pytest.raises(BadRequest) as refused:
        asked(*words)
    assert said in refused.value.message


def test_how_it_is_shown() -> None:
    second = FleetMember(
        service="capture",
        instance=2,
        node="edge",
        backend="processes",
        state="running",
        health="not-ready",
        detail="no \x1b[2Jbus",
        pid=17,
        rss_bytes=72_000_000,
    )
    lines = describe_fleet([FleetList(node="edge", backend="processes", members=(second,))]).splitlines()
    assert lines[1].split() == ["capture-2", "edge", "running", "not-ready", "17", "-", "0", "0%", "72", "MB", "-"]
    assert lines[-1] == "  capture-2: no ?[2Jbus", "a stranger's text does not command the terminal"
    assert describe_lines("capture", [LogLine(instance=1, text="live\x07")]) == ["capture | live?"]
    assert describe_fleet([]) == "nothing runs"
