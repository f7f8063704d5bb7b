"""What the documents show must be what the mesh takes: every mesh.yaml and every command with a body."""

import re
from pathlib import Path

import msgspec
import pytest
import yaml

from schemas.channels import CHANNELS
from schemas.mesh_file import MeshPlan, plan_from_mapping
from services.capture.sources import check_source

pytestmark = pytest.mark.unit

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
_YAML = re.compile(r"```yaml\n(.*?)```", re.DOTALL)
_CALL = re.compile(r"framemesh call ([a-z0-9.-]+)(?: '(\{.*?\})')?")


def _found(pattern: "re.Pattern[str]") -> list[object]:
    return [
        pytest.param(match, id=f"{page.stem}-{number}")
        for page in PAGES
        for number, match in enumerate(pattern.finditer(page.read_text()))
    ]


@pytest.mark.parametrize("match", _found(_YAML))
def test_a_mesh_file_that_is_shown_is_one(match: "re.Match[str]") -> None:
    plan = plan_from_mapping(yaml.safe_load(match[1].replace("${CAM_PASSWORD}", "secret")))
    assert isinstance(plan, MeshPlan)
    assert plan.streams or plan.mixes or plan.signals or plan.inputs or plan.rules
    for stream in plan.streams:
        check_source(stream)


@pytest.mark.parametrize("match", _found(_CALL))
def test_a_command_that_is_shown_exists_and_takes_its_body(match: "re.Match[str]") -> None:
    service, *resource, verb = match[1].split(".")
    subject = ".".join(("mesh", "v1", "cmd", service, *resource, verb))
    channel = next(item for item in CHANNELS if item.semantics == "request-reply" and item.matches(subject))
    if match[2] is None:
        return  # typed with its body left to the reader
    assert channel.payload is not None
    msgspec.json.decode(match[2].encode(), type=channel.payload)
