"""A rendition is changed while it runs: the encoder follows, viewers and recordings carry on."""

import subprocess
import tempfile
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from msgspec.structs import replace

from schemas.packets import VideoCodec
from tests.support.encoder import SPEC, Bench, decode
from tests.support.mesh import RunningMesh
from tests.support.peers import probe, wait_until

pytestmark = pytest.mark.integration


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="framemesh-test-", dir="/dev/shm") as path:
        yield Path(path) / "rings"


@pytest.mark.parametrize("codec", ["h264", "hevc", "av1", "vp8", "vp9"])
def test_another_bitrate_comes_with_a_key_frame_and_loses_no_picture(folder: Path, codec: VideoCodec) -> None:
    spec = replace(SPEC, codec=codec, encoder="software")
    bench = Bench(folder, spec, width=640, height=360)
    for value in range(40, 100, 10):
        bench.write(value)
    bench.encoder.change(replace(spec, bitrate="500k"))
    for value in range(100, 160, 10):
        bench.write(value)
    bench.close()
    packets = bench.published.packets
    assert [fields["key"] for _, fields in packets] == [number in (0, 6) for number in range(12)]
    assert len(decode(packets, codec)) == 12
    configurations = {fields["extradata"] for _, fields in packets if fields["key"]}
    assert len(configurations) == 1, "a recording goes on in the same file"
    assert bench.encoder.failovers == 0
    assert len(bench.choices) == 2


def test_another_key_interval_needs_no_other_encoder(folder: Path) -> None:
    bench = Bench(folder)
    for value in range(40, 70, 10):
        bench.write(value)
    bench.encoder.change(replace(SPEC, key_interval="100ms"))
    for value in range(70, 130, 10):
        bench.write(value)
    bench.close()
    assert [number for number, (_, fields) in enumerate(bench.published.packets) if fields["key"]] == [0, 3, 6]
    assert len(bench.choices) == 1


def test_a_lower_rate_leaves_pictures_out_evenly(folder: Path) -> None:
    bench = Bench(folder)
    for value in range(40, 46):
        bench.write(value)
    bench.encoder.change(replace(SPEC, fps=10))
    refs = []
    counts = bench.encoder.counts
    for number in range(18):
        refs.append(bench.put(46 + number))
        wait_until(lambda done=7 + number: counts.encoded + counts.left_out == done, 5, "the picture judged")  # type: ignore[misc]
    bench.close()
    sequences = [fields["sequence"] for _, fields in bench.published.packets]
    assert sequences[6:] == [ref.sequence for ref in refs[::3]]
    assert bench.encoder.counts.left_out == 12
    assert bench.published.packets[-1][1]["duration_ns"] == 100_000_000


def test_a_recording_goes_on_in_its_file() -> None:
    with RunningMesh() as mesh:
        mesh.call("capture.start", stream="cam0", source="test://?size=640x360&fps=30")
        mesh.call("hw-encode.start", stream="cam0", bitrate="2M", encoder="software")
        mesh.call("publisher.start", stream="cam0", output="archive", to="file://plain.mp4")
        recorded = lambda: mesh.actual("outputs", "cam0", "archive")["bytes_written"]  # noqa: E731
        run = mesh.wait_for(lambda: recorded() > 0 and mesh.actual("renditions", "cam0")["run"])
        for change in ({"bitrate": "500k"}, {"key_interval": "500ms"}, {"fps": 10}):
            changed = mesh.call("hw-encode.start", stream="cam0", encoder="software", **{"bitrate": "500k", **change})[
                "actual"
            ]
            assert (changed["run"], changed["state"], changed["bitrate"]) == (run, "running", 500_000)
            before = recorded()
            mesh.wait_for(lambda before=before: recorded() > before, what=f"the recording going on after {change}")
        mesh.call("publisher.stop", stream="cam0", output="archive")
        files = sorted(mesh.media_dir.glob("plain*.mp4"), key=lambda path: path.stat().st_mtime)
        # H.264 tells its nominal rate in the parameter sets, so that another rate begins another file.
        assert len(files) == 2
        video = probe(files[0])["video"]
        assert video.decoded == len(video.pts)
        assert max(after - before for before, after in pairwise(video.pts)) < 0.35, "10 pictures/s at the least"
        player = ["ffmpeg", "-v", "error", "-xerror", "-i", str(files[0]), "-map", "0:v", "-f", "null", "-"]
        done = subprocess.run(player, capture_output=True, text=True, timeout=60)
        assert (done.returncode, done.stderr) == (0, "")
