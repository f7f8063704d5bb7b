"""Colours of pictures of every kind of frame, against the formulas they were made by."""

import math
from typing import Any

import av
import numpy as np
import pytest

from schemas.sampling import PictureOptions
from services.frame_extractor.pictures import make_picture, picture_array
from tests.support.reference_pictures import LIMITED, MATRICES, opened, psnr, put, rgb_truth, yuv_frame

WIDTH, HEIGHT = 160, 96
# Measured: 45 dB and more of all png and webp; the matrix of SD for that of HD gives 26, limited for full range 24.
_PNG_DB, _JPG_DB, _WEBP_DB = 42.0, 38.0, 36.0
_BEST = 95
_PQ, _HLG, _BT2020 = 16, 18, 9
TRUTH = rgb_truth(WIDTH, HEIGHT)


def dbs(frame: av.VideoFrame, truth: Any = TRUTH, **options: Any) -> dict[str, float]:
    found = {
        name: psnr(opened(make_picture(frame, PictureOptions(format=name, quality=_BEST, **options)).data), truth)
        for name in ("jpg", "png", "webp")
    }
    found["array"] = psnr(picture_array(frame, PictureOptions(**options)) / 255, truth)
    return found


def check(found: dict[str, float]) -> None:
    least = {"jpg": _JPG_DB, "png": _PNG_DB, "webp": _WEBP_DB, "array": _PNG_DB}
    assert all(found[name] >= least[name] for name in found), found


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("matrix", sorted(MATRICES))
def test_every_matrix_and_range(matrix: int, full: bool) -> None:
    check(dbs(yuv_frame(TRUTH, matrix, full=full)))


@pytest.mark.parametrize("bits", [8, 10, 12])
@pytest.mark.parametrize("layout", ["420", "422", "444"])
def test_every_depth_and_layout(bits: int, layout: str) -> None:
    check(dbs(yuv_frame(TRUTH, 1, bits=bits, layout=layout)))
    check(dbs(yuv_frame(TRUTH, 5, full=True, bits=bits, layout=layout)))


@pytest.mark.parametrize(("width", "height"), [(161, 97), (160, 97), (161, 96), (3, 3)])
@pytest.mark.parametrize("matrix", [1, 6])
def test_odd_edges_stay(width: int, height: int, matrix: int) -> None:
    truth = rgb_truth(width, height)
    frame = yuv_frame(truth, matrix, layout="444")
    for name in ("jpg", "png", "webp"):
        made = make_picture(frame, PictureOptions(format=name, quality=_BEST))
        assert (made.width, made.height) == (width, height)
        assert opened(made.data).shape == truth.shape
    if width > 3:
        check(dbs(frame, truth))
        check(dbs(yuv_frame(truth, matrix), truth))


_SIZES = [(1280, 96, 6), (160, 720, 1), (160, 718, 6), (640, 360, 6)]


@pytest.mark.parametrize(("width", "height", "matrix"), _SIZES)
def test_what_says_nothing_is_read_as_players_read_that_size(width: int, height: int, matrix: int) -> None:
    truth = rgb_truth(width, height)
    found = picture_array(yuv_frame(truth, matrix, say=False), PictureOptions()) / 255
    assert psnr(found, truth) >= _PNG_DB


def test_other_layouts() -> None:
    for name in ("rgb24", "bgr24", "gbrp", "rgb48le", "gbrp10le"):
        check(dbs(as_format(TRUTH, name)))
    frame = yuv_frame(TRUTH, 6)
    check(dbs(frame.reformat(format="nv12")))
    check(dbs(frame.reformat(format="yuyv422")))


def as_format(rgb: Any, name: str) -> av.VideoFrame:
    return av.VideoFrame.from_ndarray(np.round(rgb * 255).astype(np.uint8), format="rgb24").reformat(format=name)


def test_grey_of_both_ranges_and_depths() -> None:
    ramp = np.tile(np.linspace(0, 1, WIDTH), (HEIGHT, 1))
    truth = np.repeat(ramp[..., np.newaxis], 3, axis=2)
    for name, top, dtype in (("gray", 255, np.uint8), ("gray10le", 1023, np.uint16), ("gray16le", 65_535, np.uint16)):
        frame = av.VideoFrame(WIDTH, HEIGHT, name)
        put(frame.planes[0], np.round(ramp * top).astype(dtype))
        check(dbs(frame, truth))
    limited = av.VideoFrame(WIDTH, HEIGHT, "gray")
    put(limited.planes[0], np.round(16 + ramp * 219).astype(np.uint8))
    limited.color_range = LIMITED
    check(dbs(limited, truth))


@pytest.mark.parametrize("name", ["rgba", "bgra", "gbrap", "yuva420p", "yuva444p10le", "ya8", "pal8"])
def test_what_is_transparent_is_black(name: str) -> None:
    alpha = np.zeros((HEIGHT, WIDTH))
    alpha[:, WIDTH // 2 :] = 1
    grey = np.full((HEIGHT, WIDTH, 3), 0.6)
    rgba = np.round(np.concatenate((grey, alpha[..., np.newaxis]), axis=-1) * 255).astype(np.uint8)
    if name == "pal8":
        frame = av.VideoFrame(WIDTH, HEIGHT, "pal8")
        put(frame.planes[0], alpha.astype(np.uint8))
        frame.planes[1].update(bytes((153, 153, 153, 0)) + bytes((153, 153, 153, 255)) + bytes(1016))
    else:
        frame = av.VideoFrame.from_ndarray(rgba, format="rgba").reformat(format=name)
    for made in ("jpg", "png", "webp"):
        shown = opened(make_picture(frame, PictureOptions(format=made, quality=_BEST)).data)
        assert shown[:, : WIDTH // 2 - 16].max() < 0.03, made
        assert abs(shown[:, WIDTH // 2 + 16 :] - 0.6).max() < 0.03, made


def test_gamut_of_bt2020_becomes_that_of_bt709() -> None:
    """Pure green of BT.709 lies well within BT.2020, and comes back."""
    linear = np.array((0.3293, 0.9195, 0.0880))  # BT.2087, table 2
    green = 1.099 * linear**0.45 - 0.099  # BT.709, as BT.2020 has it
    frame = yuv_frame(np.broadcast_to(green, (HEIGHT, WIDTH, 3)), _BT2020, bits=10)
    frame.color_primaries = _BT2020
    shown = picture_array(frame, PictureOptions())[HEIGHT // 2, WIDTH // 2].astype(int)
    assert shown[1] > 245
    assert max(shown[0], shown[2]) < 8


# -- light -----------------------------------------------------------------------------------------------------------


def pq_signal(nits: float) -> float:
    """SMPTE ST 2084, equation 5.2, in its own fractions."""
    power = (nits / 10_000) ** (2610 / 4096 / 4)
    return float(((3424 / 4096 + 2413 / 128 * power) / (1 + 2392 / 128 * power)) ** (2523 / 32))


def pq_nits(signal: float) -> float:
    root = signal ** (32 / 2523)
    return float(10_000 * (max(root - 3424 / 4096, 0) / (2413 / 128 - 2392 / 128 * root)) ** (16_384 / 2610))


def hlg_signal(scene: float) -> float:
    a, b = 0.17883277, 0.28466892
    return math.sqrt(3 * scene) if scene <= 1 / 12 else a * math.log(12 * scene - b) + 0.55991073


def grey_of(nits: float, peak: float = 1000.0) -> float:
    """sRGB of a grey of that light: BT.2390-10 5.4.1, then IEC 61966-2-1."""
    top, most = pq_signal(peak), pq_signal(203) / pq_signal(peak)
    knee = 1.5 * most - 0.5
    given = pq_signal(min(nits, peak)) / top
    if given > knee:
        t = (given - knee) / (1 - knee)
        given = (2 * t**3 - 3 * t**2 + 1) * knee + (t**3 - 2 * t**2 + t) * (1 - knee) + (3 * t**2 - 2 * t**3) * most
    shown = min(1.0, pq_nits(given * top) / 203)
    return shown * 12.92 if shown <= 0.0031308 else 1.055 * shown ** (1 / 2.4) - 0.055


def light_frame(signal: Any, transfer: int, *, full: bool = False) -> av.VideoFrame:
    frame = yuv_frame(signal, _BT2020, bits=10, full=full)
    frame.color_trc, frame.color_primaries = transfer, _BT2020
    return frame


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("transfer", [_PQ, _HLG])
def test_the_tone_curve_of_hdr(transfer: int, full: bool) -> None:
    nits = np.geomspace(0.5, 1000, WIDTH)
    if transfer == _PQ:
        row = [pq_signal(value) for value in nits]
    else:
        row = [hlg_signal((value / 1000) ** (1 / 1.2)) for value in nits]
    signal = np.repeat(np.tile(np.array(row), (HEIGHT, 1))[..., np.newaxis], 3, axis=2)
    shown = [grey_of(value) for value in nits]
    truth = np.repeat(np.tile(np.array(shown), (HEIGHT, 1))[..., np.newaxis], 3, axis=2)
    check(dbs(light_frame(signal, transfer, full=full), truth))


def test_white_of_hdr_is_bright_and_its_highlights_are_white() -> None:
    for nits, least, most in ((100.0, 0.70, 0.76), (203.0, 0.82, 0.95), (1000.0, 0.985, 1.0), (4000.0, 0.985, 1.0)):
        frame = light_frame(np.full((HEIGHT, WIDTH, 3), pq_signal(nits)), _PQ)
        shown = picture_array(frame, PictureOptions()) / 255
        assert least <= shown.min() <= shown.max() <= most, nits


def test_hues_of_hdr_stay() -> None:
    """A red twice as bright as white is a red, not orange or pink."""
    red = np.array((0.6274, 0.0691, 0.0164)) * 406  # red of BT.709 in BT.2020, BT.2087
    frame = light_frame(np.broadcast_to([pq_signal(value) for value in red], (HEIGHT, WIDTH, 3)), _PQ)
    shown = picture_array(frame, PictureOptions())[HEIGHT // 2, WIDTH // 2].astype(int)
    assert shown[0] > 200
    assert max(shown[1:]) < 40
