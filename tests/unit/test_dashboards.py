"""Dashboards are what Grafana takes: its own types read them back, and nothing an operator would miss is left out."""

import itertools
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard

from ops.dashboards import BOARDS, documents
from ops.dashboards.building import DATASOURCE_UID, TAG

pytestmark = pytest.mark.unit

GRAFANA = Path(__file__).parents[2] / "ops" / "grafana"
_GRID_COLUMNS = 24
_TYPES = {"row", "stat", "timeseries", "bargauge", "table", "state-timeline"}
# Of Grafana's list of units: none, short number, seconds, bytes, bits and bytes a second, shares of 1, pictures and
# other things a second.
_UNITS = {"none", "short", "s", "bytes", "bps", "Bps", "percentunit", "fps", "cps"}

register_default_plugins()
LOADED: dict[str, Any] = {name: json.loads(text) for name, text in documents().items()}


def _every_panel() -> Iterator[Any]:
    for name, document in LOADED.items():
        for panel in document["panels"]:
            if panel["type"] != "row":
                yield pytest.param(panel, id=f"{name}-{panel['id']}")


def test_committed_files_are_what_is_made() -> None:
    assert {path.name: path.read_text() for path in (GRAFANA / "dashboards").glob("*.json")} == documents()


def _lost(given: Any, read: Any, path: str = "") -> list[str]:
    """What of `given` is not in `read`, which may have defaults besides."""
    if isinstance(given, dict) and isinstance(read, dict):
        return [lost for key in given for lost in _lost(given[key], read.get(key), f"{path}/{key}")]
    if isinstance(given, list) and isinstance(read, list) and len(given) == len(read):
        return [lost for at, pair in enumerate(zip(given, read, strict=True)) for lost in _lost(*pair, f"{path}/{at}")]
    return [] if given == read else [path]


@pytest.mark.parametrize("name", LOADED)
def test_grafanas_types_read_it_back(name: str) -> None:
    read = Dashboard.from_json(LOADED[name])
    assert _lost(LOADED[name], json.loads(json.dumps(read, cls=JSONEncoder))) == []
    # What is not known to the types would be kept as it is, so it is looked at here.
    assert read.panels is not None
    for panel in read.panels:
        assert panel.type_val in _TYPES
        if panel.type_val != "row":
            assert type(panel.options).__module__.startswith("grafana_foundation_sdk.models."), (
                "options of a known panel"
            )
            assert all(type(target).__name__ == "Dataquery" for target in panel.targets)


@pytest.mark.parametrize("name", LOADED)
def test_dashboard_is_whole(name: str) -> None:
    document = LOADED[name]
    assert TAG in document["tags"]
    assert document["refresh"] == "10s"
    assert [link["tags"] for link in document["links"]] == [[TAG]], "links to the other dashboards"
    ids = [panel["id"] for panel in document["panels"]]
    assert len(ids) == len(set(ids))
    assert len(ids) < 30, "few panels, or nobody looks at them"
    titles = [(panel["title"], panel["gridPos"]["y"]) for panel in document["panels"]]
    assert len(titles) == len(set(titles))


def test_links_lead_to_dashboards_that_there_are() -> None:
    links = [
        link["url"]
        for document in LOADED.values()
        for panel in document["panels"]
        for link in panel.get("fieldConfig", {}).get("defaults", {}).get("links", [])
    ]
    assert links
    assert {link.split("?")[0] for link in links} <= {f"/d/{board.uid}" for board in BOARDS}


def test_uids_differ() -> None:
    assert len({board.uid for board in BOARDS}) == len({board.title for board in BOARDS}) == len(BOARDS)


@pytest.mark.parametrize("name", LOADED)
def test_panels_neither_overlap_nor_leave_the_grid(name: str) -> None:
    taken: set[tuple[int, int]] = set()
    for panel in LOADED[name]["panels"]:
        at = panel["gridPos"]
        cells = set(itertools.product(range(at["x"], at["x"] + at["w"]), range(at["y"], at["y"] + at["h"])))
        assert not cells & taken, panel["title"]
        assert at["x"] + at["w"] <= _GRID_COLUMNS
        taken |= cells
    bottom = max(y for _, y in taken) + 1
    assert len(taken) == _GRID_COLUMNS * bottom, "there are no holes"


PANELS = list(_every_panel())


@pytest.mark.parametrize("panel", PANELS)
def test_panel_can_be_read(panel: Any) -> None:
    assert 2 <= len(panel["title"]) <= 60
    assert len(panel["description"]) >= 4
    assert panel["description"].endswith(".")
    defaults = panel["fieldConfig"]["defaults"]
    assert defaults["unit"] in _UNITS
    steps = defaults.get("thresholds", {}).get("steps", [])
    values = [step["value"] for step in steps]
    if steps:
        assert values[0] is None
        assert values[1:] == sorted(values[1:])
    else:
        assert panel["type"] in ("timeseries", "table")


@pytest.mark.parametrize("panel", PANELS)
def test_panel_asks_the_one_data_source(panel: Any) -> None:
    assert panel["datasource"]["uid"] == DATASOURCE_UID
    refs = [target["refId"] for target in panel["targets"]]
    assert refs
    assert len(refs) == len(set(refs))
    for target in panel["targets"]:
        assert target["datasource"]["uid"] == DATASOURCE_UID
        assert target["legendFormat"]
        assert target.get("instant") != target.get("range")
        assert "$node" in target["expr"] or "ALERTS" in target["expr"], "the host can be chosen"
        assert not re.search(r"\$(?!node|stream|__rate_interval)", target["expr"]), "a variable that there is not"


def test_every_legend_names_labels_that_the_query_keeps() -> None:
    for document in LOADED.values():
        for panel in document["panels"]:
            for target in panel.get("targets", []):
                named = set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]))
                kept = re.findall(r"\b(?:sum|max|min|count) by \(([^)]*)\)", target["expr"])
                if kept and named:
                    assert named <= {label.strip() for label in kept[0].split(",")}, (panel["title"], target["expr"])


def test_provisioning_names_what_dashboards_ask() -> None:
    [source] = yaml.safe_load((GRAFANA / "provisioning/datasources/framemesh.yml").read_text())["datasources"]
    assert source["uid"] == DATASOURCE_UID
    assert source["type"] == "prometheus"
    config = yaml.safe_load((GRAFANA.parent / "prometheus" / "prometheus.yml").read_text())
    assert source["jsonData"]["timeInterval"] == config["global"]["scrape_interval"]
    [provider] = yaml.safe_load((GRAFANA / "provisioning/dashboards/framemesh.yml").read_text())["providers"]
    assert provider["options"]["path"] == "/var/lib/grafana/dashboards"
