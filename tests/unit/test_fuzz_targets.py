"""The short form of `make fuzz`: a few hundred inputs of each target from a fixed seed, and all that was ever found."""

import logging
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Final

import pytest

from schemas.channels import CHANNELS
from tests.fuzz import command_entries
from tests.fuzz.guided import FormattedLogs
from tests.fuzz.target import Target, judge
from tests.fuzz.targets import TARGETS

pytestmark = pytest.mark.unit
CORPUS: Final = Path(__file__).parents[1] / "fuzz" / "corpus"
SEED: Final = 20_261_122
INPUTS: Final = {"video": 30, "commands": 400, "ring in C": 20}  # of those that cost more, or are many ways in
USUAL_INPUTS: Final = 120


@pytest.fixture(autouse=True)
def formatted_logs() -> Iterator[None]:
    """Every log line is made; none is shown, as there are thousands."""
    root, handler = logging.getLogger(), FormattedLogs()
    before = root.level, root.handlers[:]
    root.handlers[:] = [handler]
    root.setLevel(logging.DEBUG)
    yield
    root.level, root.handlers[:] = before


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_nothing_else_is_raised(target: Target) -> None:
    found = {}
    for data in target.inputs(Random(SEED), INPUTS.get(target.name, USUAL_INPUTS)):
        finding = judge(target, data)
        if finding is not None:
            found.setdefault(finding.key, finding)
    assert not found, "\n".join(f"{finding.key}: {finding.text}\n{finding.data[:400]!r}" for finding in found.values())


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_what_was_found_once_stays_mended(target: Target) -> None:
    for path in sorted((CORPUS / target.name.replace(" ", "-")).glob("*")):
        finding = judge(target, path.read_bytes())
        assert finding is None, f"{path.name}: {finding.text if finding else ''}"


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_some_seed_is_taken(target: Target) -> None:
    taken = 0
    for data in target.given:
        try:
            target.run(data)
        except target.may_raise:
            continue
        taken += 1
    assert taken


def test_every_command_is_tried_with_a_body_that_is_taken() -> None:
    addresses = {
        item.address.split(".cmd.", 1)[-1] for item in CHANNELS if item.semantics == "request-reply" and item.payload
    }
    assert addresses == command_entries.requests().keys()
    tried = {seed.split(b"\n")[0].decode() for seed in command_entries.commands()}
    assert tried == addresses


def test_every_corpus_folder_is_of_a_target() -> None:
    names = {target.name.replace(" ", "-") for target in TARGETS}
    assert {path.name for path in CORPUS.iterdir()} <= names
