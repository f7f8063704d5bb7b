"""Rules in a whole mesh: an application's event becomes a pulse, a picture, a clip and a recording, and is kept."""

import asyncio
import contextlib
import itertools
import json
import select
import signal
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import av
import msgspec
import pytest

from schemas.errors import InvalidValue
from schemas.events import Event
from schemas.subjects import all_events, event
from shared.bus import Bus, Message
from shared.event_message import event_in
from tests.support.client import async_client
from tests.support.mesh import FRAMEMESH, CallFailed, RunningMesh
from tests.support.metrics import total
from tests.support.pace import patience

pytestmark = pytest.mark.integration

_numbers = itertools.count()
"""A failing test is tried again beside what the first try has left."""


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningMesh]:
    roots = tmp_path_factory.mktemp("io")
    for name in ("do1", "do2"):
        (roots / name).touch()
    environment = {"FRAMEMESH_IO_SIGNAL_FILE_ROOTS": str(roots), "FRAMEMESH_PUBLISHER_MIN_FREE_BYTES": "1000000"}
    with RunningMesh(environment=environment) as running:
        (running.folder / "mesh.yaml").write_text(f"""
streams:
  cam0: {{source: "test://?size=640x360&fps=30", renditions: {{main: {{always: true, history: 10s}}}}}}
signals:
  do1: {{address: "file://{roots}/do1", mode: io, safe: off, keep: 300ms}}
  do2: file://{roots}/do2
rules:
  reject:
    when: app.line1.ng
    where: {{kind: scratch}}
    cooldown: 300ms
    do:
      - {{signal: do1, pulse: 150ms, type: ng}}
      - {{command: io-signal.io-send, given: {{text: "{{event.detail.part}}", file: {roots}/none}}}}
      - {{snapshot: cam0}}
      - {{clip: cam0, before: 1s, after: 500ms}}
  follow: {{when: io-signal.do1.changed, where: {{on: true}}, do: {{signal: do2, pulse: 80ms}}}}
""")
        applied = running.run("apply", str(running.folder / "mesh.yaml"))
        assert applied.returncode == 0, applied.stdout
        running.wait_for(
            lambda: (running.actual("renditions", "cam0", "main") or {}).get("state") == "running", 20, "the rendition"
        )
        yield running


class Told:
    """Every event of the mesh from now on, and a way to post one."""

    def __init__(self, bus: Bus) -> None:
        self.bus, self.events = bus, list[Event]()
        self._more = asyncio.Event()

    @classmethod
    @contextlib.asynccontextmanager
    async def open(cls, mesh: RunningMesh) -> "AsyncIterator[Told]":
        bus = await Bus.connect(mesh.environment["FRAMEMESH_NATS_URL"], name="test", timeout_seconds=5)
        told = cls(bus)
        try:
            await bus.subscribe(all_events(), told._receive)
            await bus.flush()
            yield told
        finally:
            await bus.drain()

    def _receive(self, message: Message) -> None:
        self.events.append(event_in(message.subject, message.data))
        self._more.set()

    def post(self, subject: str, **detail: Any) -> None:
        self.bus.post(subject, json.dumps(detail).encode())

    async def of(self, resource: str, name: str, fits: Callable[[Event], bool] = lambda _: True) -> Event:
        async with patience(10):
            while True:
                for one in self.events:
                    if (one.id, one.event) == (resource, name) and fits(one):
                        return one
                self._more.clear()
                await self._more.wait()


async def test_an_event_becomes_a_pulse_a_picture_and_a_clip(mesh: RunningMesh) -> None:
    part = f"part-{next(_numbers)}"
    async with Told.open(mesh) as told:
        ng = event("app", "line1", "ng")
        told.post(ng, kind="dent")
        told.post(ng, kind="scratch", part=part)
        told.post(ng, kind="scratch", part="too soon")
        fired = await told.of("reject", "fired")
        pulse, refused, picture, clip = fired.detail["done"]
        assert [one["command"] for one in fired.detail["done"]] == [
            "io-signal.pulse",
            "io-signal.io-send",
            "frame-extractor.picture",
            "publisher.test.clip",
        ]
        assert "error" not in pulse
        assert refused["error"]["code"] in (404, 503), "one that fails does not keep the next from being done"
        taken = Path(picture["file"])
        assert taken.parent == mesh.folder / "data/io-signal/test/snapshots"
        with av.open(str(taken)) as opened:
            assert next(opened.decode(video=0)).width == 640
        assert "error" not in clip
        on = await told.of("do1", "changed", lambda one: one.detail["on"])
        assert (on.detail["by"], on.detail["why"], on.detail["type"]) == ("rule", "rule reject", "ng")
        second = await told.of("do2", "changed", lambda one: one.detail["on"])
        assert second.detail["why"] == "rules reject > follow"
        off = await told.of("do1", "changed", lambda one: not one.detail["on"])
        assert (off.detail["edge_ns"] - on.detail["edge_ns"]) / 1e6 >= 149
        done = await told.of("cam0", "clip")
        assert done.detail["state"] == "finished", done
        assert (mesh.media_dir / done.detail["file"]).stat().st_size > 0
        assert await _kept(told.bus) >= {("reject", "fired"), ("do1", "changed"), ("do2", "changed")}
        await _counted(mesh, "reject", cooldown=1, where=1)


async def _kept(bus: Bus) -> set[tuple[str, str]]:
    """Id and name of the mesh's own events that JetStream keeps."""
    found = set()
    for message in (await bus.kept_events(0, 500))[1]:
        with contextlib.suppress(msgspec.ValidationError):
            one = msgspec.json.decode(message.data, type=Event)
            found.add((one.id, one.event))
    return found


async def _counted(mesh: RunningMesh, rule: str, **reasons: int) -> None:
    def found() -> bool:
        [entry] = [one for one in mesh.call("io-signal.list")["rules"] if one["spec"]["rule"] == rule]
        left_out = entry["actual"]["left_out"]
        return all(left_out.get(reason, 0) >= count for reason, count in reasons.items())

    await asyncio.to_thread(mesh.wait_for, found, 10, f"{rule}: {reasons}")


async def test_circles_are_refused_and_what_was_not_foreseen_ends(mesh: RunningMesh) -> None:
    with pytest.raises(CallFailed) as refused:
        mesh.call("io-signal.start-rule", rule="back", when="io-signal.do2.changed", do=[{"signal": "do1"}])
    assert refused.value.code == 409
    assert "back -> follow -> back" in refused.value.message
    async with Told.open(mesh) as told:
        told.post(event("app", "line1", "ng"), kind="scratch", part="x", cause=["follow", "reject"])
        loop = await told.of("reject", "loop")
        assert loop.detail["cause"] == ["follow", "reject", "reject"]
        assert not any(one.event == "fired" for one in told.events)


async def test_a_pulse_is_measured_from_the_capture_of_its_picture(mesh: RunningMesh) -> None:
    name = f"seen-{next(_numbers)}"
    mesh.call("io-signal.start-rule", rule=name, when=f"app.{name}.ng", do=[{"signal": "do2", "pulse": "50ms"}])
    async with Told.open(mesh) as told, async_client(mesh) as app, app.events(service="app") as heard:
        told.post(event("app", "raw", "hello"), score=1)
        posted = await anext(heard)
        assert (posted.id, posted.event, posted.detail) == ("raw", "hello", {"score": 1}), "any JSON object is an event"
        async for frame in app.frames("cam0", timeout_seconds=10):
            app.tell(name, "ng", frame.ref, score=0.9)
            break
        await told.of(name, "fired")
        await told.of("do2", "changed", lambda one: one.detail["on"] and one.detail["why"] == f"rule {name}")
        with pytest.raises(InvalidValue, match="give numbers, texts"):
            app.tell(name, "ng", None, score=object())
    metrics = "framemesh_io_signal_capture_to_edge_seconds"
    url = mesh.ready["metrics"]["io-signal"]
    assert await asyncio.to_thread(total, url, f"{metrics}_count", signal="do2") >= 1
    assert 0 < await asyncio.to_thread(total, url, f"{metrics}_sum", signal="do2") < 2
    mesh.call("io-signal.stop-rule", rule=name)


async def test_a_machines_edge_becomes_the_picture_of_that_instant(mesh: RunningMesh) -> None:
    name = f"di{next(_numbers)}"
    started = mesh.call("io-signal.start-input", input=name, mode="tcp", address="tcp://127.0.0.1:0", value="text")
    do = [{"snapshot": "cam0"}, {"command": "io-signal.on", "given": {"signal": "do1", "why": "{event.detail.value}"}}]
    rule = f"of-{name}"
    mesh.call("io-signal.start-rule", rule=rule, when=f"io-signal.{name}.edge", where={"value": "part 7"}, do=do)
    host, _, port = started["actual"]["address"].removeprefix("tcp://").rpartition(":")
    async with Told.open(mesh) as told:
        _, machine = await asyncio.open_connection(host, int(port))
        machine.write(b"part 6\npart 7\n")
        edge = await told.of(name, "edge", lambda one: one.detail["value"] == "part 7")
        fired = await told.of(rule, "fired")
        machine.close()
        assert fired.detail["at_ns"] == edge.detail["at_ns"]
        picture, _ = fired.detail["done"]
        at = datetime.strptime(Path(picture["file"]).name[:22], "%Y%m%d-%H%M%S-%f").replace(tzinfo=UTC)
        assert abs(at.timestamp() - edge.detail["at_ns"] / 1e9) < 1 / 30, "the picture nearest to it"
        await told.of("do1", "changed", lambda one: one.detail["why"] == f"rule {rule}: part 7")
    mesh.call("io-signal.stop-rule", rule=rule)
    mesh.call("io-signal.stop-input", input=name)


async def test_a_recording_ends_although_the_service_was_killed(mesh: RunningMesh) -> None:
    name = f"record-{next(_numbers)}"
    do = [{"record": "cam0", "before": "1s", "after": "1s", "rendition": "main"}]
    mesh.call("io-signal.start-rule", rule=name, when=f"app.{name}.ng", do=do)
    async with Told.open(mesh) as told:
        told.post(event("app", name, "ng"))
        fired = await told.of(name, "fired")
        assert fired.detail["done"] == [{"command": "publisher.start-recording"}], fired
    mesh.kill("io-signal")

    def ended() -> Any:
        found = mesh.call("publisher.recording", stream="cam0")
        return found if not found["recording"] and found["file_size"] else None

    recording = await asyncio.to_thread(mesh.wait_for, ended, 20, "the end of the recording")
    assert recording["duration_s"] >= 1
    assert recording["preroll_s"] > 0.2
    mesh.call("io-signal.stop-rule", rule=name)


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        ({"rule": "r", "when": "x", "do": [{"signal": "do1"}]}, "when 'x': write <service>.<id>.<event>"),
        ({"rule": "r", "when": "a.b.c", "do": []}, "do"),
        ({"rule": "r", "when": "a.b.c", "do": [{}]}, "do.0"),
        ({"rule": "R", "when": "a.b.c", "do": [{"signal": "do1"}]}, "rule"),
        ({"rule": "r", "when": "a.b.c", "do": [{"command": "x.y"}]}, "do.0.command 'x.y'"),
        (
            {"rule": "r", "when": "a.b.c", "do": [{"command": "io-signal.test.local-off-mode"}]},
            "do.0.command 'io-signal.test.local-off-mode': no such command; there are io-signal.",
        ),
        (
            {
                "rule": "r",
                "when": "a.b.c",
                "do": [{"command": "capture.start", "given": {"source": "rtsp://me:hunter2@camera/1"}}],
            },
            "do.0.given.source 'rtsp://me:***@camera/1': leave the password out",
        ),
    ],
)
def test_what_can_never_work_is_refused(mesh: RunningMesh, request_: dict[str, Any], words: str) -> None:
    with pytest.raises(CallFailed) as refused:
        mesh.call("io-signal.start-rule", **request_)
    assert refused.value.code == 400
    assert words in refused.value.message
    assert "hunter2" not in refused.value.message


def test_the_command_line(mesh: RunningMesh) -> None:
    with subprocess.Popen(
        [*FRAMEMESH, "signal", "watch", "do1"], env=mesh.environment, stdout=subprocess.PIPE, text=True
    ) as watch:
        assert watch.stdout is not None
        lines = watch.stdout
        try:
            # It says nothing before the first event that it hears.
            mesh.wait_for(
                lambda: (
                    mesh.call("io-signal.pulse", signal="do1", keep="5ms", by="anna")
                    and select.select([lines], [], [], 0)[0]
                ),
                what="a line of what happens",
            )
            assert "do1  " in lines.readline()
            watch.send_signal(signal.SIGINT)
            assert watch.wait(10) == 130
        finally:
            watch.kill()  # else what fails here would wait for it without end
    on = mesh.run("signal", "on", "do2", "--keep", "60s", "--why", "lamp test", "--by", "anna")
    assert on.returncode == 0, on
    assert on.stdout.startswith("do2: on after ")
    assert on.stdout.rstrip().endswith("for 60000 ms")
    status = mesh.run("status").stdout
    [line] = [line for line in status.splitlines() if line.startswith("do2")]
    assert line.split()[1] == "on"
    assert "anna  lamp test" in line
    dry = mesh.run("signal", "rules", "test", "reject", "app.line1.ng", '{"kind": "scratch", "part": 7}', "--json")
    plan = json.loads(dry.stdout)
    assert plan["acts"], plan
    assert plan["commands"][1]["given"]["text"] == 7
    mode = mesh.run("signal", "off-mode", "on", "--json")
    try:
        assert json.loads(mode.stdout) == {"active": True, "signals": ["do2"]}
        with pytest.raises(CallFailed, match="409: off-mode is active"):
            mesh.call("io-signal.pulse", signal="do2", keep="1s")
    finally:
        mesh.call("io-signal.off-mode", active=False)


def test_what_is_not_in_the_file_goes(mesh: RunningMesh) -> None:
    mesh.call("io-signal.start-rule", rule="extra", when="app.x.y", do=[{"signal": "do1"}])
    mesh.call("io-signal.start-input", input="di1", mode="tcp", address="tcp://127.0.0.1:0")
    # Beside this one `follow` goes round in a circle, until it is pruned.
    mesh.call("io-signal.stop-rule", rule="follow")
    mesh.call("io-signal.start-rule", rule="back", when="io-signal.do2.changed", do=[{"signal": "do1"}])
    done = mesh.run("apply", str(mesh.folder / "mesh.yaml"), "--prune")
    assert done.returncode == 0, done.stdout
    assert done.stdout.index("✓ rule back: stopped") < done.stdout.index("✓ rule follow: active")
    assert "✓ rule extra: stopped" in done.stdout
    assert "✓ input di1: stopped" in done.stdout
    left = mesh.call("io-signal.list")
    assert [one["spec"]["rule"] for one in left["rules"]] == ["follow", "reject"]
    assert [one["spec"]["signal"] for one in left["signals"]] == ["do1", "do2"]
    assert left["inputs"] == []
