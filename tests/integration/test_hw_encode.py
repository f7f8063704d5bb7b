"""Encoders over a real ring: lease lifetime, failover in mid-stream, key frames, sizes, pixel formats."""

import os
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import av
import numpy as np
import pytest
from msgspec.structs import replace

from schemas.errors import Unavailable
from schemas.frames import FrameRef, PixelFormat
from schemas.resources import RenditionSpec
from services.hw_encode import active_encoder, encoders, libav_codec
from services.hw_encode.codecs import Codecs
from services.hw_encode.encoders import ENCODERS, EncoderKind, first_working
from services.hw_encode.libav_codec import TIME_BASE, open_encoder
from shared.media.frames import picture_frame
from tests.support.encoder import FPS, HEIGHT, SPEC, WIDTH, Bench, decode


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="framemesh-test-", dir="/dev/shm") as path:
        yield Path(path) / "rings"


def test_every_picture_comes_out_as_it_went_in_with_its_identity(folder: Path) -> None:
    bench = Bench(folder)
    values = [40, 80, 120, 160, 200]
    refs = [bench.write(value) for value in values]
    bench.close()
    packets = bench.published.packets
    assert [fields["sequence"] for _, fields in packets] == [ref.sequence for ref in refs]
    assert [fields["captured_ns"] for _, fields in packets] == [ref.captured_ns for ref in refs]
    assert packets[0][1]["key"]
    assert packets[0][1]["extradata"].startswith(b"\0\0\0\1\x67"), "parameter sets for whoever joins there"
    levels = [picture.mean() for picture in decode(packets)]
    assert levels == sorted(levels)
    assert len(levels) == len(values)


@pytest.mark.parametrize("kind", [kind for kind in ENCODERS if not kind.hardware], ids=lambda kind: kind.name)
def test_a_slot_may_be_overwritten_as_soon_as_encode_has_returned(kind: EncoderKind) -> None:
    """The promise of `keeps_input=False`: what libav is given in place it has read when `encode` returns."""
    random = np.random.default_rng(1)
    context = open_encoder(kind, replace(SPEC, codec=kind.codec), WIDTH, HEIGHT, FPS)
    slot = np.empty((HEIGHT * 3 // 2, WIDTH), np.uint8)
    ref = FrameRef(
        stream="cam0", node="n", epoch=1, sequence=1, ring="cam0.1.ab.ring", slot=0, pixel_format="yuv420p",
        width=WIDTH, height=HEIGHT, pts_ns=0, captured_ns=0, monotonic_ns=0,
    )  # fmt: skip
    packets = []
    for number in range(60):
        slot[:HEIGHT] = random.integers(16, 80, (HEIGHT, WIDTH), np.uint8)  # dark noise: work for every thread
        slot[HEIGHT:] = 128
        picture = picture_frame(slot, ref, copy=kind.keeps_input, pixel_format=kind.pixel_format)
        picture.pts, picture.time_base = number * 3000, TIME_BASE
        packets += [(bytes(packet), {}) for packet in context.encode(picture)]
        slot[:] = 255  # the writer is back: whatever is read now shows up bright
    # The middle of each picture's brightness: what a lossy codec makes of noise rings, a slot read too late is white.
    levels = [float(np.percentile(picture, 99)) for picture in decode(packets, kind.codec)]
    assert len(levels) == 60
    assert max(levels) < 160, f"picture {levels.index(max(levels))} was read after encode had returned"


def test_an_encoder_that_fails_in_use_is_replaced_with_a_key_frame(folder: Path, monkeypatch: Any) -> None:
    """A backend that breaks in mid-stream: the next takes over with an IDR, nothing is lost but the time."""

    class Breaks:
        """libx264 under another name that stops working after its third picture."""

        def __init__(self, inner: Any) -> None:
            self._inner, self._left = inner, 3

        def encode(self, picture: Any) -> Any:
            self._left -= 1
            if self._left < 0:
                raise av.error.ExternalError(0x20545845, "device lost")
            return self._inner.encode(picture)

    flaky = EncoderKind("libx264_flaky", "h264", hardware=True)
    real_open = libav_codec.open_encoder

    def open_any(kind: EncoderKind, *arguments: Any) -> Any:
        if kind is flaky:
            return Breaks(real_open(ENCODERS[-1], *arguments))
        return real_open(kind, *arguments)

    monkeypatch.setattr(encoders, "ENCODERS", (flaky, ENCODERS[-1]))
    monkeypatch.setattr(libav_codec, "open_encoder", open_any)
    monkeypatch.setattr(encoders, "_try", lambda *_: "")
    bench = Bench(folder)
    for value in range(40, 200, 20):
        bench.write(value)
    bench.close()
    packets = bench.published.packets
    assert bench.choices == ["libx264_flaky", "libx264"]
    assert bench.encoder.failovers == 1
    assert [fields["key"] for _, fields in packets] == [True, False, False, True, False, False, False, False]
    assert len(decode(packets)) == len(packets)
    assert not bench.failures


def test_an_encoder_that_opens_in_the_try_but_not_in_use_is_passed_over(folder: Path, monkeypatch: Any) -> None:
    """As a card whose sessions are all taken."""
    busy = EncoderKind("libx264_busy", "h264", hardware=True)
    real_open = libav_codec.open_encoder

    def open_any(kind: EncoderKind, *arguments: Any) -> Any:
        if kind is busy:
            raise av.error.ExternalError(0x20545845, "no session left")
        return real_open(kind, *arguments)

    monkeypatch.setattr(encoders, "ENCODERS", (busy, ENCODERS[-1]))
    monkeypatch.setattr(libav_codec, "open_encoder", open_any)
    monkeypatch.setattr(encoders, "_try", lambda *_: "")
    bench = Bench(folder)
    bench.write(100)
    bench.close()
    assert bench.choices == ["libx264"]
    assert not bench.failures


def test_when_every_encoder_has_failed_it_is_said_once_and_tried_again(folder: Path, monkeypatch: Any) -> None:
    healed = threading.Event()
    only = EncoderKind("libx264_moody", "h264", hardware=False)
    real_open = libav_codec.open_encoder

    def open_any(kind: EncoderKind, *arguments: Any) -> Any:
        if not healed.is_set():
            raise av.error.ExternalError(0x20545845, "device busy")
        return real_open(ENCODERS[-1], *arguments)

    monkeypatch.setattr(encoders, "ENCODERS", (only,))
    monkeypatch.setattr(libav_codec, "open_encoder", open_any)
    monkeypatch.setattr(active_encoder, "_RETRY_SECONDS", 0.2)
    monkeypatch.setattr(encoders, "_try", lambda *_: "")
    bench = Bench(folder)
    bench.put(100)
    with pytest.raises(AssertionError):
        bench.published.wait(1, 0.3)
    assert "libx264_moody: failed in use" in bench.failures[0]
    healed.set()
    time.sleep(0.3)  # the retry is by the wall clock
    bench.write(100)
    bench.close()
    assert bench.choices == ["libx264_moody"]


def test_key_frames_on_demand_are_throttled_and_come_by_time(folder: Path) -> None:
    bench = Bench(folder, RenditionSpec(stream="cam0", key_interval="200ms"))
    for value in range(14):
        bench.write(40 + value)
    keys = [fields["key"] for _, fields in bench.published.packets]
    assert [index for index, key in enumerate(keys) if key] == [0, 6, 12], "every 200 ms of the stream's own time"
    assert not bench.encoder.request_key_frame(), "served by the one just made"
    time.sleep(0.3)  # the throttle is by the wall clock
    assert bench.encoder.request_key_frame()
    bench.write(100)
    assert bench.published.packets[-1][1]["key"]
    bench.close()


@pytest.mark.parametrize("size", [(320, 240), (322, 242), (384, 270), (640, 362)], ids=str)
def test_every_even_size(folder: Path, size: tuple[int, int]) -> None:
    bench = Bench(folder, width=size[0], height=size[1])
    bench.write(120)
    bench.write(120)
    bench.close()
    picture = decode(bench.published.packets)[0]
    assert picture.shape == (size[1], size[0], 3)
    assert np.ptp(picture[..., 1]) < 12, "no line of the picture is torn or missing"


@pytest.mark.parametrize("height", [HEIGHT, HEIGHT - 2])
@pytest.mark.parametrize("pixel_format", get_args(PixelFormat))
def test_every_pixel_format_keeps_its_colours(folder: Path, pixel_format: PixelFormat, height: int) -> None:
    bench = Bench(folder, pixel_format=pixel_format, height=height)
    slot = bench.writer.acquire(bench.geometry)
    assert slot is not None
    wanted = (128, 128, 128)
    if pixel_format in ("bgr24", "rgb24"):
        slot.array[:] = (200, 40, 90)
        wanted = (90, 40, 200) if pixel_format == "bgr24" else (200, 40, 90)
    elif pixel_format.startswith("bayer"):
        wanted = (200, 40, 90)
        for place, colour in enumerate(pixel_format[6:10]):
            value = wanted["rgb".index(colour)]
            slot.array[place // 2 :: 2, place % 2 :: 2] = value * 257 if pixel_format.endswith("16le") else value
    elif pixel_format in ("nv12", "yuv420p"):
        slot.array[:] = 128
        wanted = (130, 130, 130)
    else:
        slot.array[:] = {"gray": 128, "gray10le": 128 << 2, "gray12le": 128 << 4, "gray16le": 128 << 8}[pixel_format]
    bench.encoder.inbox.put(slot.commit(pts_ns=1, captured_ns=1, monotonic_ns=1))
    bench.published.wait(1)
    bench.close()
    picture = decode(bench.published.packets)[0]
    assert picture.shape == (height, WIDTH, 3)
    colours = picture[2:-2, 2:-2].reshape(-1, 3).astype(int)
    assert np.abs(colours - wanted).max() < 9, colours.mean(0)


def test_a_policy_that_no_encoder_meets_says_what_each_one_answered() -> None:
    if os.path.exists("/dev/nvidia0") or os.path.exists("/dev/dri"):
        pytest.skip("this machine may have a hardware encoder")
    with pytest.raises(Unavailable, match=r"no hardware encoder for h264 works here: h264_nvenc: .*; h264_qsv: "):
        first_working(RenditionSpec(stream="cam0", encoder="require-hw"), WIDTH, HEIGHT, Codecs())
    software = RenditionSpec(stream="cam0", encoder="software")
    assert first_working(software, WIDTH, HEIGHT, Codecs()).kind.name == "libx264"
    assert "h264_nvenc" in first_working(SPEC, WIDTH, HEIGHT, Codecs()).reason
