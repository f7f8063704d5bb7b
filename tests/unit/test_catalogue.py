"""What was recorded, as commands get at it: by patterns of streams, by name, and away with it."""

import os
import time
from pathlib import Path

import numpy as np
import pytest

from schemas.errors import Conflict, InvalidValue, NotFound
from schemas.recordings import ListRecordings
from services.publisher.catalogue import Catalogue
from services.webrtc_gateway.auth.grant import EVERYTHING, Grant
from services.webrtc_gateway.commands.table import find_command
from shared.door.ranges import Span, span_of
from shared.recording_index import RECORD, IndexAppender, IndexHeader, index_path

_FOREVER_NS = (1 << 63) - 1


def recorded(file: Path, stream: str, output: str = "archive") -> Path:
    """A file of 100 bytes, and an index that knows one picture."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(b"x" * 100)
    header = IndexHeader(
        version=1,
        stream=stream,
        output=output,
        rendition="main",
        node="test",
        format="mp4",
        codec="h264",
        width=320,
        height=180,
        start_ns=time.time_ns(),
    )
    appender = IndexAppender(index_path(file), header)
    appender.append(np.ones(1, RECORD))
    appender.close()
    return file


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for number in range(3):
        recorded(tmp_path / "cam0" / f"{number}.mp4", "cam0")
        recorded(tmp_path / "line-1" / f"{number}.mp4", "line-1")
    return tmp_path


def test_a_limit_counts_what_the_patterns_cover(root: Path) -> None:
    catalogue = Catalogue((root,), list)
    files, more = catalogue.list(None, 0, _FOREVER_NS, 2, ("line-*",))
    assert [file.stream for file in files] == ["line-1", "line-1"]
    assert more
    files, more = catalogue.list(None, 0, _FOREVER_NS, 6, ("cam0", "line-1"))
    assert (len(files), more) == (6, False)
    assert catalogue.list(None, 0, _FOREVER_NS, 6, ("door",)) == ([], False)


def test_a_token_for_some_streams_asks_for_those() -> None:
    command = find_command("publisher.recordings")
    guest = Grant("guest", "guest", ("line-*",), frozenset({"view"}))
    assert command.narrowed(ListRecordings(limit=2), guest) == ListRecordings(limit=2, streams=("line-*",))
    assert command.narrowed(ListRecordings(stream="line-1"), guest) == ListRecordings(stream="line-1")
    assert command.narrowed(ListRecordings(), EVERYTHING) == ListRecordings()


def test_a_file_is_opened_for_its_own_stream_only(root: Path) -> None:
    catalogue = Catalogue((root,), list)
    for stream in ("cam0", None):
        opened = catalogue.open("cam0/1.mp4", stream)
        assert os.read(opened.fd, 200) == b"x" * 100
        assert opened.header.format == "mp4"
        os.close(opened.fd)
    before = len(os.listdir("/proc/self/fd"))
    for name, stream in (
        ("cam0/1.mp4", "line-1"),
        ("cam0/9.mp4", "cam0"),
        ("cam0", "cam0"),
        ("cam0/1.mp4.idx", "cam0"),
    ):
        with pytest.raises(NotFound, match=r"there is no recording"):
            catalogue.open(name, stream)
    assert len(os.listdir("/proc/self/fd")) == before, "nothing stays open"


def test_a_deleted_file_is_gone_with_its_index(root: Path) -> None:
    catalogue = Catalogue((root,), lambda: [str(root / "cam0" / "2.mp4")])
    path, header, size_bytes = catalogue.delete("cam0/1.mp4", "cam0")
    assert (path, header.output, size_bytes) == (root / "cam0" / "1.mp4", "archive", 100)
    assert not path.exists()
    assert not index_path(path).exists()
    with pytest.raises(NotFound):
        catalogue.delete("cam0/1.mp4", "cam0")
    with pytest.raises(Conflict, match="being written"):
        catalogue.delete("cam0/2.mp4", "cam0")
    with pytest.raises(NotFound):
        catalogue.delete("line-1/0.mp4", "cam0")
    assert len(list(root.rglob("*.mp4"))) == 5


@pytest.mark.parametrize("name", ["../etc/passwd", "cam0/../../x.mp4", "/etc/passwd", "", "a\nb", "x/" * 300])
def test_no_name_leads_outside(root: Path, name: str) -> None:
    catalogue = Catalogue((root,), list)
    for act in (catalogue.open, catalogue.delete):
        with pytest.raises((InvalidValue, NotFound)):
            act(name, "cam0")


def test_no_link_is_followed(root: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    outside = recorded(tmp_path_factory.mktemp("outside") / "secret.mp4", "cam0")
    (root / "away").symlink_to(outside.parent)
    (root / "cam0" / "link.mp4").symlink_to(outside)
    (root / "cam0" / "link.mp4.idx").symlink_to(index_path(outside))
    recorded(root / "pipe" / "p.mp4", "cam0").unlink()
    os.mkfifo(root / "pipe" / "p.mp4")
    catalogue = Catalogue((root,), list)
    for name in ("away/secret.mp4", "cam0/link.mp4", "pipe/p.mp4"):
        with pytest.raises(NotFound):
            catalogue.open(name, "cam0")
        with pytest.raises(NotFound):
            catalogue.delete(name, "cam0")
    assert outside.exists()


def test_an_index_that_names_no_output_deletes_nothing(root: Path) -> None:
    file = recorded(root / "cam0" / "odd.mp4", "cam0", output="../../etc")
    with pytest.raises(NotFound):
        Catalogue((root,), list).delete("cam0/odd.mp4", "cam0")
    assert file.exists()


@pytest.mark.parametrize(
    ("header", "span"),
    [
        ("bytes=0-", Span(0, 100)),
        ("bytes=10-19", Span(10, 20)),
        ("bytes=10-1000", Span(10, 100)),
        ("bytes=-10", Span(90, 100)),
        ("bytes=-1000", Span(0, 100)),
        ("bytes=99-99", Span(99, 100)),
        ("bytes=100-", Span(100, 100)),
        ("bytes=-0", Span(100, 100)),
        ("bytes=20-10", None),
        ("bytes=0-1,5-6", None),
        ("bytes=-", None),
        ("bytes=a-b", None),
        ("frames=0-1", None),
        ("bytes=0-1e3", None),
        ("", None),
    ],
)
def test_ranges(header: str, span: Span | None) -> None:
    assert span_of(header, 100) == span
