"""Rate control of each software encoder over ten seconds of moving pictures with some noise."""

import functools

import numpy as np
import pytest
from av.video.frame import PictureType
from numpy.typing import NDArray

from schemas.encoding import QUALITY_RANGES, RATE_CONTROLS, RateControl
from schemas.frames import FrameRef
from schemas.resources import RenditionSpec
from services.hw_encode.codecs import Codecs
from services.hw_encode.kinds import ENCODERS, EncoderKind
from services.hw_encode.libav_codec import TIME_BASE
from shared.media.frames import picture_frame

pytestmark = pytest.mark.integration

WIDTH, HEIGHT, FPS, SECONDS = 320, 240, 30, 10
SOFTWARE = [kind for kind in ENCODERS if not kind.hardware]
REF = FrameRef(
    stream="cam0", node="n", epoch=1, sequence=1, ring="cam0.1.ab.ring", slot=0, pixel_format="yuv420p",
    width=WIDTH, height=HEIGHT, pts_ns=0, captured_ns=0, monotonic_ns=0,
)  # fmt: skip


def having(control: RateControl) -> list[EncoderKind]:
    return [kind for kind in SOFTWARE if control in RATE_CONTROLS[kind.codec]]


@functools.cache
def pictures() -> tuple[NDArray[np.uint8], ...]:
    """A camera that pans over a patchwork: uint8, each shape (360, 320)."""
    random = np.random.default_rng(1)
    patches = np.kron(random.integers(30, 220, (70, 80), np.uint8), np.ones((8, 8), np.uint8))
    made = []
    for number in range(FPS * SECONDS):
        picture = np.full((HEIGHT * 3 // 2, WIDTH), 128, np.uint8)
        picture[:HEIGHT] = patches[number : number + HEIGHT, number : number + WIDTH]
        picture[:HEIGHT] ^= random.integers(0, 8, (HEIGHT, WIDTH), np.uint8)
        made.append(picture)
    return tuple(made)


def bits_per_second(kind: EncoderKind, spec: RenditionSpec, count: int = FPS * SECONDS) -> float:
    codecs = Codecs("hardware")  # as the service has it: a process for those that can stop for ever
    codec = codecs.open(kind, spec, WIDTH, HEIGHT, FPS)
    total = 0
    for number, array in enumerate(pictures()[:count]):
        picture = picture_frame(array, REF, copy=kind.keeps_input, pixel_format=kind.pixel_format)
        picture.pts, picture.time_base = number * 3000, TIME_BASE
        if number % (2 * FPS) == 0:
            picture.pict_type = PictureType.I
        packets = codec.encode(picture)
        assert len(packets) == 1, "no picture is held back"
        total += len(packets[0].payload) * 8
    codec.close()
    codecs.close()
    return total * FPS / count


@pytest.mark.parametrize("kind", SOFTWARE, ids=lambda kind: kind.name)
def test_cbr_keeps_to_its_rate(kind: EncoderKind) -> None:
    wanted = 3_000_000 if kind.codec == "mjpeg" else 800_000  # a JPEG cannot be smaller than its worst quantizer
    spec = RenditionSpec(stream="cam0", codec=kind.codec, bitrate=str(wanted))
    assert bits_per_second(kind, spec) == pytest.approx(wanted, rel=0.15)


@pytest.mark.parametrize("kind", having("vbr"), ids=lambda kind: kind.name)
def test_vbr_keeps_within_its_bound(kind: EncoderKind) -> None:
    spec = RenditionSpec(stream="cam0", codec=kind.codec, bitrate="800k", rate_control="vbr", max_bitrate="1M")
    assert 500_000 < bits_per_second(kind, spec) < 1_000_000 * 1.15


@pytest.mark.parametrize(
    ("kind", "control"),
    [(kind, "crf") for kind in having("crf")] + [(kind, "qp") for kind in having("qp")],
    ids=lambda value: getattr(value, "name", value),
)
def test_a_better_quality_costs_more(kind: EncoderKind, control: RateControl) -> None:
    _, worst = QUALITY_RANGES[kind.codec]
    cost = [
        bits_per_second(kind, RenditionSpec(stream="cam0", codec=kind.codec, rate_control=control, quality=quality), 30)
        for quality in (worst // 3, worst * 2 // 3, worst)
    ]
    assert cost[0] > 1.2 * cost[1] > 1.2 * cost[2], cost


@pytest.mark.parametrize("codec", ["h264", "hevc"])
def test_crf_keeps_within_its_bound(codec: str) -> None:
    kind = next(kind for kind in SOFTWARE if kind.codec == codec)
    spec = RenditionSpec(stream="cam0", codec=kind.codec, rate_control="crf", quality=12, max_bitrate="500k")
    assert bits_per_second(kind, spec) < 500_000 * 1.15
