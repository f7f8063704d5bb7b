"""Alerts tell people what to do, and each is tried: on series that mean it, and on a healthy mesh."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from schemas.service_table import SERVICE_TABLE

pytestmark = pytest.mark.unit

ROOT = Path(__file__).parents[2]
PROMETHEUS = ROOT / "ops" / "prometheus"
PAGE = ROOT / "docs" / "alerts.md"


def _load(name: str) -> Any:
    return yaml.safe_load((PROMETHEUS / name).read_text())


ALERTS: list[dict[str, Any]] = [rule for group in _load("alerts.yml")["groups"] for rule in group["rules"]]
TESTED = {test["name"]: test for test in _load("tests/alerts.yml")["tests"]}


def _expected(test: dict[str, Any]) -> set[str]:
    samples = [sample for one in test["promql_expr_test"] for sample in one["exp_samples"]]
    return {re.findall(r'"(\w+)"', sample["labels"])[0] for sample in samples}


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: str(alert["alert"]))
def test_alert_says_what_to_do(alert: dict[str, Any]) -> None:
    name = alert["alert"]
    assert alert["labels"]["severity"] in ("critical", "warning", "info")
    told = alert["annotations"]
    assert 10 < len(told["summary"]) < 120
    assert len(told["description"]) > 40
    assert told["runbook"] == f"docs/alerts.md#{name.lower()}"
    assert f"\n## {name}\n" in PAGE.read_text(), "its section is missing"


def test_no_alert_is_untried() -> None:
    names = {alert["alert"] for alert in ALERTS}
    assert len(names) == len(ALERTS)
    assert TESTED.keys() - {"a healthy mesh"} == names
    for name in names:
        assert _expected(TESTED[name]) == {name}
    assert not _expected(TESTED["a healthy mesh"])


def test_healthy_mesh_has_a_series_of_each_metric_that_alerts_ask_for() -> None:
    asked = {name for alert in ALERTS for name in re.findall(r"\bframemesh_\w+", alert["expr"])}
    given = {series["series"].partition("{")[0] for series in TESTED["a healthy mesh"]["input_series"]}
    assert asked <= given


JOBS = {job["job_name"]: job for job in _load("prometheus.yml")["scrape_configs"]}


def _scraped(job: str, address: str, services: str = "") -> str | None:
    """Where a job asks this host, as Prometheus relabels; None: nowhere. Its expressions are anchored at both ends."""
    labels = {"__address__": address, "__tmp_services": services}
    for rule in JOBS[job]["relabel_configs"]:
        match = re.fullmatch(rule["regex"], ";".join(labels[source] for source in rule["source_labels"]))
        if rule.get("action") == "keep":
            if match is None:
                return None
        elif match is not None:
            labels[rule["target_label"]] = rule["replacement"].replace("$1", match[1])
    return labels["__address__"]


def test_every_service_is_scraped() -> None:
    assert list(JOBS) == [*(entry.name for entry in SERVICE_TABLE), "prometheus"]
    [compose] = _load("hosts/compose.yml")
    [node] = re.findall(r"FRAMEMESH_NODE: \$\{FRAMEMESH_NODE:-([a-z0-9-]+)\}", (ROOT / "compose.yaml").read_text())
    assert compose["labels"] == {"node": node}
    for entry in SERVICE_TABLE:
        found = {_scraped(entry.name, address) for address in compose["targets"]} - {None}
        assert found == {f"{entry.name}:{entry.metrics_port}"}, "each job its own, and none of the others"


@pytest.mark.parametrize("host", ["192.168.1.20", "line2.local", "[fd00::1]"])
def test_another_host_is_asked_at_the_port_of_each_service(host: str) -> None:
    for entry in SERVICE_TABLE:
        assert _scraped(entry.name, host) == f"{host}:{entry.metrics_port}"


def test_second_instance_of_a_host_is_asked_at_its_own_port_by_the_job_of_its_service() -> None:
    found = {entry.name: _scraped(entry.name, "192.168.1.20:40123", "capture") for entry in SERVICE_TABLE}
    assert {name: at for name, at in found.items() if at} == {"capture": "192.168.1.20:40123"}
    assert not any(_scraped(entry.name, "192.168.1.20:40123") for entry in SERVICE_TABLE), (
        "of which service is not said"
    )


@pytest.mark.parametrize(
    ("services", "kept"),
    [("", True), ("capture", True), ("hw-encode,capture", True), ("capture,publisher", True), ("hw-encode", False)],
)
def test_host_is_asked_for_the_services_it_names(services: str, kept: bool) -> None:
    assert (_scraped("capture", "192.168.1.20", services) is not None) == kept
