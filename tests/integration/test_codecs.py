"""Every codec from the ring to a file that other programs decode; and clear words where a codec cannot go."""

import subprocess
import tempfile
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import msgspec
import numpy as np
import pytest
from msgspec.structs import replace

from schemas.packets import PacketHeader, VideoCodec
from schemas.resources import OutputFormat, OutputSpec
from services.publisher.outputs import OUTPUTS, make_output
from services.publisher.outputs.base import OutputSettings
from services.publisher.progress import OutputProgress
from services.publisher.writer import OutputWriter
from shared.media.mux import TrackParameters
from tests.support.encoder import HEIGHT, SPEC, WIDTH, Bench, decode
from tests.support.mesh import CallFailed, RunningMesh
from tests.support.peers import probe

pytestmark = pytest.mark.integration

CODECS: tuple[VideoCodec, ...] = get_args(VideoCodec)
FILE_SUFFIXES: dict[OutputFormat, str] = {"mp4": ".mp4", "mkv": ".mkv", "ts": ".ts"}
OFFER = (Path(__file__).parents[1] / "unit/fixtures/whep_offer_chromium.sdp").read_bytes()
Packets = list[tuple[bytes, dict[str, Any]]]


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="framemesh-test-", dir="/dev/shm") as path:
        yield Path(path) / "rings"


def encoded(folder: Path, codec: VideoCodec, pictures: int = 12, **geometry: Any) -> Packets:
    """Packets of pictures that get brighter, by software whatever this machine has."""
    bench = Bench(folder, replace(SPEC, codec=codec, encoder="software", key_interval="200ms"), **geometry)
    try:
        for number in range(pictures):
            bench.write(40 + number % 12 * 10)
    finally:
        bench.close()
    assert not bench.failures
    return bench.published.packets


def header(number: int, fields: dict[str, Any]) -> PacketHeader:
    return PacketHeader(stream="cam0", rendition="main", run=1, index=number, **fields)


@pytest.mark.parametrize("codec", CODECS)
def test_each_picture_is_one_packet_and_looks_as_it_went_in(folder: Path, codec: VideoCodec) -> None:
    packets = encoded(folder, codec)
    keys = [number for number, (_, fields) in enumerate(packets) if fields["key"]]
    assert keys == (list(range(12)) if codec == "mjpeg" else [0, 6]), "key frames when they are due and only then"
    pictures = decode(packets, codec)
    levels = [float(picture.mean()) for picture in pictures]
    # Limited range in the ring: 16 is black and 235 white.
    assert np.abs(np.array(levels) - [(40 + number * 10 - 16) * 255 / 219 for number in range(12)]).max() < 4
    assert all(fields["codec"] == codec for _, fields in packets)
    configured = codec in ("h264", "hevc", "av1")
    assert [bool(fields["extradata"]) for _, fields in packets] == [
        configured and fields["key"] for _, fields in packets
    ]
    assert len(decode(packets[6:], codec)) == 6, "decoding can start at the second key picture"


@pytest.mark.parametrize("codec", CODECS)
def test_a_recording_is_decoded_without_a_complaint(folder: Path, tmp_path: Path, codec: VideoCodec) -> None:
    packets = encoded(folder, codec, 30)
    parameters = TrackParameters.from_header(header(0, packets[0][1]))
    assert parameters is not None
    kinds = [kind for kind in FILE_SUFFIXES if codec in OUTPUTS[kind].video_codecs]
    assert "mkv" in kinds
    for kind in kinds:
        spec = OutputSpec(stream="cam0", output="archive", to=f"file://{tmp_path}/{codec}{FILE_SUFFIXES[kind]}")
        output = make_output(spec, spec.to, OutputSettings(file_roots=(tmp_path,)))
        output.open({"video": parameters}, packets[0][1]["pts_ns"])
        first_ns = packets[0][1]["pts_ns"]
        for number, (payload, fields) in enumerate(packets):
            at_ns = fields["pts_ns"] - first_ns
            output.write(header(number, fields), memoryview(payload), at_ns, at_ns)
        output.close()
        video = probe(Path(output.file))["video"]
        assert (video.codec, video.width, video.height, video.decoded) == (codec, WIDTH, HEIGHT, 30), kind
        player = ["ffmpeg", "-v", "error", "-xerror", "-i", output.file, "-f", "null", "-"]
        done = subprocess.run(player, capture_output=True, text=True, timeout=60)
        assert (done.returncode, done.stderr) == (0, ""), kind


@pytest.mark.parametrize(
    ("codec", "to"),
    [
        ("vp8", "file"),
        ("hevc", "rtmp"),
        ("mjpeg", "rtmp"),
        ("av1", "rtsp"),
        ("vp9", "ts"),
        ("av1", "srt"),
        ("mjpeg", "udp"),
    ],
)
def test_an_output_says_what_it_cannot_carry_and_what_it_can(
    folder: Path, tmp_path: Path, codec: VideoCodec, to: str
) -> None:
    packets = encoded(folder, codec, 2)
    urls = {
        "file": f"file://{tmp_path}/a.mp4",
        "rtmp": "rtmp://127.0.0.1:9/live/key",
        "rtsp": "rtsp://127.0.0.1:9/live",
        "ts": f"file://{tmp_path}/a.ts",
        "srt": "srt://127.0.0.1:9",
        "udp": "udp://127.0.0.1:9",
    }
    spec = OutputSpec(stream="cam0", output="archive", to=urls[to])
    told: list[OutputProgress] = []
    failed = threading.Event()

    def hear(progress: OutputProgress) -> None:
        told.append(progress)
        if progress.error:
            failed.set()

    writer = OutputWriter(spec, spec.to, OutputSettings(file_roots=(tmp_path,)), hear, expected_tracks=("video",))
    writer.start()
    for number, (payload, fields) in enumerate(packets):
        writer.feed(header(number, fields), memoryview(payload))
    assert failed.wait(10)
    writer.stop(5)
    error = next(progress.error for progress in told if progress.error)
    transport = dict.fromkeys(("ts", "srt", "udp"), "h264 or hevc")
    carried = {"file": "av1 or h264 or hevc or mjpeg or vp9", **transport}.get(to, "h264")
    assert error.message == f"output cam0--archive cannot carry {codec}; choose a rendition with {carried}"
    assert not list(tmp_path.glob("a.*"))


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("pixel_format", ["gray", "bgr24"])
def test_odd_sizes_lose_a_line_at_most(folder: Path, codec: VideoCodec, pixel_format: str) -> None:
    packets = encoded(folder, codec, 2, pixel_format=pixel_format, width=323, height=241)
    assert (packets[0][1]["width"], packets[0][1]["height"]) == (322, 240)
    assert decode(packets, codec)[0].shape == (240, 322, 3)


def test_the_mesh_refuses_what_cannot_be_and_serves_viewers_what_they_can_take() -> None:
    with RunningMesh() as mesh:
        mesh.call("capture.start", stream="cam0", source="test://?size=640x360&fps=30")
        for request, words in (
            ({"codec": "h266"}, "codec"),
            ({"codec": "mjpeg", "preset": "fast"}, "preset 'fast': mjpeg has no presets; leave it out"),
            ({"bitrate": "1k"}, "bitrate '1k': use 16k to 400M"),
        ):
            with pytest.raises(CallFailed) as refused:
                mesh.call("hw-encode.start", stream="cam0", rendition="x", **request)
            assert refused.value.code == 400
            assert words in refused.value.message
        mesh.call("hw-encode.start", stream="cam0", rendition="wide", codec="vp9", encoder="software", always=True)
        mesh.wait_for(lambda: (mesh.actual("renditions", "cam0", "wide") or {}).get("state") == "running")
        actual = mesh.actual("renditions", "cam0", "wide")
        assert (actual["encoder"], actual["video"]["codec"]) == ("libvpx-vp9", "vp9")
        offer = urllib.request.Request(
            f"{mesh.console}whep/cam0/wide", data=OFFER, headers={"Content-Type": "application/sdp"}
        )
        with urllib.request.urlopen(offer, timeout=10) as answered:
            assert answered.headers["X-Framemesh-Rendition"] == "wide"
        offer.data = OFFER.replace(b" VP9/", b" X/")
        with urllib.request.urlopen(offer, timeout=10) as answered:
            assert answered.headers["X-Framemesh-Rendition"] == 'main; instead-of=wide; reason="its codec is vp9"'
        mesh.call("hw-encode.start", stream="cam0", rendition="main", codec="vp9", encoder="software")
        offer.full_url = f"{mesh.console}whep/cam0"
        with urllib.request.urlopen(offer, timeout=10) as answered:
            assert answered.headers["X-Framemesh-Rendition"] == 'h264; instead-of=main; reason="its codec is vp9"'
        offer.data = OFFER.replace(b"/90000", b"x/90000")
        with pytest.raises(urllib.error.HTTPError) as refusal:
            urllib.request.urlopen(offer, timeout=10)
        assert refusal.value.code == 406
        assert "has no H.264" in msgspec.json.decode(refusal.value.read())["message"]
