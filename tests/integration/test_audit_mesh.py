"""Who commanded what, and what came of it: one running mesh, asked as people ask it."""

import json
import shutil
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from schemas.events import Event
from schemas.extraction import SubmitJob, Submitted
from schemas.sampling import Sampling
from schemas.subjects import AUDIT_STREAM, EVENTS_STREAM, all_audits, all_events
from schemas.trace import TraceContext
from shared.bus import Bus
from shared.cause import begin, doing
from tests.support.collector import Collector
from tests.support.mesh import CallFailed, RunningMesh, bunny

pytestmark = [pytest.mark.integration, pytest.mark.timeout(90)]

SECRET, KEY = "hunter2secret", "KEY-4711"
TRACE, SPAN = "ab" * 16, "cd" * 8
SECOND_TRACE, THIRD_TRACE = "12" * 16, "34" * 16


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    with Collector() as running:
        yield running


@pytest.fixture(scope="module")
def devices(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("io")


@pytest.fixture(scope="module")
def mesh(collector: Collector, devices: Path) -> Iterator[RunningMesh]:
    environment = {
        "FRAMEMESH_LOG": "json",
        "FRAMEMESH_OTLP_ENDPOINT": collector.url,
        "FRAMEMESH_IO_SIGNAL_FILE_ROOTS": str(devices),
    }
    with RunningMesh(environment=environment) as running:
        yield running


def over_http(mesh: RunningMesh, command: str, **request: Any) -> None:
    url = f"{mesh.console.rstrip('/')}/api/cmd/{command}"
    headers = {"Content-Type": "application/json", "traceparent": f"00-{TRACE}-{SPAN}-01"}
    with urllib.request.urlopen(urllib.request.Request(url, json.dumps(request).encode(), headers)) as answer:
        assert answer.status == 200


def kept(mesh: RunningMesh) -> list[dict[str, Any]]:
    """Without a process for each look."""

    async def read(bus: Bus) -> list[dict[str, Any]]:
        return [json.loads(message.data) async for _, message in bus.kept_since(AUDIT_STREAM, all_audits(), 0)]

    found: list[dict[str, Any]] = mesh.ask(read)
    return found


def lines(mesh: RunningMesh, *arguments: str) -> list[dict[str, Any]]:
    told = mesh.run("audit", "--json", *arguments)
    assert told.returncode == 0, told.stderr
    return [json.loads(line) for line in told.stdout.splitlines()]


def test_commands_are_told_of_with_their_stories_and_without_their_secrets(mesh: RunningMesh) -> None:
    source = "test://?size=640x360"
    over_http(mesh, "capture.start", stream="cam1", source=source)
    started = mesh.run("call", "capture.start", json.dumps({"stream": "cam0", "source": source}))
    assert started.returncode == 0, started.stderr
    with pytest.raises(CallFailed, match="404"):
        mesh.call("publisher.start", stream="none", output="a", to=f"rtmp://u:{SECRET}@127.0.0.1:1/app/{KEY}", wait_s=1)
    mesh.call("capture.stop", stream="cam0")

    mesh.wait_for(lambda: len(kept(mesh)) >= 5, what="the audit")
    found = lines(mesh)
    by_verb = {(one["service"], one["verb"], one.get("resource")): one for one in found}
    call = by_verb["capture", "start", "cam0"]
    assert "@" in call["actor"]
    assert not call.get("actor_verified")
    assert call["request"]["source"] == source
    door, behind = by_verb["webrtc-gateway", "start", "cam1"], by_verb["capture", "start", "cam1"]
    assert door["trace_id"] == behind["trace_id"] == TRACE
    assert door["parent_id"] == SPAN
    assert behind["parent_id"] == door["span_id"]
    refused = by_verb["publisher", "start", "none--a"]
    assert refused["code"] == 404
    text = json.dumps(found) + mesh.log.read_text()
    assert SECRET not in text
    assert KEY not in text
    of_publisher = lines(mesh, "--refused", "--service", "publisher")
    assert [(one["service"], one["code"]) for one in of_publisher] == [("publisher", 404)]

    # The story crosses from the door to whoever answered, and on to the owner's events; as does that of the end.
    told = json.loads(mesh.run("trace", TRACE[:8], "--json").stdout)
    whats = [(step["service"], step["what"]) for step in told["steps"]]
    assert whats[:2] == [("webrtc-gateway", "HTTP capture.start cam1"), ("capture", "start cam1")]
    assert whats[-1] == ("capture", "· cam1 state live")
    assert told["steps"][1]["depth"] == 1
    ended = next(one for one in found if one["verb"] == "stop")
    shown = mesh.run("trace", ended["trace_id"]).stdout
    assert "· cam0 removed" in shown
    # Logs of the owner, which acted on what it saw in the bucket.
    logged = [json.loads(line) for line in mesh.log.read_text().splitlines() if line.startswith("{")]
    assert any(line.get("trace") == TRACE and "cam1: live" in line["message"] for line in logged)


def test_spans_have_the_right_parents_across_services(mesh: RunningMesh, collector: Collector) -> None:
    def told() -> dict[tuple[str, str], dict[str, str]]:
        return {(one["service"], one["name"]): one for one in collector.spans if one["trace"] == TRACE}

    names = {
        ("framemesh-webrtc-gateway", "HTTP capture.start"),
        ("framemesh-capture", "capture.start"),
        ("framemesh-capture", "capture live"),
    }
    mesh.wait_for(lambda: names <= told().keys(), what="the spans")
    door, command, owner = (
        told()["framemesh-webrtc-gateway", "HTTP capture.start"],
        told()["framemesh-capture", "capture.start"],
        told()["framemesh-capture", "capture live"],
    )
    assert door["parent"] == SPAN
    assert command["parent"] == door["span"]
    assert owner["parent"] == command["span"]
    assert all(int(one["ns"]) > 0 and not one["error"] for one in (door, command, owner))


def test_a_rule_goes_on_with_the_story_of_its_event_and_a_job_with_that_of_its_submission(
    mesh: RunningMesh, devices: Path
) -> None:
    given = {"stream": "cam2", "source": "test://?size=640x360&fps=5"}
    device = devices / "do1"
    device.touch()
    mesh.call("io-signal.start", signal="do1", mode="io", address=f"file://{device}")
    do = [{"signal": "do1", "pulse": "20ms"}, {"command": "capture.start", "given": given}]
    mesh.call("io-signal.start-rule", rule="more", when="app.line1.ng", do=do)
    happened = Event(service="app", id="line1", event="ng", node="test", at_ns=time.time_ns(), trace_id=SECOND_TRACE)

    async def tell(bus: Bus) -> Any:
        bus.post_event(happened)
        to = f"file://{mesh.folder}/data/pictures/{{index}}.jpg"
        job = SubmitJob(
            video=f"file://{mesh.media_dir}/{bunny().name}", to=to, sampling=Sampling(mode="uniform", count=1)
        )
        with doing(begin(TraceContext(THIRD_TRACE, SPAN), actor="bob")):
            return await bus.request("mesh.v1.cmd.frame-extractor.submit", job, Submitted)

    shutil.copy(bunny(), mesh.media_dir)
    mesh.ask(tell)
    mesh.wait_for(lambda: {"cam2"} <= {one.get("resource") for one in kept(mesh)}, what="the rule's command")
    by_rule = next(one for one in kept(mesh) if one.get("resource") == "cam2")
    assert by_rule["trace_id"] == SECOND_TRACE
    assert by_rule["actor"] == "rule more"

    def events(trace: str) -> list[str]:
        async def read(bus: Bus) -> list[str]:
            found = [json.loads(one.data) async for _, one in bus.kept_since(EVENTS_STREAM, all_events(), 0)]
            return [f"{one['service']} {one['event']} {one['state']}" for one in found if one.get("trace_id") == trace]

        told: list[str] = mesh.ask(read)
        return told

    # To the output's edges, which the process that holds it has made: on, and off when its keep time is over.
    story = Counter({"app ng ": 1, "capture state live": 1, "io-signal fired ": 1, "io-signal changed ": 2})
    mesh.wait_for(lambda: story <= Counter(events(SECOND_TRACE)), what="the rule's story")
    ends = {"frame-extractor job-submitted pending", "frame-extractor job-completed completed"}
    mesh.wait_for(lambda: ends <= set(events(THIRD_TRACE)), what=f"the job's story: {events(THIRD_TRACE)}")


def test_what_is_not_there_is_said(mesh: RunningMesh) -> None:
    missing = mesh.run("trace", "0123abcd")
    assert missing.returncode == 1
    assert "--since" in missing.stderr
    wrong = mesh.run("trace", "cam0")
    assert "hexadecimal" in wrong.stderr
