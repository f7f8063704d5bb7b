"""Videos as they are found: cut anywhere, damaged in their headers, with words nobody can read, of every odd kind."""

from collections.abc import Callable
from pathlib import Path

import pytest

from schemas.extraction import VideoFacts
from schemas.sampling import Sampling
from services.frame_extractor.engine import OpenVideo, Taken, VideoError, take
from tests.support.clips import Clips, Picture, digest, exhaustive

_PACKET_BYTES = 188  # of a transport stream
_TABLES = 3  # its first packets, which say what is in it
_X264 = "-c:v libx264 -preset veryfast -sc_threshold 0 -g 10 -bf 2"


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Clips:
    return Clips(tmp_path_factory.mktemp("awkward"))


def all_of(path: Path) -> tuple[list[tuple[float, str]], VideoFacts]:
    """Time and digest of every picture that the engine finds."""
    got: dict[int, tuple[float, str]] = {}

    def on_picture(one: Taken) -> None:
        got[one.number] = one.pts_s, digest(one.frame)

    facts = take(OpenVideo.of_path(path), Sampling(mode="frames", interval_frames=1), on_picture, threads=2)
    return [got[number] for number in sorted(got)], facts


def in_order(pictures: tuple[Picture, ...]) -> list[str]:
    return [picture.digest for picture in sorted(pictures, key=lambda picture: picture.pts or 0)]


@pytest.mark.parametrize(
    "coding",
    [
        f"{_X264} -x264-params open-gop=1",
        _X264,
        "-c:v libx265 -preset ultrafast -x265-params log-level=none:keyint=10:open-gop=1:bframes=3",
        "-c:v mpeg2video -g 10 -bf 2",
    ],
)
def test_a_recording_that_was_cut_anywhere_begins_with_its_first_picture(clips: Clips, coding: str) -> None:
    content = clips.make("whole.ts", coding, seconds=1.2).read_bytes()
    middle = int(len(content) * 0.2) // _PACKET_BYTES * _PACKET_BYTES
    path = clips.folder / f"cut-{len(content)}.ts"
    path.write_bytes(content[: _TABLES * _PACKET_BYTES] + content[middle:])
    got, facts = all_of(path)
    assert [one for _, one in got] == in_order(exhaustive(path))
    assert got[0][0] == 0
    assert len(got) >= 10
    assert facts.duration_s == pytest.approx(len(got) / 25, abs=1e-3)
    assert facts.note == ""


def test_of_pictures_with_one_time_the_last_is_shown(clips: Clips) -> None:
    path = clips.make(
        "twice.mkv", "-c:v libx264 -preset veryfast -bf 0 -vf setpts=floor(N/2)*2/25/TB -vsync passthrough"
    )
    pictures = [picture.digest for picture in exhaustive(path)]
    got, _ = all_of(path)
    assert [one for _, one in got[::2]] == pictures[1::2]


def test_streams_that_come_up_on_the_way(clips: Clips) -> None:
    alone = clips.make("alone.ts", _X264, seconds=0.6)
    source = "testsrc2=size=178x100:rate=25:duration=0.6[out0];sine=duration=0.6[out1]"
    both = clips.make("both.ts", f"{_X264} -c:a mp2", source)
    path = clips.folder / "grown.ts"
    path.write_bytes(alone.read_bytes() + both.read_bytes())
    got, _ = all_of(path)
    assert [one for _, one in got] == [picture.digest for picture in exhaustive(path)]
    assert len(got) == 30


def asf_width(content: bytes) -> bytes:
    at = content.index(b"WMV2") - 12  # BITMAPINFOHEADER.biWidth
    return content[:at] + (1 << 31).to_bytes(4, "little") + content[at + 4 :]


@pytest.mark.parametrize(("name", "coding", "damage", "kind"), [("header.wmv", "-c:v wmv2", asf_width, "video")])
def test_headers_that_cannot_be(
    clips: Clips, name: str, coding: str, damage: Callable[[bytes], bytes], kind: str
) -> None:
    path = clips.make(name, coding, seconds=0.2)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(VideoError) as refused:
        all_of(path)
    assert refused.value.kind == kind
    assert name in refused.value.message


def test_a_title_that_nobody_can_read_is_no_reason_to_take_no_pictures(clips: Clips) -> None:
    path = clips.make("title.mp4", f"{_X264} -metadata title=Caf-XX", seconds=0.2)
    path.write_bytes(path.read_bytes().replace(b"Caf-XX", b"Caf\xe9\xff\xfe"))
    assert len(all_of(path)[0]) == 5


@pytest.mark.parametrize(
    ("name", "coding", "pictures"),
    [
        ("moving.png", "-vf fps=10 -plays 0 -f apng", 4),
        ("moving.gif", "-vf fps=10", 4),
        ("still.webp", "-frames:v 1", 1),
        ("raw.m2v", "-c:v mpeg2video", 10),
        ("pal.dv", "-c:v dvvideo -s 720x576", 10),
    ],
)
def test_pictures_of_odd_files(clips: Clips, name: str, coding: str, pictures: int) -> None:
    path = clips.make(name, coding, seconds=0.4)
    got, _ = all_of(path)
    assert len(got) == pictures
    assert len({one for _, one in got}) == pictures


@pytest.mark.parametrize(
    ("name", "coding"),
    [("a.nut", _X264), ("a.swf", "-c:v flv1"), ("a.rm", "-c:v rv10 -s 176x144"), ("moving.webp", "")],
)
def test_what_is_not_read_here_is_told_from_what_is_broken(clips: Clips, name: str, coding: str) -> None:
    with pytest.raises(VideoError) as refused:
        all_of(clips.make(name, coding, seconds=0.4))
    assert refused.value.kind == "format"
    assert name in refused.value.message


@pytest.mark.parametrize("name", ["far.mp4", "far.mkv", "far.ts", "far.avi"])
def test_pictures_that_lie_far_apart(clips: Clips, name: str) -> None:
    """So far that the engine seeks: to more than a hundred packets ahead."""
    source = "testsrc2=size=48x32:rate=50:duration=5"
    path = clips.make(name, "-c:v libx264 -preset ultrafast -threads 1 -g 40 -bf 2", source)
    wanted = (0, 1, 129, 130, 247)
    got: dict[int, str] = {}
    sampling = Sampling(mode="timestamps", timestamps_s=tuple(picture / 50 + 0.001 for picture in wanted))
    take(OpenVideo.of_path(path), sampling, lambda one: got.update({one.number: digest(one.frame)}))
    pictures = in_order(exhaustive(path))
    assert [got[number] for number in sorted(got)] == [pictures[picture] for picture in wanted]
