"""The table of video encoders, in the order they are tried. To add one: add an entry to `ENCODERS`.

An entry says what libav calls it, whether it is hardware, and its options for lowest latency: one packet for each
picture, as soon as it is given (with B-frames as soon as those before it can be), key frames when asked for and only
then.
"""

import math
import os
from collections.abc import Callable
from dataclasses import dataclass, field

from schemas.encoding import Preset, RateControl
from schemas.packets import VideoCodec
from schemas.resources import RenditionSpec
from services.hw_encode.rates import Rate, amf, bounded, nvenc, qsv, svt_av1, vpx, x26x

Options = Callable[[RenditionSpec], dict[str, str]]
_PRESETS: tuple[Preset, ...] = ("ultrafast", "superfast", "veryfast", "faster", "fast", "medium")


@dataclass(frozen=True)
class EncoderKind:
    """One encoder of libav."""

    name: str
    codec: VideoCodec
    hardware: bool
    options: Options = field(default=lambda spec: {})
    keeps_input: bool = True
    """libav may read the picture after `encode` has returned, so it must get a copy of its own.

    False only where this was tried with the slot overwritten after release (tests/integration/test_hw_encode.py).
    """
    pixel_format: str = "yuv420p"
    """What it is given."""
    rate: Callable[[Rate], dict[str, str]] = bounded
    """Options of its rate control."""
    controls: frozenset[RateControl] = frozenset(("cbr", "vbr", "crf", "qp"))
    """The rate controls it has."""
    b_frames: bool = False
    """It makes B-frames."""
    stalls: bool = False
    """It can wait for itself for ever, so it gets a process of its own, as hardware does."""
    sd_matrix: bool = False
    """Players read it as BT.601 of limited range, whatever it says."""
    threads: Callable[[int], int] = field(default=lambda pixels: 0)
    """How many threads for pictures of so many pixels; 0: libav chooses."""


# As many in a row as asked for and none made from another: one picture is decoded ahead, which every player does. None
# reaches beyond a key picture, where others join.
_PLAIN_B_FRAMES = "b-adapt=0:b-pyramid=0:open-gop=0"


# x264 cuts each picture into one slice for each thread, and would have one for each core: 16 of them on a server. A
# slice is one more send for each viewer (35 us). A picture of 1080p is 7 ms of work (ultrafast; 15 ms veryfast), which
# four cores share well enough; 16 slices of it were up to a fifth more work.
_FEWEST_SLICES = 4
_PIXELS_PER_SLICE = 1920 * 1080 // _FEWEST_SLICES  # larger pictures keep as many pixels in each, to be done in time


def _x264_threads(pixels: int) -> int:
    cores = len(os.sched_getaffinity(0))
    return min(cores, max(_FEWEST_SLICES, math.ceil(pixels / _PIXELS_PER_SLICE)))


def _one_thread(_pixels: int) -> int:
    return 1


def _on_scale(spec: RenditionSpec, *steps: str) -> str:
    """The encoder's own name for the preset; `steps` from ultrafast to medium."""
    return steps[_PRESETS.index(spec.preset)]


def _x264(spec: RenditionSpec) -> dict[str, str]:
    if spec.b_frames:
        return {
            "preset": spec.preset,
            "profile": "high",
            "forced-idr": "1",
            # What zerolatency would set, so that a picture waits for those it is made from and for nothing else.
            "x264-params": f"scenecut=0:repeat-headers=1:sliced-threads=1:mbtree=0:{_PLAIN_B_FRAMES}:rc-lookahead=0"
            ":sync-lookahead=0",
        }
    return {
        "preset": spec.preset,
        "tune": "zerolatency",
        "profile": "baseline",  # what every WebRTC client decodes
        "forced-idr": "1",
        # Scene cuts would add key frames nobody asked for; headers at every IDR let anyone join there.
        "x264-params": "scenecut=0:repeat-headers=1",
    }


def _x265(spec: RenditionSpec) -> dict[str, str]:
    if spec.b_frames:
        return {
            "preset": spec.preset,
            "forced-idr": "1",
            # It looks ahead by more pictures than it may reorder, or refuses.
            "x265-params": f"scenecut=0:repeat-headers=1:frame-threads=1:bframes={spec.b_frames}:{_PLAIN_B_FRAMES}"
            f":rc-lookahead={spec.b_frames + 1}:log-level=error",
        }
    return {
        "preset": spec.preset,
        "tune": "zerolatency",
        "forced-idr": "1",
        # One frame thread: each more would hold a picture back. x265 writes to stderr by itself unless told not to.
        "x265-params": "scenecut=0:repeat-headers=1:frame-threads=1:bframes=0:log-level=error",
    }


def _svt_av1(spec: RenditionSpec) -> dict[str, str]:
    return {"preset": _on_scale(spec, "10", "9", "8", "7", "6", "5")}  # above 10 is not for pictures to look at


def _vp8(spec: RenditionSpec) -> dict[str, str]:
    return {
        "deadline": "realtime",
        "cpu-used": _on_scale(spec, "12", "10", "8", "6", "5", "4"),
        "lag-in-frames": "0",
        "auto-alt-ref": "0",
    }


def _vp9(spec: RenditionSpec) -> dict[str, str]:
    return {
        "deadline": "realtime",
        "cpu-used": _on_scale(spec, "8", "8", "7", "7", "6", "5"),
        "lag-in-frames": "0",
        "auto-alt-ref": "0",
        "row-mt": "1",
        # Cyclic refresh keeps cbr to its rate (3 % over it, 13 % without); to crf it would add what nobody asked for.
        "aq-mode": "3" if spec.rate_control == "cbr" else "0",
    }


def _mjpeg(_spec: RenditionSpec) -> dict[str, str]:
    return {"huffman": "default"}  # the usual tables: RTP's receivers have no others (RFC 2435 section 4.1)


def _nvenc(spec: RenditionSpec) -> dict[str, str]:
    preset = _on_scale(spec, "p1", "p2", "p3", "p4", "p5", "p6")
    if spec.b_frames:  # which neither `ull` nor zerolatency has
        return {"preset": preset, "tune": "hq", "forced-idr": "1", "delay": "0", "b_ref_mode": "disabled"}
    return {"preset": preset, "tune": "ull", "zerolatency": "1", "forced-idr": "1", "delay": "0"}


def _qsv(spec: RenditionSpec) -> dict[str, str]:
    preset = _on_scale(spec, "veryfast", "veryfast", "veryfast", "faster", "fast", "medium")
    return {"preset": preset, "async_depth": "1"}


def _qsv_with_idr(spec: RenditionSpec) -> dict[str, str]:
    return {**_qsv(spec), "forced_idr": "1"}


def _h264_qsv(spec: RenditionSpec) -> dict[str, str]:
    return {**_qsv_with_idr(spec), "look_ahead": "0"}


def _amf(spec: RenditionSpec) -> dict[str, str]:
    quality = _on_scale(spec, "speed", "speed", "speed", "balanced", "balanced", "quality")
    usage = "transcoding" if spec.b_frames else "ultralowlatency"  # which has no B-frames
    return {"usage": usage, "quality": quality, "forced_idr": "1"}


_STEADY: frozenset[RateControl] = frozenset(("cbr",))  # these drivers know a bitrate only

# NV12 is the only 8-bit format that Quick Sync takes; JPEGs are full range.
ENCODERS: tuple[EncoderKind, ...] = (
    EncoderKind("h264_nvenc", "h264", hardware=True, options=_nvenc, rate=nvenc, b_frames=True),
    EncoderKind("h264_qsv", "h264", hardware=True, options=_h264_qsv, rate=qsv, pixel_format="nv12", b_frames=True),
    EncoderKind("h264_amf", "h264", hardware=True, options=_amf, rate=amf, b_frames=True),
    EncoderKind("h264_v4l2m2m", "h264", hardware=True, controls=_STEADY),
    EncoderKind("hevc_nvenc", "hevc", hardware=True, options=_nvenc, rate=nvenc, b_frames=True),
    EncoderKind("hevc_qsv", "hevc", hardware=True, options=_qsv_with_idr, rate=qsv, pixel_format="nv12", b_frames=True),
    EncoderKind("hevc_amf", "hevc", hardware=True, options=_amf, rate=amf),
    EncoderKind("hevc_v4l2m2m", "hevc", hardware=True, controls=_STEADY),
    EncoderKind("libx265", "hevc", hardware=False, options=_x265, rate=x26x, keeps_input=False, b_frames=True),
    EncoderKind("av1_nvenc", "av1", hardware=True, options=_nvenc, rate=nvenc),
    EncoderKind("av1_qsv", "av1", hardware=True, options=_qsv, rate=qsv, pixel_format="nv12"),
    EncoderKind("av1_amf", "av1", hardware=True, options=_amf, rate=amf),
    # 4.1 in low delay: all its threads at rest after one in some 40,000 pictures, with one thread or many.
    EncoderKind("libsvtav1", "av1", hardware=False, options=_svt_av1, rate=svt_av1, keeps_input=False, stalls=True),
    EncoderKind("vp8_v4l2m2m", "vp8", hardware=True, controls=_STEADY, sd_matrix=True),
    EncoderKind("libvpx", "vp8", hardware=False, options=_vp8, rate=vpx, keeps_input=False, sd_matrix=True),
    EncoderKind("vp9_qsv", "vp9", hardware=True, options=_qsv, rate=qsv, pixel_format="nv12"),
    EncoderKind("libvpx-vp9", "vp9", hardware=False, options=_vp9, rate=vpx, keeps_input=False),
    EncoderKind("mjpeg_qsv", "mjpeg", hardware=True, options=_qsv, rate=qsv, pixel_format="nv12"),
    # With more threads libav reads pictures later and gives packets later.
    EncoderKind("mjpeg", "mjpeg", hardware=False, options=_mjpeg, pixel_format="yuvj420p", threads=_one_thread),
    EncoderKind(
        "libx264",
        "h264",
        hardware=False,
        options=_x264,
        rate=x26x,
        keeps_input=False,
        b_frames=True,
        threads=_x264_threads,
    ),
)
