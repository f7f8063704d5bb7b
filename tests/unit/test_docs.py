"""What the documents show must be what the mesh takes: every mesh.yaml and every command with a body."""

import json
import re
import subprocess

import msgspec
import pytest
import yaml

from schemas.channels import CHANNELS
from schemas.mesh_file import MeshPlan, plan_from_mapping
from schemas.mix_tasks import CallbackItem, TaskNotice
from services.capture.sources import check_source
from services.cloud_mix_proxy.callbacks.envelope import envelope
from tests.support.doc_blocks import PAGES, blocks, commands

pytestmark = pytest.mark.unit

BLOCKS = blocks()
_CHECKED = {
    "sh": "tests/integration/test_docs_run.py",
    "python": "tests/integration/test_docs_programs.py",
    "js": "tests/integration/test_docs_programs.py",
    "nginx": "tests/integration/test_docs_programs.py",
    "yaml": "here: mesh files",
    "yml": "here: hosts for Prometheus",
    "json": "here: what a callback says",
    "text": "nothing: drawings, what programs say, files of other programs",
}
"""Who looks at the blocks of a language."""
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


def test_each_block_says_what_it_is() -> None:
    unknown = [block.where for block in BLOCKS if block.language not in _CHECKED]
    assert not unknown, f"say behind ``` which language it is, and have it run or checked: {unknown}"


def test_lines_for_a_shell_are_such() -> None:
    for block in (block for block in BLOCKS if block.language == "sh"):
        done = subprocess.run(["bash", "-n"], input="\n".join(commands(block.text)), capture_output=True, text=True)
        assert done.returncode == 0, f"{block.where}: {done.stderr}"


def test_hosts_for_prometheus_are_lists_of_targets() -> None:
    for block in (block for block in BLOCKS if block.language == "yml"):
        for entry in yaml.safe_load(block.text):
            assert entry.keys() == {"targets", "labels"}
            assert entry["targets"]
            assert "node" in entry["labels"]


def test_a_callback_that_is_shown_has_the_fields_that_are_sent() -> None:
    [shown] = [json.loads(block.text) for block in BLOCKS if block.language == "json"]
    notice = TaskNotice(number=3, at_ns=1, status="runing", sources=("left",))
    sent = json.loads(
        envelope(CallbackItem(task=shown["data"]["detail"]["task_id"], name="both", notice=notice), "", 0)
    )
    assert sent.keys() == shown.keys()
    assert sent["data"].keys() == shown["data"].keys()
    assert sent["data"]["detail"].keys() == shown["data"]["detail"].keys()
    for name, value in shown["data"]["detail"].items():
        assert isinstance(sent["data"]["detail"][name], type(value)), name
