"""What services tell of the disks they write to."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client import REGISTRY

from shared.metrics import Figures
from shared.service_figures import disk_figures

pytestmark = pytest.mark.unit


@pytest.fixture
def figures() -> Iterator[Figures]:
    made = Figures()
    yield made
    REGISTRY.unregister(made)


def test_disks_are_told_of_and_folders_that_are_missing_left_out(figures: Figures, tmp_path: Path) -> None:
    folders = [({"root": "here"}, tmp_path), ({"root": "gone"}, tmp_path / "gone")]
    disk_figures(figures, "framemesh_test", "a disk", lambda: folders)
    found = {(one.name, one.labels["root"]): one.value for family in figures.collect() for one in family.samples}
    assert found.keys() == {("framemesh_test_size_bytes", "here"), ("framemesh_test_free_bytes", "here")}
    size_bytes, free_bytes = found["framemesh_test_size_bytes", "here"], found["framemesh_test_free_bytes", "here"]
    assert 0 <= free_bytes <= size_bytes
    assert size_bytes > 1 << 20
