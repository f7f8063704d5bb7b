"""Dependencies: each has a reason and a licence, and none of the product binds who uses it."""

import re

import pytest

from ops.dependencies import (
    PROJECT,
    UNKNOWN,
    Dependency,
    development_dependencies,
    document,
    product_dependencies,
)
from ops.licences import is_strong_copyleft, licence_of, needed_by

pytestmark = pytest.mark.unit

_LISTED = """
[project]
# Above the list.
dependencies = [
    "first>=1,<2",  # (MIT) beside it
    # above it,
    # in two lines
    "second[extra]; python_version > '3'",
]
[project.optional-dependencies]
# (Apache-2.0) above a short list
short = ["framemesh[long]", "third"]
all = ["framemesh[short]"]
[dependency-groups]
dev = [
    "bare",
]
"""


@pytest.mark.parametrize(
    ("licence", "binds"),
    [
        ("GPL-3.0-only", True),
        ("GPL", True),
        ("AGPL-3.0-or-later", True),
        ("MIT AND GPL-2.0-only", True),
        ("GPL-2.0-only OR AGPL-3.0-only", True),
        ("MIT OR GPL-2.0-only", False),
        ("(Apache-2.0 OR BSD-3-Clause)", False),
        ("LGPL-2.1-or-later", False),
        ("MPL-2.0 AND MIT", False),
    ],
)
def test_which_licences_bind(licence: str, binds: bool) -> None:
    assert is_strong_copyleft(licence) is binds


def test_reasons_stand_beside_or_above() -> None:
    assert product_dependencies(_LISTED) == [
        Dependency("first>=1,<2", "always", "beside it"),
        Dependency("second[extra]; python_version > '3'", "always", "above it, in two lines"),
        Dependency("third", "short", "above a short list"),
    ]
    assert development_dependencies(_LISTED) == [Dependency("bare", "dev", "")]


def test_every_dependency_has_a_reason_and_a_licence() -> None:
    text = PROJECT.read_text()
    found = [*product_dependencies(text), *development_dependencies(text)]
    assert len(found) > 40
    assert [use.requirement for use in found if not use.reason] == []
    page = document()
    assert [line for line in page.splitlines() if f"| {UNKNOWN} |" in line] == []
    assert {use.name for use in found} == set(re.findall(r"^\| \[([^\]]+)\]", page, re.MULTILINE))


def test_nothing_that_the_product_needs_is_under_gpl() -> None:
    names = list(needed_by(use.requirement for use in product_dependencies(PROJECT.read_text())))
    licences = {name: licence for name in names if (licence := licence_of(name)) is not None}
    assert len(licences) > 40  # what is installed, with what that needs: aioice of aiortc, for one
    assert licences["aioice"] == "BSD-3-Clause"
    assert {name: licence for name, licence in licences.items() if is_strong_copyleft(licence)} == {}


def test_licences_are_called_by_their_names() -> None:
    assert licence_of("pyyaml") == "MIT"  # a classifier
    assert licence_of("import-linter") == "BSD-2-Clause"  # the field, as classifiers know one BSD alone
    assert licence_of("pyte") == "LGPL-3.0-or-later"
    assert licence_of("daft") == "Apache-2.0"  # of its file alone
    assert licence_of("no-such-package-here") is None
