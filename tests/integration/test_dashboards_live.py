"""A real Prometheus scrapes a real mesh: every panel and every rule has something to say, all is documented."""

import json
import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from ops.dashboards import documents
from schemas.subjects import event
from shared.bus import Bus
from tests.support.console import CHROMIUM, console_page
from tests.support.mesh import RunningMesh, bunny
from tests.support.metrics import families
from tests.support.peers import free_port
from tests.support.prometheus import OURS, PROGRAM, Prometheus, QueryFailed

pytestmark = [
    pytest.mark.integration,
    pytest.mark.browser,
    pytest.mark.timeout(180),
    pytest.mark.skipif(PROGRAM is None, reason="needs Prometheus, the Debian package prometheus"),
    pytest.mark.skipif(not CHROMIUM.exists(), reason="needs Chromium"),
]

PAGE = Path(__file__).parents[2] / "docs" / "observability.md"
NODE = "test"
_DATA_SECONDS = 20.0
# What a test cannot wait for, or this machine cannot do.
MAY_BE_EMPTY: frozenset[str] = frozenset()
# Without their `for` these fire on what passes at once, on a machine that tests load.
WHEN_BUSY = {
    *("BusDropping", "EncoderBehind", "EventLoopLate", "GatewaySocketFull", "OutputDropping", "RingStarved"),
    *("JobsPileUp", "ServiceNotReady", "StreamStalled", "ViewersLosePackets"),
}
# Asked for by FRAMEMESH_WEBRTC_GATEWAY_TCP_PORT, which this mesh does not set.
NOT_EXPOSED = {f"framemesh_webrtc_tcp_{what}" for what in ("accepted", "closed", "connections")}
_ROW = re.compile(r"^\| `(framemesh_\w+)` \| \w+ \| [^|]* \| .+ \|$", re.MULTILINE)


def _everything(mesh: RunningMesh, roots: Path) -> None:
    """A recording, an output that fails, a mix that has lost an input, an output, an input and a rule."""
    mesh.call("publisher.start", stream="demo", output="file", to="file://demo.mp4")
    mesh.call("publisher.start", stream="demo", output="push", to=f"rtmp://127.0.0.1:{free_port()}/app/key", wait_s=0)
    mesh.call("capture.start", stream="lost", source=f"rtsp://127.0.0.1:{free_port()}/", wait_s=0)
    inputs = [{"input": name, "source": f"mesh://{name}"} for name in ("demo", "lost")]
    mesh.call("cloud-mix-proxy.create", mix="wall", size="640x360", inputs=inputs, wait_s=20)
    mesh.call("io-signal.start", signal="do1", mode="io", address=f"file://{roots}/do1", keep="20ms")
    mesh.call("io-signal.start-input", input="di1", mode="tcp", address="tcp://127.0.0.1:0", value="text")
    mesh.call("io-signal.start-rule", rule="reject", when="app.line1.ng", do=[{"signal": "do1", "pulse": "20ms"}])


def _happen(mesh: RunningMesh) -> None:
    """What leaves its traces while panels are looked at."""
    for video in ("bunny.mp4", "nothing.mp4"):
        request = {"video": f"file://{video}", "to": f"file://out-{time.time_ns()}/{{index}}.jpg"}
        mesh.call("frame-extractor.submit", **request, sampling={"mode": "uniform", "count": 2})

    async def ng(bus: Bus) -> None:
        bus.post(event("app", "line1", "ng"), json.dumps({"kind": "scratch"}).encode())
        await bus.flush()

    mesh.ask(ng)
    mesh.call("io-signal.pulse", signal="do1", keep="10ms", captured_ns=time.time_ns() - 5_000_000)


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningMesh]:
    roots = tmp_path_factory.mktemp("io")
    (roots / "do1").touch()
    with RunningMesh("--demo", environment={"FRAMEMESH_IO_SIGNAL_FILE_ROOTS": str(roots)}) as running:
        shutil.copy(bunny(), running.media_dir / "bunny.mp4")
        _everything(running, roots)
        yield running


@pytest.fixture(scope="module")
def prometheus(mesh: RunningMesh, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    folder = tmp_path_factory.mktemp("prometheus")
    with Prometheus(folder, mesh.ready["metrics"], NODE) as running, console_page() as console:
        console.open(f"{mesh.console}#/stream/demo")  # not the wall: the mix need not be encoded
        console.playing("demo", 15)
        running.wait_for("framemesh_loop_lag_seconds_count", _DATA_SECONDS)  # so that what happens now is an increase
        _happen(mesh)
        console.page.reload()
        console.playing("demo", 15)
        _happen(mesh)
        yield running


def _targets() -> Iterator[tuple[str, str]]:
    for name, text in documents().items():
        for panel in json.loads(text)["panels"]:
            for target in panel.get("targets", []):
                expr = target["expr"].replace("$node", ".*").replace("$stream", "demo")
                title = f"{name.removesuffix('.json')} {panel['id']}{target['refId']}: {panel['title']}"
                yield title, expr.replace("$__rate_interval", "10s")


def test_all_services_are_scraped(prometheus: Prometheus) -> None:
    prometheus.wait_for('sum(up{job!="prometheus"}) == 7', _DATA_SECONDS)
    assert {target["labels"].get("node") for target in prometheus.targets()} == {NODE, None}
    assert len(prometheus.targets()) == 8


def test_every_panel_has_something_to_show(prometheus: Prometheus) -> None:
    asked = dict(_targets())
    assert len(asked) > 80
    assert asked.keys() >= MAY_BE_EMPTY
    empty = prometheus.without_numbers({name: asked[name] for name in asked.keys() - MAY_BE_EMPTY}, _DATA_SECONDS)
    assert not empty, json.dumps(empty, indent=1)
    for name in MAY_BE_EMPTY:
        prometheus.query(asked[name])  # raises when it is no query


def test_every_rule_can_be_evaluated(prometheus: Prometheus) -> None:
    rules = list(prometheus.rules())
    names = {rule["name"] for rule in rules}
    given = [rule for name in ("rules.yml", "alerts.yml") for group in _groups(name) for rule in group["rules"]]
    assert {rule.get("alert") or rule["record"] for rule in given} == names
    assert {rule["health"] for rule in rules} == {"ok"}, [rule.get("lastError") for rule in rules]


def _groups(name: str) -> list[Any]:
    groups: list[Any] = yaml.safe_load((OURS / name).read_text())["groups"]
    return groups


def test_alerts_fire_on_what_is_wrong_and_on_nothing_else(prometheus: Prometheus) -> None:
    expected = {"OutputFailed", "MixInputLost", "StreamLost"}
    for name in expected:
        prometheus.wait_for(f'ALERTS{{alertname="{name}", alertstate="firing"}}', _DATA_SECONDS)
    firing = {series["metric"]["alertname"] for series in prometheus.query('ALERTS{alertstate="firing"}')}
    assert firing - expected <= WHEN_BUSY


def test_a_query_that_is_none_is_found(prometheus: Prometheus) -> None:
    with pytest.raises(QueryFailed, match="parse error"):
        prometheus.query("sum by (")
    assert prometheus.query("framemesh_no_such_metric") == []


def test_what_is_gone_is_told_of_no_more(mesh: RunningMesh) -> None:
    url = mesh.ready["metrics"]["capture"]

    def states() -> set[str]:
        found = (sample for family in families(url) for sample in family.samples)
        return {one.labels["state"] for one in found if one.labels.get("id") == "passing" and one.value == 1}

    mesh.call("capture.start", stream="passing", source="test://?size=640x360&fps=10")
    mesh.wait_for(lambda: states() == {"live"}, what="the state of a new stream")
    mesh.call("capture.stop", stream="passing")
    mesh.wait_for(lambda: states() == set(), what="no state of a stream that is gone")


def test_every_metric_is_documented_as_it_is(mesh: RunningMesh) -> None:
    exposed: dict[str, tuple[str, str, set[str]]] = {}
    for service, url in mesh.ready["metrics"].items():
        for family in families(url):
            if family.name.startswith("framemesh_"):
                exposed.setdefault(family.name, (family.type, family.documentation, set()))[2].add(service)
    made = {_row(name, *told) for name, told in exposed.items()}
    listed = {match[0] for match in _ROW.finditer(PAGE.read_text()) if match[1] not in NOT_EXPOSED}
    assert made - listed == set(), "docs/observability.md lacks these"
    assert listed - made == set(), "docs/observability.md tells of what there is not"


def _row(name: str, kind: str, text: str, services: set[str]) -> str:
    return f"| `{name}` | {kind} | {'all' if len(services) == 7 else ', '.join(sorted(services))} | {text} |"
