"""Listeners, folders, image sequences and displays at the gate."""

from pathlib import Path

import pytest

from schemas.errors import InvalidValue, NotFound
from shared.netguard import Policy, check

pytestmark = pytest.mark.unit

_SCHEMES = frozenset(("udp", "srt", "rtmp", "http", "rtsp", "file", "images", "screen"))
_LISTENS = Policy(schemes=_SCHEMES, allow_private=True, listens=True)


@pytest.mark.parametrize(
    ("url", "pinned"),
    [
        ("udp://:5000", "udp://0.0.0.0:5000/"),
        ("udp://0.0.0.0:5000", "udp://0.0.0.0:5000/"),
        ("udp://[::]:5000", "udp://[::]:5000/"),
        ("udp://239.1.2.3:5000", "udp://239.1.2.3:5000/"),
        ("udp://[ff02::1:2]:5000", "udp://[ff02::1:2]:5000/"),
        ("udp://127.0.0.1:5000", "udp://127.0.0.1:5000/"),
        ("srt://:9000?mode=listener", "srt://0.0.0.0:9000/?mode=listener"),
    ],
)
def test_where_senders_are_waited_for(url: str, pinned: str) -> None:
    guarded = check(url, _LISTENS)
    assert guarded.listens
    assert guarded.pinned == pinned


@pytest.mark.parametrize(
    "url",
    [
        "srt://:9000", "srt://0.0.0.0:9000", "srt://0.0.0.0:9000?mode=caller", "srt://239.1.2.3:9000?mode=listener",
        "rtmp://0.0.0.0/app/key?listen=1", "http://239.1.2.3/x", "rtsp://[::]/x", "udp://169.254.169.254:5000",
        "udp://255.255.255.255:5000", "udp://[::ffff:239.1.2.3]:5000", "udp://:0", "udp://",
    ],
)  # fmt: skip
def test_what_is_no_place_to_listen(url: str) -> None:
    with pytest.raises(InvalidValue, match="source"):
        check(url, _LISTENS)


@pytest.mark.parametrize(
    "url", ["udp://:5000", "udp://0.0.0.0:5000", "udp://239.1.2.3:5000", "srt://:9000?mode=listener"]
)
def test_only_those_listen_who_may(url: str) -> None:
    with pytest.raises(InvalidValue, match="source"):
        check(url, Policy(schemes=_SCHEMES, allow_private=True))


def _files(root: Path, folders: bool = True) -> Policy:
    return Policy(schemes=_SCHEMES, file_roots=(root,), folders=folders)


def test_folders_and_patterns_stay_under_their_roots(tmp_path: Path) -> None:
    root, outside = tmp_path / "media", tmp_path / "secret"
    (root / "clips").mkdir(parents=True)
    outside.mkdir()
    (root / "out").symlink_to(outside)
    (root / "a.mp4").write_bytes(b"x")
    assert check("file://clips", _files(root)).file == root / "clips"
    found = check("images://clips/shot-*.png?fps=5", _files(root))
    assert (found.file, found.path, found.query) == (root / "clips", "shot-*.png", "fps=5")
    assert check("images://*.png", _files(root)).file == root
    for url in ("file://out", "images://out/*.png", "file:///etc", "images:///etc/*", "images://../secret/*.png"):
        with pytest.raises(InvalidValue, match="must lie under"):
            check(url, _files(root))
    for url in ("images://clips/*/a.png", "images://c*ps/a.png", "images://clips/", "images://"):
        with pytest.raises(InvalidValue, match="source"):
            check(url, _files(root))
    with pytest.raises(InvalidValue, match="folder"):
        check("images://a.mp4/*.png", _files(root))
    with pytest.raises(NotFound, match="no such folder"):
        check("images://none/*.png", _files(root))
    with pytest.raises(InvalidValue, match="regular file"):
        check("file://clips", _files(root, folders=False))


@pytest.mark.parametrize("display", ["", ":0", ":12", ":0.1"])
def test_displays_of_this_machine(display: str) -> None:
    assert check(f"screen://{display}?fps=5", Policy(schemes=_SCHEMES)).host == display


@pytest.mark.parametrize("display", ["host:0", "0", ":", ":x", ":0+10,20", ":0/../x", "127.0.0.1:0", ":123456"])
def test_no_other_displays(display: str) -> None:
    with pytest.raises(InvalidValue, match="display of this machine"):
        check(f"screen://{display}", Policy(schemes=_SCHEMES))
