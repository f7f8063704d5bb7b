"""The playlist as RFC 8216 wants it, read back, trimmed; and the names of its pieces."""

import os
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.publisher.outputs.hls_folder import HlsFolder
from services.publisher.outputs.hls_playlist import Entry, Playlist, time_text

pytestmark = pytest.mark.unit

NAMES = re.compile(r"a-(\d{6,12})\.m4s|a-init-(\d{6,12})\.mp4")


def filled(count: int, seconds: float = 2.0, restart_at: int = 0) -> Playlist:
    playlist = Playlist("cam0--live", 2.0)
    for number in range(count):
        playlist.append(
            Entry(
                name=f"a-{number + 10:06d}.m4s",
                header="a-init-000002.mp4" if restart_at and number >= restart_at else "a-init-000001.mp4",
                seconds=seconds,
                time=time_text(1_700_000_000_000_000_000 + number * 2_000_000_000),
                discontinuity=bool(restart_at and number == restart_at),
            )
        )
    return playlist


def test_a_playlist_that_only_grows_becomes_a_finished_one() -> None:
    playlist = filled(2)
    text = playlist.text(grows_only=True, ended=False)
    assert text.splitlines() == [
        "#EXTM3U",
        "#EXT-X-VERSION:7",
        "## framemesh cam0--live",
        "#EXT-X-TARGETDURATION:2",
        "#EXT-X-MEDIA-SEQUENCE:0",
        "#EXT-X-DISCONTINUITY-SEQUENCE:0",
        "#EXT-X-PLAYLIST-TYPE:EVENT",
        "#EXT-X-INDEPENDENT-SEGMENTS",
        '#EXT-X-MAP:URI="a-init-000001.mp4"',
        "#EXT-X-PROGRAM-DATE-TIME:2023-11-14T22:13:20.000Z",
        "#EXTINF:2.000000,",
        "a-000010.m4s",
        "#EXT-X-PROGRAM-DATE-TIME:2023-11-14T22:13:22.000Z",
        "#EXTINF:2.000000,",
        "a-000011.m4s",
    ]
    ended = playlist.text(grows_only=True, ended=True).splitlines()
    assert "#EXT-X-PLAYLIST-TYPE:VOD" in ended
    assert ended[-1] == "#EXT-X-ENDLIST"


def test_numbers_go_on_when_pieces_leave_the_window() -> None:
    playlist = filled(10, restart_at=3)
    gone = playlist.trim(8.0)
    assert [entry.name for entry in gone] == [f"a-{number:06d}.m4s" for number in range(10, 16)]
    assert (playlist.first, playlist.discontinuities, playlist.seconds) == (6, 1, 8.0)
    text = playlist.text(grows_only=False, ended=False)
    assert "#EXT-X-MEDIA-SEQUENCE:6\n#EXT-X-DISCONTINUITY-SEQUENCE:1\n" in text
    assert "PLAYLIST-TYPE" not in text
    assert '#EXT-X-MAP:URI="a-init-000002.mp4"' in text


def test_a_short_window_keeps_three_target_durations() -> None:
    playlist = filled(10)
    playlist.trim(0.5)
    assert playlist.seconds == 6.0


def test_rare_key_pictures_make_the_target_duration_longer() -> None:
    assert "#EXT-X-TARGETDURATION:5\n" in filled(1, seconds=4.6).text(grows_only=True, ended=False)


@pytest.mark.parametrize("ended", [False, True])
def test_what_was_written_is_read_back(ended: bool) -> None:
    playlist = filled(6, seconds=4.6, restart_at=2)
    playlist.trim(15.0)
    text = playlist.text(grows_only=False, ended=ended)
    loaded = Playlist("cam0--live", 2.0)
    loaded.load(text, NAMES)
    assert loaded.entries == playlist.entries
    assert loaded.text(grows_only=False, ended=ended) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "#EXTM3U\n",
        "#EXTM3U\n#EXT-X-VERSION:7\n## framemesh cam1--live\n",
        "#EXTM3U\n## framemesh cam0--live\n#EXTINF:2.0,\n../../etc/passwd\n",
        '#EXTM3U\n## framemesh cam0--live\n#EXT-X-MAP:URI="x.mp4"\n#EXTINF:2.0,\na-000001.m4s\n',
        '#EXTM3U\n## framemesh cam0--live\n#EXT-X-MAP:URI="a-init-000001.mp4"\na-000001.m4s\n',
    ],
)
def test_a_playlist_of_somebody_else_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="it "):
        Playlist("cam0--live", 2.0).load(text, NAMES)


@given(text=st.text(alphabet='#EXTINF:-MAP"./a0123456789ms4\n,', max_size=200))
def test_whatever_stands_there_it_is_read_or_refused(text: str) -> None:
    playlist = Playlist("cam0--live", 2.0)
    try:
        playlist.load("#EXTM3U\n## framemesh cam0--live\n" + text, NAMES)
    except ValueError:
        return
    assert all(NAMES.fullmatch(entry.name) and NAMES.fullmatch(entry.header) for entry in playlist.entries)


def folder_of(tmp_path: Path) -> HlsFolder:
    return HlsFolder(os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY), tmp_path / "a.m3u8")


def test_no_name_is_used_twice_and_strangers_are_left_alone(tmp_path: Path) -> None:
    for name in ("a-000041.m4s", "a-init-000042.mp4", "a-b-000099.m4s", "ab-000099.m4s", "a-9.m4s"):
        (tmp_path / name).write_bytes(b"x")
    folder = folder_of(tmp_path)
    assert (folder.header_name(), folder.piece_name()) == ("a-init-000043.mp4", "a-000044.m4s")
    folder.write("a-000044.m4s", b"one", b"two", sync=True)
    assert (tmp_path / "a-000044.m4s").read_bytes() == b"onetwo"
    folder.keep_only({"a-000044.m4s"}, for_seconds=60.0)
    assert (tmp_path / "a-000041.m4s").exists(), "somebody may be playing it"
    folder.close()
    again = folder_of(tmp_path)
    again.keep_only({"a-000044.m4s"}, for_seconds=0.0)
    again.close()
    assert sorted(os.listdir(tmp_path)) == ["a-000044.m4s", "a-9.m4s", "a-b-000099.m4s", "ab-000099.m4s"]


def test_a_link_is_replaced_and_not_followed(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_text("mine")
    inside = tmp_path / "live"
    inside.mkdir()
    (inside / "a.m3u8").symlink_to(outside)
    (inside / ".a-000001.m4s.new").symlink_to(outside)
    folder = folder_of(inside)
    with pytest.raises(OSError, match="symbolic"):
        folder.read_playlist()
    with pytest.raises(OSError, match="symbolic"):
        folder.write("a-000001.m4s", b"x", sync=False)
    folder.write_playlist("#EXTM3U\n")
    folder.close()
    assert outside.read_text() == "mine"
    assert not (inside / "a.m3u8").is_symlink()
