"""Ways in for media files: videos, pictures, recordings and their indexes."""

import functools
import io
from collections.abc import Callable
from typing import Any, Final

import av
import numpy as np
from av.video.codeccontext import VideoCodecContext

from schemas.sampling import Sampling
from services.capture.sources.picture_reader import read_picture
from services.cloud_mix_proxy.mixer.stills import decode
from services.frame_extractor.engine.limits import Limits
from services.frame_extractor.engine.open import OpenVideo
from services.frame_extractor.engine.take import take
from services.publisher.file_figures import cut_broken_end, is_only_begun, read_figures
from services.publisher.mp4_fragments import fragments
from services.publisher.repair import cut_before, repair_index
from shared.recording_index import (
    KEY,
    RECORD,
    BadIndex,
    IndexAppender,
    IndexHeader,
    index_path,
    read_index,
    read_summary,
)
from tests.fuzz.inputs import FPS, HEIGHT, WIDTH, folder, written

_PICTURES: Final = 6


@functools.cache
def _video(container: str, codec: str, options: tuple[tuple[str, str], ...] = ()) -> bytes:
    file = io.BytesIO()
    with av.open(file, "w", format=container, options=dict(options)) as output:
        stream = output.add_stream(codec, rate=FPS)
        assert isinstance(stream.codec_context, VideoCodecContext)
        stream.codec_context.width, stream.codec_context.height = WIDTH, HEIGHT
        stream.codec_context.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        stream.codec_context.thread_count = 1
        if codec == "libx264":
            stream.codec_context.options = {"preset": "ultrafast", "g": "3"}
        noise = np.random.default_rng(3)
        for _ in range(_PICTURES):
            picture = noise.integers(16, 60, (HEIGHT * 3 // 2, WIDTH), np.uint8)
            frame = av.VideoFrame.from_ndarray(picture, format="yuv420p")
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return file.getvalue()


_FRAGMENTED: Final = (("movflags", "frag_keyframe+empty_moov+default_base_moof"),)


def videos() -> list[bytes]:
    kinds = (("mp4", "libx264"), ("matroska", "libx264"), ("mpegts", "libx264"), ("avi", "mjpeg"), ("flv", "libx264"))
    return [_video(container, codec) for container, codec in kinds] + [_video("mp4", "libx264", _FRAGMENTED)]


def video(data: bytes) -> None:
    """A video as extraction reads it: the pictures that can be decoded, or why there are none."""
    taken = 0

    def on_picture(_picture: Any) -> None:
        nonlocal taken
        taken += 1

    limits = Limits(pixels=1 << 20, duration_s=3_600, wall_s=5, pictures=200)
    take(OpenVideo.of_bytes(data), Sampling(mode="frames", interval_frames=1), on_picture, limits=limits)
    assert taken <= limits.pictures


def picture(data: bytes) -> None:
    """A picture file of a folder that is played."""
    frame = read_picture(written("picture", data))
    assert 0 < frame.width * frame.height <= 64_000_000


def still(data: bytes) -> None:
    """A picture of a mix, from wherever it came."""
    image = decode(data, (640, 360))
    assert image.shape[0] <= 360
    assert image.shape[1] <= 640


def pictures() -> list[bytes]:
    from PIL import Image

    made = []
    noise = np.random.default_rng(5).integers(0, 255, (HEIGHT, WIDTH, 3), np.uint8)
    for kind in ("png", "jpeg", "webp", "bmp", "tiff", "gif"):
        file = io.BytesIO()
        Image.fromarray(noise).save(file, kind)
        made.append(file.getvalue())
    return made


def recording(data: bytes) -> None:
    """A recorded MP4 after a crash, with its index: cut to what is whole, and the index made to agree."""
    place = written("cut.mp4", data)
    is_only_begun(place)
    read_figures(place)
    cut_broken_end(place)
    with place.open("rb", buffering=0) as file:
        found = sum(len(fragment.samples) for fragment in fragments(file.fileno()))
    index_path(place).write_bytes(_index("mp4"))
    summary = repair_index(place)
    assert summary is not None
    assert summary.pictures == min(found, summary.pictures)


def recordings() -> list[bytes]:
    return [_video("mp4", "libx264", _FRAGMENTED)]


def recording_index(data: bytes) -> None:
    """The index beside a recording that is whole."""
    place = written("whole.mp4", _video("mp4", "libx264", _FRAGMENTED))
    index_path(place).write_bytes(data)
    each: list[Callable[[], object]] = [
        lambda: read_index(index_path(place)),
        lambda: read_index(index_path(place), 2, 3),
        lambda: read_summary(index_path(place)),
        lambda: cut_before(place, 1, 3),
        lambda: repair_index(place),
    ]
    for step in each:
        try:
            step()
        except BadIndex:
            continue


@functools.cache
def _index(container: str) -> bytes:
    path = folder() / "seed.idx"
    header = IndexHeader(
        version=1, stream="cam0", output="o", rendition="main", node="n", format=container, codec="h264",
        width=WIDTH, height=HEIGHT, start_ns=10**18,
    )  # fmt: skip
    appender = IndexAppender(path, header)
    records = np.zeros(_PICTURES, RECORD)
    for number in range(_PICTURES):
        records[number] = (
            number,
            1,
            1,
            number,
            number * 10**7,
            10**18,
            800 + number,
            40_000_000,
            KEY * (number % 3 == 0),
        )
    appender.append(records)
    appender.close()
    return path.read_bytes()


def indexes() -> list[bytes]:
    return [_index("mp4"), _index("mpegts")]
