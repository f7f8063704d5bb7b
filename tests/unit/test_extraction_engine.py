"""The pictures that the engine takes are those of an exhaustive decode."""

import errno
import io
import math
import random
import struct
import threading
import time
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import av
import pytest

from schemas.extraction import VideoFacts
from schemas.sampling import PictureOptions, Sampling
from services.frame_extractor.engine import Limits, OpenVideo, Taken, VideoError, take
from services.frame_extractor.engine.index import read_index
from services.frame_extractor.engine.limits import Halt
from services.frame_extractor.pictures import make_picture
from tests.support.clips import RECIPES, Clips, digest, exhaustive
from tests.support.pace import slowness

SAMPLINGS = (
    Sampling(),
    Sampling(mode="middle", fps=0.1),
    Sampling(mode="fps", fps=3.3),
    Sampling(mode="uniform", count=5),
    Sampling(mode="interval", interval_s=0.37, start_s=0.4, end_s=1.6),
    Sampling(mode="timestamps", timestamps_s=(0.0, 0.04, 0.04, 1.03, 1.99)),
    Sampling(mode="frames", interval_frames=1),
)
PIXELS = 178 * 100


class Got(NamedTuple):
    """What the engine handed over."""

    timestamp_s: float
    pts_s: float
    frame_index: int | None
    digest: str
    size: tuple[int, int]


@pytest.fixture(scope="session")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Clips:
    return Clips(tmp_path_factory.mktemp("clips"))


def taken(video: Path | OpenVideo, sampling: Sampling, **options: object) -> tuple[list[Got], VideoFacts]:
    opened = video if isinstance(video, OpenVideo) else OpenVideo.of_path(video)
    got: dict[int, Got] = {}
    expected: list[int] = []

    def on_picture(one: Taken) -> None:
        size = one.frame.width, one.frame.height
        assert one.number not in got
        got[one.number] = Got(one.timestamp_s, one.pts_s, one.frame_index, digest(one.frame), size)

    facts = take(opened, sampling, on_picture, on_expected=expected.append, **options)  # type: ignore[arg-type]
    assert expected[0] >= len(got)
    assert sorted(got) == list(range(len(got))) or facts.note
    return [got[number] for number in sorted(got)], facts


@pytest.mark.parametrize("name", RECIPES)
def test_pictures_are_those_of_an_exhaustive_decode(clips: Clips, name: str) -> None:
    pictures = exhaustive(clips[name])
    timed = all(picture.pts is not None for picture in pictures)
    with av.open(str(clips[name])) as container:
        tick = container.streams.video[0].time_base
        assert tick is not None
    if timed:
        pictures = tuple(sorted(pictures, key=lambda picture: picture.pts or 0))
        first = pictures[0].pts or 0
        times = [Fraction((picture.pts or 0) - first) * tick for picture in pictures]
    else:
        times = [Fraction(number, 25) for number in range(len(pictures))]
    for place, sampling in enumerate(SAMPLINGS):
        got, facts = taken(clips[name], sampling, threads=2 - place % 2)
        assert facts.note == ""
        assert got or (name.startswith("one.") and sampling.start_s), sampling
        if sampling.mode == "frames":
            assert [one.digest for one in got] == [picture.digest for picture in pictures]
        for one in got:
            shown = max(0, sum(at <= one.timestamp_s + 1e-6 for at in times) - 1)
            if name == "timeless.h264" and sampling.mode in ("uniform", "fps", "interval"):
                continue  # other rules, see below
            assert one.digest == pictures[shown].digest, (sampling, one.timestamp_s)
            assert one.pts_s == pytest.approx(float(times[shown]), abs=2e-3)
            assert one.frame_index in (None, shown)


@pytest.mark.parametrize(("name", "least"), [("groups.mp4", 0.2), ("layers.mkv", 0.2), ("layers-av1.mkv", 0.1)])
def test_what_no_other_picture_is_made_from_is_known(clips: Clips, name: str, least: float) -> None:
    """By the test above it is none that is needed; here that there is any."""
    index = read_index(OpenVideo.of_path(clips[name]), Limits(), Halt(threading.Event(), 60.0))
    assert index.disposable.mean() > least


def test_what_the_rules_of_an_unknown_length_are(clips: Clips) -> None:
    pictures = [picture.digest for picture in exhaustive(clips["timeless.h264"])]
    steps, _ = taken(clips["timeless.h264"], Sampling(mode="interval", interval_s=0.25))
    # The first picture from each moment on: 0, 0.28 for 0.25, 0.52 for 0.5, 0.76 for 0.75, 1.0 …
    assert [one.digest for one in steps] == [pictures[place] for place in (0, 7, 13, 19, 25, 32, 38, 44)]
    choice = Sampling(mode="uniform", count=6)
    chosen, again = (taken(clips["timeless.h264"], choice)[0] for _ in range(2))
    assert chosen == again
    assert [one.pts_s for one in chosen] == sorted(one.pts_s for one in chosen)
    other, _ = taken(clips["timeless.h264"], Sampling(mode="uniform", count=6, seed=7))
    assert len(other) == len(chosen) == 6
    assert other != chosen


def test_an_edit_list_hides_what_it_hides(clips: Clips) -> None:
    path = clips.derived("edit.mp4", "long.mp4", "-ss", "0.7")
    pictures = sorted((picture.pts or 0, picture.digest) for picture in exhaustive(path))
    got, facts = taken(path, Sampling(mode="frames", interval_frames=1), threads=2)
    assert [one.digest for one in got] == [one for _, one in pictures]
    assert facts.duration_s == pytest.approx(len(pictures) / 25, abs=0.05)


def test_a_video_may_change_its_size_and_set_its_clock_back(clips: Clips) -> None:
    half = clips.make("half.ts", "-c:v libx264 -preset veryfast -g 10 -vf scale=90:50", seconds=1)
    path = clips.folder / "joined.ts"
    path.write_bytes(clips["open.ts"].read_bytes() + half.read_bytes())
    pictures = exhaustive(path)
    got, facts = taken(path, Sampling(mode="frames", interval_frames=1), threads=2)
    assert [one.digest for one in got] == [picture.digest for picture in pictures]
    assert {one.size for one in got} == {(178, 100), (90, 50)}
    assert [one.pts_s for one in got] == sorted(one.pts_s for one in got)
    assert (facts.width, facts.height) == (178, 100)
    assert facts.duration_s == pytest.approx(3.0, abs=0.1)


def test_a_time_that_is_in_a_joined_video_twice_is_that_of_its_own_part(clips: Clips) -> None:
    # Pictures of one colour: packets of the two parts have the same times and the same sizes.
    parts = [
        clips.make(f"{colour}.ts", "-c:v libx264 -g 25 -bf 0", f"color=c={colour}:s=160x90:r=25:d=20")
        for colour in ("red", "blue")
    ]
    path = clips.folder / "colours.ts"
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    whole = [picture.digest for picture in exhaustive(path)]
    got, _ = taken(path, Sampling(mode="timestamps", timestamps_s=(5.0, 29.0)))
    assert [one.digest for one in got] == [whole[5 * 25], whole[29 * 25]]


@pytest.mark.parametrize("degrees", [0, 30, 62, 65, 89.6, 150, 180, 210, 270.4, 300, -2])
def test_a_video_is_as_wide_as_its_pictures_however_it_is_turned(clips: Clips, degrees: float) -> None:
    content = bytearray(clips["groups.mp4"].read_bytes())
    matrix = content.index(b"tkhd") + 44
    across, down = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    struct.pack_into(">5i", content, matrix, *(int(one * 65536) for one in (across, down, 0, -down, across)))
    sizes: list[tuple[int, int]] = []

    def on_picture(one: Taken) -> None:
        made = make_picture(one.frame, PictureOptions())
        sizes.append((made.width, made.height))

    facts = take(OpenVideo.of_bytes(bytes(content)), Sampling(mode="uniform", count=1), on_picture)
    assert sizes == [(facts.width, facts.height)]


def test_memory_that_runs_out_is_no_damage_of_the_video(clips: Clips) -> None:
    class Short(io.BytesIO):
        is_open = False

        def read(self, size: int | None = -1) -> bytes:
            if self.is_open:
                raise av.error.MemoryError(errno.ENOMEM, "as libav says it")
            return super().read(size)

    def opened() -> av.container.InputContainer:
        source = Short(clips.derived("memory.mkv", "long.mp4").read_bytes())
        container = av.open(source, format="matroska", buffer_size=1024, options={"probesize": "32"})
        source.is_open = True
        return container

    with pytest.raises(MemoryError):
        taken(OpenVideo(opened, "short", False), Sampling())


def test_of_a_video_that_is_cut_off_the_good_part_is_kept(clips: Clips) -> None:
    whole = clips.derived("whole.mkv", "groups.mp4")
    pictures = [picture.digest for picture in exhaustive(whole)]
    content = whole.read_bytes()
    got, facts = taken(OpenVideo.of_bytes(content[: len(content) // 2]), Sampling(mode="frames", interval_frames=1))
    # The last packet may be half of one, and what the decoder makes of that is anyone's guess.
    assert 15 < len(got) < 40
    assert [one.digest for one in got][:-4] == pictures[: len(got) - 4]
    assert facts.duration_s < 2


def test_damage_costs_the_group_it_is_in(clips: Clips) -> None:
    content = bytearray(clips["groups.mp4"].read_bytes())
    pictures = [picture.digest for picture in exhaustive(clips["groups.mp4"])]
    with av.open(str(clips["groups.mp4"])) as container:
        packets = [packet for packet in container.demux(video=0) if packet.size]
    keys = [number for number, packet in enumerate(packets) if packet.is_keyframe]
    broken = packets[keys[1] + 1]  # the first picture that others are made from, in the second group
    assert broken.pos is not None
    noise = random.Random(1).randbytes(broken.size - 8)
    content[broken.pos + 8 : broken.pos + broken.size] = noise
    got, facts = taken(OpenVideo.of_bytes(bytes(content)), Sampling(mode="frames", interval_frames=1), threads=2)
    same = [one.digest == picture for one, picture in zip(got, pictures, strict=True)]
    assert all(same[: keys[1]])
    assert all(same[keys[2] :])
    assert not all(same)
    assert "cannot be decoded" in facts.note or "damaged" in facts.note


def test_what_is_no_video_is_told_from_what_cannot_be_decoded(clips: Clips, tmp_path: Path) -> None:
    sound = clips.make("sound.m4a", "-c:a aac", source="sine=duration=1")
    playlist = tmp_path / "a.m3u8"
    playlist.write_text(f"#EXTM3U\n#EXTINF:2,\n{clips['groups.mp4']}\n")
    for content in (sound, b"", b"not a video" * 100, clips["groups.mp4"].read_bytes()[:2000], playlist):
        video = OpenVideo.of_path(content) if isinstance(content, Path) else OpenVideo.of_bytes(content)
        with pytest.raises(VideoError) as refused:
            take(video, Sampling(), lambda one: None)
        assert refused.value.kind == "video"
    with pytest.raises(VideoError) as refused:
        take(OpenVideo.of_path(tmp_path / "nothing.mp4"), Sampling(), lambda one: None)
    assert "nothing.mp4" in refused.value.message
    assert str(tmp_path) not in refused.value.message


@pytest.mark.parametrize(
    ("limits", "kind"),
    [
        (Limits(pixels=PIXELS - 1), "video"),
        (Limits(duration_s=1.9), "video"),
        (Limits(pictures=1), "parameter"),
        (Limits(wall_s=0.0), "timeout"),
    ],
)
def test_limits_hold(clips: Clips, limits: Limits, kind: str) -> None:
    with pytest.raises(VideoError) as refused:
        taken(clips["groups.mp4"], Sampling(), limits=limits)
    assert refused.value.kind == kind


def test_limits_are_met_exactly(clips: Clips) -> None:
    got, _ = taken(clips["groups.mp4"], Sampling(), limits=Limits(pixels=PIXELS, duration_s=2.0, pictures=2))
    assert len(got) == 2


def test_nothing_asked_for_still_says_what_the_video_is(clips: Clips) -> None:
    got, facts = taken(clips["groups.mp4"], Sampling(mode="timestamps", timestamps_s=(9.0,)))
    assert got == []
    assert facts == VideoFacts(duration_s=2.0, width=178, height=100, codec="h264")


def test_what_the_callback_raises_comes_out_and_ends_the_work(clips: Clips) -> None:
    calls: list[int] = []

    def on_picture(one: Taken) -> None:
        calls.append(one.number)
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        take(OpenVideo.of_path(clips["groups.mp4"]), Sampling(mode="fps", fps=25), on_picture, threads=2)
    assert len(calls) <= 2


def test_few_packets_are_decoded_for_few_pictures(clips: Clips, monkeypatch: pytest.MonkeyPatch) -> None:
    fed: list[int] = []
    import services.frame_extractor.engine.decode as decode

    is_fed = decode.is_fed

    def counted(*arguments: object) -> bool:
        answer = is_fed(*arguments)  # type: ignore[arg-type]
        fed.append(answer)
        return answer

    monkeypatch.setattr(decode, "is_fed", counted)
    taken(clips["groups.mp4"], Sampling(mode="timestamps", timestamps_s=(0.0, 1.0)))
    # The key picture of one group, and of another those that its sixth picture is made from.
    assert 2 <= sum(fed) <= 8


@pytest.mark.alone
def test_stop_ends_it_at_once(clips: Clips) -> None:
    path = clips.make("large.mp4", "-c:v libx264 -preset ultrafast -g 250 -vf scale=1920:1080", seconds=3)
    stop, first = threading.Event(), threading.Event()
    ended: list[float] = []

    def work() -> None:
        take(
            OpenVideo.of_path(path),
            Sampling(mode="frames", interval_frames=1),
            lambda _: first.set(),
            threads=2,
            stop=stop,
        )
        ended.append(time.monotonic())

    thread = threading.Thread(target=work)
    thread.start()
    assert first.wait(10)
    stop.set()
    asked = time.monotonic()
    thread.join(10)
    assert ended[0] - asked < 0.2 * slowness()
