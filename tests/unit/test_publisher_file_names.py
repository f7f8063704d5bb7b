"""Templates of recordings, most of them hostile."""

import os
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from schemas.errors import InvalidValue, NotFound
from schemas.resources import OutputFormat, OutputSpec
from services.publisher.file_names import check_template, create_file, expand, file_format

pytestmark = pytest.mark.unit

SPEC = OutputSpec(stream="cam0", output="archive", to="-")
START_NS = 1_700_000_000 * 1_000_000_000
STAMP = time.strftime("%Y%m%d-%H%M%S", time.localtime(1_700_000_000))


def create(to: str, *roots: Path) -> Path:
    fd, path = create_file(SPEC, to, roots, START_NS)
    os.close(fd)
    return path


def test_placeholders_and_folders(tmp_path: Path) -> None:
    path = create("file://recordings/{stream}/{output}-{rendition}-{start:%Y%m%d-%H%M%S}.mp4", tmp_path)
    assert path == tmp_path / f"recordings/cam0/archive-main-{STAMP}.mp4"
    assert path.stat().st_mode & 0o777 == 0o640
    assert create("file://{start:%Y/%m}/x.mp4", tmp_path).relative_to(tmp_path).parts[0] == STAMP[:4]


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    assert [create("file://a.mp4", tmp_path).name for _ in range(3)] == ["a.mp4", "a-1.mp4", "a-2.mp4"]
    (tmp_path / "b.mp4").symlink_to("/etc/passwd")
    assert create("file://b.mp4", tmp_path).name == "b-1.mp4"


def test_absolute_paths_need_a_root(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    one.mkdir()
    two.mkdir()
    assert create(f"file://{two}/x.mp4", one, two) == two / "x.mp4"
    with pytest.raises(InvalidValue, match="may lie in"):
        create(f"file://{tmp_path}/x.mp4", one, two)
    with pytest.raises(InvalidValue, match="may lie in"):
        create(f"file://{tmp_path}/one-and-more/x.mp4", one, two)
    with pytest.raises(InvalidValue, match="FILE_ROOTS"):
        create("file://x.mp4")


def test_a_missing_root_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="does not exist; create or mount it"):
        create("file://x.mp4", tmp_path / "gone")
    assert not (tmp_path / "gone").exists()


@pytest.mark.parametrize(
    "to",
    [
        "file://../x.mp4",
        "file://a/../../x.mp4",
        "file://{start:..}/x.mp4",
        "file://{stream.__class__}.mp4",
        "file://{stream!r}.mp4",
        "file://{stream:>9999999999}.mp4",
        "file://{0}.mp4",
        "file://{}.mp4",
        "file://{secret}.mp4",
        "file://{stream.mp4",
        "file://stream}.mp4",
        "file://{start:%c}.mp4",
        "file://{start:%Ex}.mp4",
        "file://{start:%}.mp4",
        "file://{start:%Y\n}.mp4",
        "file://x.avi",
        "file://x.mp4.gz",
        "file://.mp4",
        "file://x/.mp4",
        "file://x.mp4/",
        "file://",
        "file://x\0.mp4",
        "file://x\n.mp4",
        "file://" + "a" * 300 + ".mp4",
        "file://" + "a/" * 40 + "x.mp4",
        "http://x.mp4",
        "/x.mp4",
    ],
)
def test_hostile_templates(tmp_path: Path, to: str) -> None:
    with pytest.raises(InvalidValue):
        check_template(SPEC, to, (tmp_path,))
    with pytest.raises(InvalidValue):
        create(to, tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("url", "format", "kind"),
    [("file://a/x.ts", None, "ts"), ("file://x.mkv", "mkv", "mkv"), ("file://x.m3u8", None, "hls")],
)
def test_the_name_tells_the_kind(url: str, format: OutputFormat | None, kind: str) -> None:
    assert file_format(replace(SPEC, format=format), url) == kind


@pytest.mark.parametrize("format", ["mp4", "flv", "srt"])
def test_a_name_and_a_format_that_disagree_are_refused(format: OutputFormat) -> None:
    with pytest.raises(InvalidValue, match=r"the file name ends in \.ts, so leave format out") as refused:
        file_format(replace(SPEC, format=format), "file://x.ts")
    assert repr(format) in refused.value.message


@pytest.mark.parametrize("to", ["rtmp://h/app/k3y-of-the-show", "file://a/token=k3y-of-the-show/{stream.mp4"])
def test_a_refusal_does_not_show_a_key(tmp_path: Path, to: str) -> None:
    with pytest.raises(InvalidValue) as refused:
        check_template(SPEC, to, (tmp_path,))
    assert "k3y-of-the-show" not in refused.value.message
    assert "***" in refused.value.message


def test_a_link_does_not_lead_out(tmp_path: Path) -> None:
    root, outside = tmp_path / "root", tmp_path / "outside"
    root.mkdir()
    outside.mkdir()
    (root / "link").symlink_to(outside)
    with pytest.raises(InvalidValue, match="link"):
        create("file://link/x.mp4", root)
    assert list(outside.iterdir()) == []


@given(template=st.text(alphabet="{}:%.YmdHMSstreamtorputcns/-\0\n!0", max_size=40))
def test_whatever_is_written_the_file_lies_under_the_root(
    tmp_path_factory: pytest.TempPathFactory, template: str
) -> None:
    root = tmp_path_factory.mktemp("root")
    try:
        path = create(f"file://{template}.mp4", root)
    except (InvalidValue, OSError):
        return
    assert path.resolve().is_relative_to(root)
    assert path.is_file()


def test_a_clock_beyond_reason_still_gives_a_name() -> None:
    assert expand("{start:%Y}", SPEC, 1 << 62).isdigit()
    assert expand("{start:%Y}", SPEC, -(1 << 62)).isdigit()
