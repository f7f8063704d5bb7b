"""Bridges as an operator writes them, and what may not be bridged."""

import re
from pathlib import Path

import pytest

from schemas.errors import InvalidValue
from services.webrtc_gateway.datachannels.bridge import DEFAULT_SUBJECTS, Bridge, covers, overlaps, parse_bridges
from services.webrtc_gateway.datachannels.gate import NO_RIGHTS, Rights, may_use
from services.webrtc_gateway.settings import GatewaySettings
from shared.settings import load_settings

pytestmark = pytest.mark.unit
APP = "mesh.v1.evt.app"


def test_a_bridge_as_it_is_written() -> None:
    one, two, three = parse_bridges(
        [
            "events <- mesh.v1.evt.>",
            f"click -> {APP}.{{stream}}.click 5/s 1k",
            f"#chat <-> {APP}.chat.said 0.5/s binary",
        ]
    )
    assert one == Bridge("events", "mesh.v1.evt.>", to_viewer=True, from_viewer=False)
    assert (two.to_viewer, two.from_viewer, two.per_second, two.message_bytes, two.binary) == (
        False,
        True,
        5,
        1000,
        False,
    )
    assert two.subject_of("cam0") == f"{APP}.cam0.click"
    assert (three.label, three.to_viewer, three.from_viewer, three.per_second, three.binary) == (
        "#chat",
        True,
        True,
        0.5,
        True,
    )


def test_from_the_environment() -> None:
    text = f"events <- mesh.v1.evt.>, chat <-> {APP}.chat.said 20/s 4k"
    settings = load_settings(GatewaySettings, "webrtc-gateway", {"FRAMEMESH_WEBRTC_GATEWAY_BRIDGES": text})
    assert [bridge.label for bridge in parse_bridges(settings.bridges, settings.bridge_subjects)] == ["events", "chat"]
    assert parse_bridges(GatewaySettings().bridges, GatewaySettings().bridge_subjects) == ()


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("chat=mesh.v1.evt.app.chat.said", "write LABEL"),
        ("chat <- ", "write LABEL"),
        ("chat <- mesh.v1.evt.> 20/min", "write LABEL"),
        ("ch/at <- mesh.v1.evt.>", "a label has"),
        (f"{'l' * 65} <- mesh.v1.evt.>", "a label has"),
        ("latency <- mesh.v1.evt.>", "gateway's own"),
        ("a <- mesh..evt", "is no subject"),
        ("a <- mesh.>.evt", "is no subject"),
        ("a <- mesh.v1.evt.{node}", "is no subject"),
        ("a <- >", "starts with a name"),
        ("a <- *.v1.evt.x", "starts with a name"),
        ("a <- {stream}.x", "starts with a name"),
        ("a <- _INBOX.>", "starts with a name"),
        ("a <- $KV.mesh_secrets.>", "is no subject"),
        (f"a -> {APP}.*.click", r"without \* and >"),
        (f"a <-> {APP}.>", r"without \* and >"),
        (f"a -> {APP}.x.y 0/s", "rate"),
        (f"a -> {APP}.x.y 1M", "at most"),
        ("a -> mesh.v1.evt.capture.cam0.lost", "may not be written"),
        ("a <- mesh.v1.cmd.capture.start", "may not be read"),
        ("a -> mesh.v1.cmd.capture.{stream}.snapshot", "may not be written"),
        ("a <- mesh.v1.packets.cam0.>", "may not be read"),
        ("a <- mesh.>", "may not be read"),
        ("a <- plant.press", "may not be read"),
    ],
)
def test_what_may_not_be(text: str, why: str) -> None:
    with pytest.raises(InvalidValue, match=why) as raised:
        parse_bridges([text])
    assert "FRAMEMESH_WEBRTC_GATEWAY_BRIDGE" in str(raised.value)


def test_an_operator_may_allow_more_and_commands_by_name_only() -> None:
    parse_bridges(["a -> plant.press.{stream}", "b <- plant.>"], [*DEFAULT_SUBJECTS, "plant.>"])
    parse_bridges(["a -> mesh.v1.evt.capture.cam0.lost"], ["mesh.v1.evt.capture.*.*"])
    command = "a -> mesh.v1.cmd.io-signal.{stream}.pulse"
    for wide in ("mesh.>", "mesh.v1.>"):
        with pytest.raises(InvalidValue, match="may not be written"):
            parse_bridges([command], [wide])
    parse_bridges([command], ["mesh.v1.cmd.io-signal.*.pulse"])
    with pytest.raises(InvalidValue, match="may not be read"):
        parse_bridges(["a <- mesh.>"], ["mesh.>"])
    with pytest.raises(InvalidValue, match="BRIDGE_SUBJECTS"):
        parse_bridges([], ["$KV.>"])


def test_what_the_document_shows() -> None:
    text = (Path(__file__).parents[2] / "docs" / "datachannels.md").read_text()
    rows = re.findall(r"^\| `([^`]+)` \|", text, re.MULTILINE)
    assert len(parse_bridges(rows)) == len(rows) >= 5
    (setting,) = re.findall(r"FRAMEMESH_WEBRTC_GATEWAY_BRIDGES='([^']+)'", text)
    assert len(parse_bridges(setting.split(", "))) == 2


def test_one_label_is_one_bridge() -> None:
    with pytest.raises(InvalidValue, match="there already"):
        parse_bridges(["a <- mesh.v1.evt.>", f"a -> {APP}.x.y"])


@pytest.mark.parametrize(
    ("text", "nothing", "all_streams", "control", "everything"),
    [
        (f"a <- {APP}.{{stream}}.said", True, True, True, True),
        ("a <- mesh.v1.evt.>", False, True, False, True),
        (f"a -> {APP}.{{stream}}.click", False, False, True, True),
        (f"a <-> {APP}.chat.said", False, False, False, True),
    ],
)
def test_who_may_use_a_bridge(text: str, nothing: bool, all_streams: bool, control: bool, everything: bool) -> None:
    (bridge,) = parse_bridges([text])
    assert may_use(NO_RIGHTS, bridge) is nothing
    assert may_use(Rights(all_streams=True), bridge) is all_streams
    assert may_use(Rights(control=True), bridge) is control
    assert may_use(Rights(control=True, all_streams=True), bridge) is everything


@pytest.mark.parametrize(
    ("pattern", "subject", "covered", "shared"),
    [
        ("a.b", "a.b", True, True),
        ("a.b", "a.c", False, False),
        ("a.*", "a.b", True, True),
        ("a.*", "a.b.c", False, False),
        ("a.>", "a.b.c", True, True),
        ("a.>", "a", False, False),
        ("a.b", "a.*", False, True),
        ("a.*.c", "a.>", False, True),
        ("a.>", "a.>", True, True),
        ("a.b.c", "a.b", False, False),
        ("a.x.c", "a.{stream}.c", False, True),
    ],
)
def test_patterns(pattern: str, subject: str, covered: bool, shared: bool) -> None:
    assert covers(pattern, subject) is covered
    assert overlaps(pattern, subject) is shared
