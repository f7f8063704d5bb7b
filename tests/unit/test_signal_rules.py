"""Rules: what they are about, what they do, how often, and that they do not go round in circles."""

import asyncio
import contextlib
import time
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.errors import BadRequest, Conflict, InvalidValue
from schemas.events import Event
from schemas.moments import TakenPicture
from schemas.rule_checks import pattern_of
from schemas.signal_resources import Action, RuleSpec
from services.io_signal.rules.causes import MAX_CHAIN, chain_of, is_loop, why_of
from services.io_signal.rules.commands import check_commands
from services.io_signal.rules.limits import Limits
from services.io_signal.rules.loops import check_loops
from services.io_signal.rules.matching import has_fields, read_event, subject_of
from services.io_signal.rules.planning import Planned, picture_of, plan
from services.io_signal.rules.runner import dry_run, refuse
from services.io_signal.rules.snapshots import Snapshots
from services.io_signal.rules.templates import fill

AT_NS = 1_777_888_999_123_456_789


def event(service: str = "io-signal", resource: str = "di1", name: str = "edge", **fields: Any) -> Event:
    return Event(service=service, id=resource, event=name, node="edge", at_ns=AT_NS, **fields)


def rule(*do: Action, name: str = "reject", when: str = "io-signal.di1.edge", **fields: Any) -> RuleSpec:
    return RuleSpec(rule=name, when=when, do=do or (Action(signal="do1"),), **fields)


def planned(spec: RuleSpec, of: Event) -> list[Planned]:
    return plan(spec, of, (spec.rule,), lambda stream: f"node-of-{stream}", AT_NS + 250_000_000)


def commands(spec: RuleSpec, of: Event) -> list[tuple[str, dict[str, Any]]]:
    return [(one.command, one.given) for item in planned(spec, of) for one in item.commands]


# -- what a rule is about ------------------------------------------------------------------------------------------


def test_a_pattern_is_three_parts_or_the_whole_subject() -> None:
    assert pattern_of("mesh.v1.evt.app.line1.ng") == pattern_of("app.line1.ng") == ("app", "line1", "ng")
    assert subject_of("publisher.cam0--archive.*") == "mesh.v1.evt.publisher.cam0--archive.*"
    assert subject_of("*.*.ng") == "mesh.v1.evt.*.*.ng"


@pytest.mark.parametrize("when", ["", "a.b", "a.b.c.d", "a.b.>", "A.b.c", "a..c", "a.b c.d", "a--b.c.d", "$SYS.a.b"])
def test_what_is_no_pattern(when: str) -> None:
    with pytest.raises(InvalidValue, match=r"write <service>\.<id>\.<event>"):
        pattern_of(when)


def test_fields_of_the_detail_decide() -> None:
    found = event(state="failed", detail={"value": True, "count": 1, "none": None})
    assert has_fields({"value": True, "count": 1}, found)
    assert has_fields({"state": "failed", "node": "edge", "none": None}, found)
    assert not has_fields({"count": True}, found), "1 is not true"
    assert not has_fields({"missing": None}, found)


def test_what_programs_post_is_an_event_with_that_detail() -> None:
    found = read_event("mesh.v1.evt.app.line1.ng", b'{"score": 0.9}')
    assert (found.service, found.id, found.event, found.detail) == ("app", "line1", "ng", {"score": 0.9})
    assert read_event("mesh.v1.evt.app.line1.ng", b"").detail == {}
    whole = msgspec.structs.replace(event(detail={"value": 1}), at_ns=time.time_ns())
    assert read_event("mesh.v1.evt.io-signal.di1.edge", msgspec.json.encode(whole)) == whole
    of_another_year = read_event("mesh.v1.evt.io-signal.di1.edge", msgspec.json.encode(event()))
    assert abs(of_another_year.at_ns - time.time_ns()) < 10_000_000_000


_DEEP = b'{"x":' + b"[" * 100 + b"]" * 100 + b"}"


@pytest.mark.parametrize(
    "data",
    [
        b"[1]",
        b"nonsense",
        b"\xff\xfe",
        b'"x"',
        b"[" * 90_000,
        b"x" * 300_000,
        _DEEP,
        b'{"service":"app","id":"line1","event":"ng","node":"n","at_ns":1,"detail":' + _DEEP + b"}",
    ],
)
def test_what_is_no_event_is_refused(data: bytes) -> None:
    with pytest.raises(BadRequest):
        read_event("mesh.v1.evt.app.line1.ng", data)


def test_many_brackets_are_not_deep() -> None:
    data = b'{"text": "' + b"[" * 100 + b'", "boxes": [' + b",".join([b"[1, 2, {}]"] * 100) + b"]}"
    assert len(read_event("mesh.v1.evt.app.line1.ng", data).detail["boxes"]) == 100


# -- templates -----------------------------------------------------------------------------------------------------


def test_templates_take_values_with_their_type() -> None:
    fields = msgspec.to_builtins(event(detail={"value": 7, "name": "a b", "deep": {"x": None}}))
    given = {"n": "{event.detail.value}", "t": ["{event.id}: {event.detail.name}!"], "b": "{stream}-{start:%Y}", "i": 3}
    assert fill(given, fields, "given") == {"n": 7, "t": ["di1: a b!"], "b": "{stream}-{start:%Y}", "i": 3}
    assert fill("<{event.detail.deep.x}>", fields, "given") == "<>"


@pytest.mark.parametrize(
    "text", ["{event.detail.other}", "x{event.detail.value.real}", "{event.detail.__class__}", "a{event.detail}"]
)
def test_templates_reach_nothing_but_the_events_own_fields(text: str) -> None:
    with pytest.raises(InvalidValue):
        fill({"a": text}, msgspec.to_builtins(event(detail={"value": 7})), "given")


def test_a_filled_template_is_not_filled_again() -> None:
    fields = msgspec.to_builtins(event(detail={"a": "{event.detail.b}", "b": "secret"}))
    assert fill("-{event.detail.a}-", fields, "given") == "-{event.detail.b}-"


def test_an_error_does_not_name_all_that_an_event_holds() -> None:
    fields = msgspec.to_builtins(event(detail={f"{number}-{'x' * 1_000}": 1 for number in range(1_000)}))
    with pytest.raises(InvalidValue, match="the event does not have it; there is 0-x") as refused:
        fill("{event.detail.a}", fields, "given")
    assert len(refused.value.message) < 2_000


def test_a_text_does_not_grow_without_bound() -> None:
    fields = msgspec.to_builtins(event(detail={"a": "x" * 10_000}))
    with pytest.raises(InvalidValue, match="65536 are the most"):
        fill("{event.detail.a} " * 10, fields, "given")


# -- what is done --------------------------------------------------------------------------------------------------


def test_signals_are_told_who_and_why_and_about_which_picture() -> None:
    spec = rule(Action(signal="do1", pulse="200ms", type="ng"), Action(signal="do2", on=False), Action(signal="do3"))
    about = {"stream": "line1", "sequence": 42, "epoch": 3, "captured_ns": AT_NS - 5}
    told = {"by": "rule", "why": "rule reject"}
    assert commands(spec, event("app", "line1", "ng", detail={**about, "score": 1})) == [
        ("io-signal.pulse", {"signal": "do1", **told, **about, "type": "ng", "keep": "200ms"}),
        ("io-signal.off", {"signal": "do2", **told}),
        ("io-signal.on", {"signal": "do3", **told, **about}),
    ]


def test_a_joined_picture_is_named_too() -> None:
    frame = {"sequence": 9, "captured_ns": AT_NS, "dt_ns": 4}
    found = picture_of(event(detail={"stream": "line1", "epoch": 2, "frame": frame}))
    assert found == {"stream": "line1", "sequence": 9, "captured_ns": AT_NS, "epoch": 2}
    assert picture_of(event(detail={"stream": "Line 1", "sequence": 1})) == {}
    assert picture_of(event(detail={"stream": "line1", "sequence": True})) == {}


def test_pictures_and_clips_are_of_the_instant() -> None:
    spec = rule(Action(snapshot="line1"), Action(clip="line1", before="5s", after="2s", rendition="main"))
    picture, clip = commands(spec, event(detail={"at_ns": AT_NS - 1_000_000}))
    assert picture == (
        "frame-extractor.picture",
        {"stream": "line1", "at": "2026-05-04T10:03:19.122456+00:00", "wait_s": 5.0},
    )
    assert clip[0] == "publisher.node-of-line1.clip"
    assert clip[1] == {
        "stream": "line1",
        "start": "2026-05-04T10:03:14.122456+00:00",
        "end": "2026-05-04T10:03:21.122456+00:00",
        "wait_s": 0,
        "rendition": "main",
    }
    far = commands(spec, event(detail={"at_ns": 12}))
    assert far[0][1]["at"].startswith("2026-05-04T10:03:19.123456"), "a clock that is hours off is not believed"


def test_a_recording_begins_before_the_event() -> None:
    assert commands(rule(Action(record="line1", before="3s")), event()) == [
        ("publisher.start-recording", {"stream": "line1", "preroll": "3250ms"}),
        ("publisher.stop-recording", {"stream": "line1"}),
    ]


def test_any_command_and_what_cannot_be_given() -> None:
    spec = rule(
        Action(command="io-signal.io-send", given={"text": "{event.detail.value}", "file": "/run/io/x"}),
        Action(command="capture.cam0.restart"),
        Action(command="capture.stop", given={"stream": "{event.detail.stream}"}),
    )
    first, second, third = (item.commands[0] for item in planned(spec, event(detail={"value": "go"})))
    assert first.given == {"by": "rule", "why": "rule reject", "text": "go", "file": "/run/io/x"}
    assert (second.command, second.given, second.error) == ("capture.cam0.restart", {}, None)
    assert third.error is not None
    assert third.error.code == 400
    assert (
        "do.2.given.stream '{event.detail.stream}': the event does not have it; there is value" in third.error.message
    )


def test_nobody_else_is_said_to_give_the_command_and_its_rules_stay_known() -> None:
    given = {"signal": "do1", "by": "the boss", "why": "{event.detail.part}"}
    spec = rule(Action(command="io-signal.on", given=given))
    [(_, told)] = commands(spec, event(detail={"part": "part 7: \nrules a > b"}))
    assert (told["by"], told["why"]) == ("rule", "rule reject: part 7: \nrules a > b")
    assert chain_of(event(name="changed", detail=told)) == ("reject",)
    [(_, told)] = commands(spec, event(detail={"part": "x" * 1_000}))
    assert len(told["why"]) == 512


@pytest.mark.parametrize(
    "command",
    ["io-signal.edge.local-io-send", "io-signal.edge.local-off-mode", "webrtc-gateway.edge.give-way", "io-signal.plus"],
)
def test_what_services_ask_one_another_for_is_no_command_of_rules(command: str) -> None:
    with pytest.raises(InvalidValue, match=r"do\.1\.command '.*': no such command; there are "):
        check_commands(rule(Action(signal="do1"), Action(command=command)))


def test_what_people_may_command_rules_may() -> None:
    for command in ("hw-encode.cam0--main.keyframe", "io-signal.do1.pulse", "io-signal.off-mode", "capture.start"):
        check_commands(rule(Action(command=command)))


def test_a_dry_run_says_why_not() -> None:
    def tested(spec: RuleSpec, of: Event) -> tuple[bool, str, int]:
        found = dry_run(spec, of, None, lambda _: "edge")
        return found.acts, found.reason, len(found.commands)

    spec = rule(Action(signal="do1"), Action(record="cam0"), where={"value": True})
    assert tested(spec, event(detail={"value": True})) == (True, "", 3)
    assert tested(spec, event(detail={"value": False})) == (False, "where", 0)
    assert tested(spec, event(name="other")) == (False, "when", 0)
    assert tested(msgspec.structs.replace(spec, enabled=False), event(detail={"value": True})) == (False, "disabled", 0)
    assert tested(spec, event(detail={"value": True, "cause": ["a", "reject"]})) == (False, "loop", 0)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
_FIELDS = st.sampled_from(
    ["at_ns", "stream", "sequence", "captured_ns", "epoch", "frame", "cause", "by", "why", "value", "on"]
)


@settings(deadline=None, max_examples=300)
@given(st.integers(), st.dictionaries(_FIELDS, _JSON | st.integers() | st.just("cam0") | st.just("rule a > b")))
def test_whatever_an_event_says_it_is_planned(at_ns: int, detail: dict[str, Any]) -> None:
    spec = rule(
        Action(signal="do1"),
        Action(snapshot="cam0"),
        Action(clip="cam0"),
        Action(record="cam0"),
        Action(command="capture.stop", given={"stream": "{event.detail.stream}", "x": ["-{event.detail.value}-"]}),
    )
    found = Event(service="app", id="x", event="ng", node="edge", at_ns=at_ns, detail=detail)
    assert len(planned(spec, found)) == len(spec.do)
    assert len(why_of((*chain_of(found)[:MAX_CHAIN], "reject"))) <= 512
    with contextlib.suppress(OverflowError):  # of more than 64 bits nothing is posted
        read = read_event("mesh.v1.evt.app.x.ng", msgspec.json.encode(found))
        assert abs(read.at_ns - time.time_ns()) < 3_601 * 1_000_000_000


# -- how often -----------------------------------------------------------------------------------------------------


def test_a_cooldown_begins_with_what_is_acted_on() -> None:
    limits = Limits(2.0, 100)
    assert limits.refuse(10.0) == ""
    limits.act(10.0)
    assert [limits.refuse(now) for now in (10.1, 11.9, 12.0)] == ["cooldown", "cooldown", ""]


def test_never_more_than_so_many_in_any_minute() -> None:
    limits, acted = Limits(0.0, 30), []
    for step in range(4_000):
        now = 100.25 + step * 0.05
        if not limits.refuse(now):
            limits.act(now)
            acted.append(now)
    most = max(sum(start <= at < start + 60 for at in acted) for start in acted)
    assert most == 30
    assert len(acted) >= 90, "it acts again when a minute is over"


# -- loops ---------------------------------------------------------------------------------------------------------


def chain(name: str, when: str, do: Action, **fields: Any) -> RuleSpec:
    return rule(do, name=name, when=when, **fields)


@pytest.mark.parametrize(
    ("others", "last", "circle"),
    [
        ((), chain("a", "io-signal.do1.changed", Action(signal="do1")), "a -> a"),
        ((), chain("a", "io-signal.*.*", Action(snapshot="cam0")), "a -> a"),
        ((), chain("a", "*.*.*", Action(clip="cam0")), "a -> a"),
        ((), chain("a", "publisher.cam0.clip", Action(clip="cam0")), "a -> a"),
        ((), chain("a", "publisher.*.state", Action(record="cam0")), "a -> a"),
        ((), chain("a", "capture.cam0.state", Action(command="capture.stop", given={"stream": "cam0"})), "a -> a"),
        (
            (),
            chain("a", "capture.cam0.state", Action(command="capture.stop", given={"stream": "{event.id}"})),
            "a -> a",
        ),
        # What is on goes off again when its keep time ends.
        ((), chain("a", "io-signal.do1.changed", Action(signal="do1"), where={"on": False}), "a -> a"),
        (
            (
                chain("a", "io-signal.do3.changed", Action(signal="do1")),
                chain("b", "io-signal.do1.changed", Action(signal="do2", pulse="1s")),
            ),
            chain("c", "io-signal.do2.changed", Action(command="io-signal.on", given={"signal": "do3"})),
            "c -> a -> b -> c",
        ),
        (
            (chain("a", "io-signal.b.fired", Action(signal="do1")),),
            chain("b", "io-signal.a.fired", Action(signal="do2")),
            "b -> a -> b",
        ),
    ],
)
def test_circles_are_refused(others: tuple[RuleSpec, ...], last: RuleSpec, circle: str) -> None:
    with pytest.raises(Conflict) as refused:
        check_loops(last, others)
    assert f"in a circle: {circle};" in refused.value.message


@pytest.mark.parametrize(
    ("others", "last"),
    [
        ((), chain("a", "io-signal.do1.changed", Action(signal="do1", on=False), where={"on": True})),
        ((), chain("a", "io-signal.do1.changed", Action(signal="do2"))),
        ((), chain("a", "capture.cam0.state", Action(snapshot="cam0"))),
        ((), chain("a", "capture.cam0.state", Action(command="capture.list"))),
        ((), chain("a", "capture.cam0.state", Action(command="capture.stop", given={"stream": "cam1"}))),
        ((), chain("a", "io-signal.do1.changed", Action(command="io-signal.tcp-send", given={"message": "x"}))),
        ((), chain("a", "io-signal.*.*", Action(signal="do1"), enabled=False)),
        ((), chain("a", "io-signal.estop.edge", Action(command="io-signal.off-mode"))),
        ((), chain("a", "io-signal.di1.edge", Action(command="io-signal.stop-input", given={"input": "di2"}))),
        (
            (chain("a", "io-signal.do1.changed", Action(signal="do2"), enabled=False),),
            chain("b", "io-signal.do2.changed", Action(signal="do1")),
        ),
        # The one that is changed is not held against itself.
        (
            (chain("a", "io-signal.do2.changed", Action(signal="do1")),),
            chain("a", "io-signal.di1.edge", Action(signal="do2")),
        ),
    ],
)
def test_what_ends_is_taken(others: tuple[RuleSpec, ...], last: RuleSpec) -> None:
    check_loops(last, others)


def test_hundreds_of_rules_are_judged_in_seconds() -> None:
    many = [
        chain(f"r{number}", f"io-signal.do{number}.changed", Action(signal=f"do{number + 1}")) for number in range(256)
    ]
    began = time.process_time()
    check_loops(many[0], many[1:])
    with pytest.raises(Conflict):
        check_loops(chain("last", "io-signal.do256.changed", Action(signal="do0")), many)
    assert time.process_time() - began < 8


def test_the_chain_goes_with_the_command_and_comes_back() -> None:
    names = tuple("x" * 60 + str(number) for number in range(MAX_CHAIN + 1))
    assert len(why_of(names)) <= 512
    back = event(name="changed", detail={"on": True, "by": "rule", "why": why_of(names)})
    assert chain_of(back) == names
    assert chain_of(event(detail={"by": "rule", "why": "rule reject"})) == ("reject",)
    assert chain_of(event(detail={"by": "anna", "why": "rule reject"})) == (), "a person is no rule"
    assert chain_of(event(detail={"cause": ["a", "b"]})) == ("a", "b")
    assert chain_of(event(detail={"cause": ["a", 7, "b"]})) == ()
    assert chain_of(event(detail={"by": "rule", "why": "rules A > b"})) == ()
    assert is_loop(names, "other")
    assert not is_loop(names[:-1], "other")
    assert is_loop(("a",), "a")


def test_a_loop_is_left_out_before_it_counts_for_the_rate() -> None:
    limits = Limits(0.0, 1)
    spec = rule()
    assert refuse(spec, event(detail={"cause": ["reject"]}), limits) == "loop"
    assert refuse(spec, event(), limits) == ""


# -- picture files -------------------------------------------------------------------------------------------------


def test_the_newest_pictures_are_kept(tmp_path: Any) -> None:
    async def keep() -> list[str]:
        snapshots = Snapshots(tmp_path / "snapshots", most=3)
        taken = []
        for number in (*range(5), -1):
            picture = TakenPicture(
                stream="cam0",
                node="edge",
                origin="ring",
                captured_ns=AT_NS + number * 1_000_000_000,
                format="jpg",
                width=2,
                height=2,
                data=bytes([number % 256]),
            )
            taken.append(await snapshots.keep(picture))
        return taken

    taken = asyncio.run(keep())
    assert taken[0] == str(tmp_path / "snapshots/20260504-100319-123456-cam0.jpg")
    kept = sorted((tmp_path / "snapshots").iterdir())
    assert [str(path) for path in kept] == [taken[5], *taken[3:5]], "the one just told of is there, too"
    assert [path.read_bytes() for path in kept] == [b"\xff", b"\3", b"\4"]
