"""Pictures of real files: against the picture that they were made of, and against what ffmpeg makes of them."""

import io
import subprocess
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from schemas.sampling import PictureOptions
from services.frame_extractor.pictures import make_picture, picture_array
from tests.support.reference_clips import HEIGHT, KINDS, WIDTH, make_clips, turned_file
from tests.support.reference_pictures import Rgb, opened, psnr, rgb_truth

TRUTH = rgb_truth(WIDTH, HEIGHT)
# Measured: 42 to 47 dB. What is taken for another matrix or range, or shifted by a line, has 21 to 29.
_TRUTH_DB, _FFMPEG_DB = 38.0, 38.0
_LIGHT = ("pq", "hlg")
_MATRICES: list[tuple[tuple[int, int, int, int], Callable[[Rgb], Rgb]]] = [
    ((1, 0, 0, 1), lambda shown: shown),
    ((0, 1, -1, 0), lambda shown: np.rot90(shown, -1)),  # as a phone held upright writes it
    ((-1, 0, 0, -1), lambda shown: np.rot90(shown, 2)),
    ((0, -1, 1, 0), lambda shown: np.rot90(shown, 1)),
    ((-1, 0, 0, 1), lambda shown: shown[:, ::-1]),  # as a phone's front camera does
    ((1, 0, 0, -1), lambda shown: shown[::-1]),
    ((0, 1, 1, 0), lambda shown: shown.transpose(1, 0, 2)),
    ((0, -1, -1, 0), lambda shown: np.rot90(shown, 2).transpose(1, 0, 2)),
]


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return make_clips(tmp_path_factory.mktemp("clips"))


def frame_of(source: Path | io.BytesIO) -> av.VideoFrame:
    with av.open(str(source) if isinstance(source, Path) else source) as container:
        *_, last = container.decode(video=0)
    return last


@pytest.mark.parametrize("kind", [name for name in KINDS if name not in _LIGHT])
def test_files_of_every_kind_show_the_picture(kind: str, clips: dict[str, Path]) -> None:
    frame = frame_of(clips[kind])
    assert frame.interlaced_frame == (kind == "interlaced")
    truth = TRUTH[: frame.height, : frame.width]
    for file_format in ("jpg", "png", "webp"):
        made = make_picture(frame, PictureOptions(format=file_format, quality=95))
        assert psnr(opened(made.data), truth) > _TRUTH_DB, file_format
    by_ffmpeg = ffmpeg_jpg(clips[kind])
    jpg = make_picture(frame, PictureOptions(quality=95))
    assert psnr(opened(jpg.data), opened(by_ffmpeg)) > _FFMPEG_DB


def ffmpeg_jpg(path: Path) -> bytes:
    full = "scale=out_color_matrix=bt601:out_range=full:flags=bicubic+accurate_rnd,format=yuvj420p"
    command = ["ffmpeg", "-v", "error", "-i", str(path), "-vf", full, "-q:v", "1", "-frames:v", "1"]
    return subprocess.run(
        [*command, "-f", "mjpeg", "-"], check=True, capture_output=True, stdin=subprocess.DEVNULL, timeout=30
    ).stdout


def test_anamorphic_files_become_wide(clips: dict[str, Path]) -> None:
    with av.open(str(clips["anamorphic"])) as container:
        stream = container.streams.video[0]
        frame = next(container.decode(stream))
        assert stream.sample_aspect_ratio == Fraction(4, 3)
        made = make_picture(frame, PictureOptions(quality=95), sample_aspect=stream.sample_aspect_ratio)
    assert (made.width, made.height) == (426, HEIGHT)
    assert psnr(opened(made.data), rgb_truth(426, HEIGHT)) > _TRUTH_DB


@pytest.mark.parametrize(("matrix", "shown"), _MATRICES)
def test_display_matrices_of_files(
    matrix: tuple[int, int, int, int], shown: Callable[[Rgb], Rgb], clips: dict[str, Path]
) -> None:
    frame = frame_of(io.BytesIO(turned_file(clips["hd"], matrix)))
    array = picture_array(frame, PictureOptions(), 90)  # which only counts where the file says nothing
    expected = np.rot90(TRUTH) if matrix == (1, 0, 0, 1) else shown(TRUTH)
    assert psnr(array / 255, expected) > _TRUTH_DB


def test_light_of_files_is_seen(clips: dict[str, Path]) -> None:
    """Code values of an SDR picture called PQ or HLG: brighter by the curve, and never as they stand."""
    for kind in _LIGHT:
        frame = frame_of(clips[kind])
        assert (frame.color_trc, frame.color_primaries) == ({"pq": 16, "hlg": 18}[kind], 9)
        array = picture_array(frame, PictureOptions()) / 255
        assert psnr(array, TRUTH) < 25
        frame.color_trc, frame.color_primaries = 1, 1
        assert psnr(picture_array(frame, PictureOptions()) / 255, TRUTH) > _TRUTH_DB
