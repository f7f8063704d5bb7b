"""Slices of H.264: a few however many cores there are, more for larger pictures only."""

import os

import av
import numpy as np
import pytest

from schemas.resources import RenditionSpec
from services.hw_encode.kinds import ENCODERS
from services.hw_encode.libav_codec import open_encoder
from shared.media.bitstream import is_picture, nal_units

pytestmark = pytest.mark.unit

X264 = next(kind for kind in ENCODERS if kind.name == "libx264")


@pytest.mark.parametrize(("cores", "slices"), [(1, 1), (2, 2), (16, 4)])
def test_a_picture_has_few_slices(monkeypatch: pytest.MonkeyPatch, cores: int, slices: int) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: set(range(cores)))
    encoder = open_encoder(X264, RenditionSpec(stream="cam0"), 640, 384, 30)
    frame = av.VideoFrame.from_ndarray(np.zeros((384 * 3 // 2, 640), np.uint8), format="yuv420p")
    frame.pts = 0
    (packet,) = encoder.encode(frame)
    assert sum(is_picture(nal.type, "h264") for nal in nal_units(bytes(packet), "h264")) == slices


def test_large_pictures_have_as_many_pixels_in_each(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: set(range(64)))
    assert X264.threads(1920 * 1080) == 4
    assert X264.threads(3840 * 2160) == 16
    assert X264.threads(7680 * 4320) == 64
