"""Links of the documents lead somewhere: to files that are there, and to headings that these have."""

import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

pytestmark = pytest.mark.unit

ROOT = Path(__file__).parents[2]
FOLDERS = ("docs", "ops", "examples", "tests")
_FENCE = re.compile(r"^ *(```|~~~).*?^ *\1 *$", re.DOTALL | re.MULTILINE)
_CODE = re.compile(r"`[^`\n]*`")
_LINK = re.compile(
    r"\]\(\s*<?([^)\s>]+)>?(?:\s+\"[^\"]*\")?\s*\)|<(?:img|source|a)\b[^>]*?(?:src|srcset|href)=\"([^\"]+)\""
)
# A file or folder of this repository by its path; what tests and benchmarks write is there once they have run.
_PATH = re.compile(r"`((?:schemas|shared|services|ops|tests|docs|examples)/[\w./-]*)`")
_WRITTEN = ("tests/artefacts", *(f"tests/{name}/results" for name in ("bench", "chaos", "fuzz", "soak")))
# Also those that are cut short: `framemesh_capture_stalls`, `_freezes`.
_METRIC = re.compile(r"`(framemesh_[a-z0-9_]+)(?=[`{])")
_OF_AN_EXTRA = {"framemesh_otlp_dropped_spans"}  # there where spans are sent alone, so no mesh of a test has it
_LISTED_METRIC = re.compile(r"^\| `(framemesh_[a-z0-9_]+)` \|", re.MULTILINE)
_HEADING = re.compile(r"^#{1,6} +(.+?) *#*$", re.MULTILINE)


def _pages() -> list[Path]:
    return sorted([*ROOT.glob("*.md"), *(page for folder in FOLDERS for page in (ROOT / folder).rglob("*.md"))])


def _links(text: str) -> Iterator[str]:
    for match in _LINK.finditer(_CODE.sub("", _FENCE.sub("", text))):
        yield match[1] or match[2]


def _anchors(text: str) -> set[str]:
    """As the usual viewers of Markdown make them: small letters, no punctuation, hyphens for blanks, numbered twins."""
    found: dict[str, int] = {}
    anchors = set()
    for heading in _HEADING.findall(_FENCE.sub("", text)):
        words = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower()
        anchor = re.sub(r"[^\w\- ]", "", words).replace(" ", "-")
        times = found.get(anchor, 0)
        found[anchor] = times + 1
        anchors.add(f"{anchor}-{times}" if times else anchor)
    return anchors


def _wrong(page: Path, root: Path = ROOT) -> Iterator[str]:
    text = page.read_text()
    for link in _links(text):
        parts = urlsplit(link)
        if parts.scheme or parts.netloc:
            continue
        target = (page.parent / unquote(parts.path)).resolve() if parts.path else page
        if target.is_relative_to(root) and str(target.relative_to(root)).startswith(_WRITTEN):
            continue
        if not target.is_relative_to(root) or not target.exists():
            yield f"{link}: there is no such file"
        elif parts.fragment and target.suffix == ".md" and parts.fragment not in _anchors(target.read_text()):
            yield f"{link}: there is no such heading"


@pytest.mark.parametrize("page", _pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_somewhere(page: Path) -> None:
    assert list(_wrong(page)) == []


@pytest.mark.parametrize("page", _pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_every_path_that_is_named_is_there(page: Path) -> None:
    named = {path for path in _PATH.findall(_FENCE.sub("", page.read_text())) if not path.startswith(_WRITTEN)}
    assert sorted(path for path in named if not (ROOT / path).exists()) == []


@pytest.mark.parametrize("page", _pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_every_metric_that_is_named_is_in_the_list(page: Path) -> None:
    """The list is held against a mesh."""
    listed = set(_LISTED_METRIC.findall((ROOT / "docs" / "observability.md").read_text()))
    assert len(listed) > 100
    named = {re.sub(r"_(total|bucket|sum|count)$", "", name) for name in _METRIC.findall(page.read_text())}
    assert sorted(name for name in named - listed - _OF_AN_EXTRA if not name.endswith("_")) == []


def test_links_and_headings_are_read_as_viewers_do() -> None:
    text = (
        "# Ärger & Co.\n[a](there.md) [b](#ärger--co) [c](#nothing) `[d](no.md)`\n"
        '```\n[e](no.md)\n# none\n```\n<img src="f.png">\n## x\n## x\n'
    )
    assert list(_links(text)) == ["there.md", "#ärger--co", "#nothing", "f.png"]
    assert _anchors(text) == {"ärger--co", "x", "x-1"}


def test_what_leads_nowhere_is_told(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "# Here\n[a](#here) [b](other.md#there) [c](https://host/no.md) [d](other.md#no) [e](no.md) [f](../x)"
    )
    (tmp_path / "other.md").write_text("## There")
    (tmp_path.parent / "x").touch()
    assert [wrong.partition(":")[0] for wrong in _wrong(page, tmp_path)] == ["other.md#no", "no.md", "../x"]
