"""Few pictures of long videos without an index of all pictures: the right ones, from parts of the file."""

import hashlib
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from schemas.extraction import SubmitJob, VideoFacts
from schemas.sampling import Sampling
from services.frame_extractor.engine import Limits, OpenVideo, Taken, take
from services.frame_extractor.excerpts import make_excerpt, transport
from services.frame_extractor.extraction import Extraction
from services.frame_extractor.sampler import VideoFrameSampler
from services.frame_extractor.storage import Places, StorageSettings
from tests.support.media_server import MediaServer, media_server

pytestmark = pytest.mark.integration

_FRAGMENTS = "-movflags +frag_keyframe+empty_moov+default_base_moof"
CODED = {
    "closed": "-c:v libx264 -preset ultrafast -threads 1 -g 20 -bf 2 -crf 20",
    "open": "-c:v libx264 -preset ultrafast -threads 1 -g 20 -bf 3 -x264-params open-gop=1:b-adapt=0 -crf 20",
    "hevc": "-c:v libx265 -preset ultrafast -x265-params log-level=none:keyint=24:bframes=3 -crf 20",
}
WRITTEN = {
    "mkv": "-cluster_time_limit 2000",
    "ts": "",
    "frag.mp4": _FRAGMENTS,
    "sidx.mp4": f"{_FRAGMENTS}+global_sidx+skip_trailer",
}
SAMPLINGS = (
    Sampling(mode="timestamps", timestamps_s=(0.0, 13.3, 13.96, 41.0, 60.0)),
    Sampling(mode="uniform", count=3),
    Sampling(mode="interval", interval_s=25.0, start_s=7.31),
    Sampling(mode="fps", fps=0.05, max_frames=2),
)
FEW = SAMPLINGS[0]
NEVER = threading.Event()


class Memory:
    """A source that counts."""

    def __init__(self, data: bytes) -> None:
        self.data, self.size_bytes, self.read_bytes, self.fragmented = data, len(data), 0, False

    def read(self, start: int, end: int) -> bytes:
        assert 0 <= start <= end <= self.size_bytes
        self.read_bytes += end - start
        return self.data[start:end]


@pytest.fixture(scope="session")
def videos(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """A minute each, with sound, and a key picture every two seconds."""
    folder: Path = tmp_path_factory.mktemp("excerpts")
    base = "ffmpeg -v error -f lavfi -i testsrc2=size=128x72:rate=10:duration=60 -f lavfi -i sine=duration=60"
    made = {}
    for coded, options in CODED.items():
        source = folder / f"{coded}.mp4"
        subprocess.run(f"{base} {options} -c:a aac -b:a 16k {source}".split(), check=True, timeout=60)
        for name, written in WRITTEN.items():
            path = folder / f"{coded}.{name}"
            subprocess.run(f"ffmpeg -v error -i {source} -c copy {written} {path}".split(), check=True, timeout=30)
            made[path.name] = path.read_bytes()
    return made


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is small beside a real video is as large as these."""
    monkeypatch.setattr(transport, "_CLOSE_BYTES", 32 << 10)
    monkeypatch.setattr(transport, "_LOOK_BYTES", 8 << 10)
    monkeypatch.setattr(transport, "_HEAD_BYTES", 8 << 10)


def excerpt_of(data: bytes, sampling: Sampling) -> tuple[bytes | None, int]:
    source = Memory(data)
    parts = make_excerpt(source, data[:16], sampling, Limits(), NEVER)
    return None if parts is None else b"".join(parts), source.read_bytes


def pictures(data: bytes, sampling: Sampling) -> tuple[VideoFacts, dict[int, tuple[float, float, str]]]:
    found: dict[int, tuple[float, float, str]] = {}

    def note(taken: Taken) -> None:
        digest = hashlib.sha256(taken.frame.to_ndarray().tobytes()).hexdigest()
        found[taken.number] = taken.timestamp_s, taken.pts_s, digest

    return take(OpenVideo.of_bytes(data), sampling, note, threads=2), found


@pytest.mark.parametrize("coded", CODED)
@pytest.mark.parametrize("name", WRITTEN)
def test_pictures_are_those_of_the_whole(videos: dict[str, bytes], coded: str, name: str) -> None:
    data = videos[f"{coded}.{name}"]
    for sampling in SAMPLINGS:
        excerpt, read_bytes = excerpt_of(data, sampling)
        assert excerpt is not None, sampling
        assert pictures(excerpt, sampling) == pictures(data, sampling), sampling
        assert read_bytes < 0.4 * len(data)
    assert excerpt_of(data, Sampling(mode="frames", interval_frames=300)) == (None, 0)
    assert excerpt_of(data, Sampling(mode="fps", fps=1))[0] is None  # nearly all of it is needed


def test_what_says_too_little_or_what_is_not_so(videos: dict[str, bytes], tmp_path: Path) -> None:
    mkv, ts, mp4 = (videos[f"closed.{name}"] for name in ("mkv", "ts", "frag.mp4"))
    tfra = mp4.rindex(b"tfra", 0, mp4.rindex(b"tfra")) - 4  # of the first track, the pictures'
    last = (
        tfra + int.from_bytes(mp4[tfra : tfra + 4], "big") - 19
    )  # of its entries, each a time, a place and three bytes
    cues = mkv.rindex(b"\x1c\x53\xbb\x6b")
    for what, data in {
        "no cues": mkv[:cues] + bytes(len(mkv) - cues),
        "cues that lead elsewhere": mkv[:cues] + mkv[cues:].replace(b"\xf1", b"\xf7"),
        "groups that are gone": mkv[: len(mkv) // 4] + bytes(len(mkv) // 2) + mkv[len(mkv) * 3 // 4 :],
        "a length that is wrong": mkv[:4] + b"\x01" + b"\xff" * 7 + mkv[12:],
        "joined": ts + ts,
        "cut off": ts[: len(ts) // 2] + bytes(len(ts) // 2),
        "no index": mp4[: mp4.rindex(b"mfra") - 4],
        "an index of another file": mp4[: len(mp4) // 2] + mp4[len(mp4) // 2 + 999 :],
        "a time beyond all others": mp4[:last] + b"\x7f" + mp4[last + 1 :],
        "a place within pictures": mp4[: last - 4] + b"\x55" + mp4[last - 3 :],
        "a place out of the file": mp4[: last + 8] + b"\x7f" + mp4[last + 9 :],
        "nothing": b"\x47" * 5000,
        "empty": b"",
    }.items():
        excerpt, _ = excerpt_of(data, FEW)
        assert excerpt is None or pictures(excerpt, FEW)[1] == pictures(data, FEW)[1], what
        assert excerpt is None or what in (
            "groups that are gone",
            "a place within pictures",
            "a place out of the file",
        ), what


class Counted:
    """What a server was asked for."""

    def __init__(self, server: MediaServer) -> None:
        self._server = server

    def bytes(self, size: int) -> int:
        """At most: of open ends all that is left, but for the first of each, where a connection is soon closed."""
        total = 0
        for _, headers in self._server.requests:
            first, _, last = headers["Range"].removeprefix("bytes=").partition("-")
            total += (int(last) + 1 if last else min(size, int(first) + 65_536)) - int(first)
        return total


@pytest.fixture
def server() -> Iterator[MediaServer]:
    with media_server() as running:
        yield running


def job(url: str, places: Places, sampling: Sampling) -> list[bytes]:
    request = SubmitJob(video=url, to="file://job/{index}.jpg", sampling=sampling)
    with Extraction(request, places, Limits(), threads=2) as extraction:
        _, frames = extraction.run()
        assert places.spool.used_bytes() == 0 or extraction.done
    return [places.open_picture(frame.path).read() for frame in frames]


def damaged(data: bytes) -> bytes:
    bad = bytearray(data)
    for at in range(len(bad) * 2 // 5, len(bad) // 2, 700):
        bad[at : at + 40] = bytes(40)
    return bytes(bad)


def test_a_job_reads_parts_of_what_lies_on_a_server(
    videos: dict[str, bytes], server: MediaServer, tmp_path: Path
) -> None:
    places = Places(StorageSettings(data_dir=tmp_path, allow_private=True), {})
    places._limits = replace(places._limits, sparse_bytes=0)
    for name in ("open.mkv", "open.ts", "open.frag.mp4"):
        data = server.files[f"/{name}"] = videos[name]
        local = tmp_path / "pictures" / name
        local.parent.mkdir(exist_ok=True)
        local.write_bytes(data)
        server.requests.clear()
        assert job(server.url(f"/{name}"), places, FEW) == job(f"file://{name}", places, FEW)
        assert [headers["Range"] for _, headers in server.requests].count("bytes=0-") == 1
        assert Counted(server).bytes(len(data)) < 0.6 * len(data)
        assert places.spool.used_bytes() == 0


def test_a_sampler_reads_parts_too_and_all_of_what_is_damaged(
    videos: dict[str, bytes], server: MediaServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FRAMEMESH_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("FRAMEMESH_FRAME_EXTRACTOR_ALLOW_PRIVATE", "true")
    sampler = VideoFrameSampler("by_timestamps", timestamps_sec=[1.0, 27.3], output_frames=False)
    sampler._places._limits = replace(sampler._places._limits, sparse_bytes=0)
    good = videos["closed.mkv"]
    for name, data in (("good.mkv", good), ("bad.mkv", damaged(good))):
        (tmp_path / name).write_bytes(data)
        server.files[f"/{name}"] = data
        server.requests.clear()
        row, whole = sampler.sample(server.url(f"/{name}")), sampler.sample(str(tmp_path / name))
        assert row.base64 == whole.base64
        assert row.timestamps == whole.timestamps
        assert (len(row.timestamps), row.note) == (2, whole.note)
        looks = [headers["Range"] for _, headers in server.requests].count("bytes=0-")
        assert looks == (1 if data is good else 2)  # the second time all of it
        assert data is not good or Counted(server).bytes(len(data)) < 0.6 * len(data)


def test_fragments_without_an_index_are_fetched_once(
    videos: dict[str, bytes], server: MediaServer, tmp_path: Path
) -> None:
    places = Places(StorageSettings(data_dir=tmp_path, allow_private=True), {})
    places._limits = replace(places._limits, sparse_bytes=0)
    data = videos["closed.frag.mp4"]
    server.files["/no-index.mp4"] = data[: data.rindex(b"mfra") - 4]
    assert len(job(server.url("/no-index.mp4"), places, FEW)) == 5
    asked = [headers["Range"] for _, headers in server.requests]
    assert asked.count("bytes=0-") == 2  # a look, then all of it
    assert places.counts.figures.fetched_bytes < 1.02 * len(data)


def test_what_is_damaged_is_read_whole(videos: dict[str, bytes], server: MediaServer, tmp_path: Path) -> None:
    places = Places(StorageSettings(data_dir=tmp_path, allow_private=True), {})
    places._limits = replace(places._limits, sparse_bytes=0)
    data = server.files["/bad.mkv"] = damaged(videos["closed.mkv"])
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures/bad.mkv").write_bytes(data)
    few = Sampling(mode="timestamps", timestamps_s=(1.0, 27.3))
    assert job(server.url("/bad.mkv"), places, few) == job("file://bad.mkv", places, few)
    assert [headers["Range"] for _, headers in server.requests].count("bytes=0-") == 2  # the second time all of it
    assert places.spool.used_bytes() == 0
