"""A synthetic rendition: real H.264, AAC and Opus of a moving picture and a tone, as the mesh's packets."""

import functools
from collections.abc import Iterator
from fractions import Fraction
from typing import NamedTuple

import av
import numpy as np
from av.audio.codeccontext import AudioCodecContext
from av.video.codeccontext import VideoCodecContext
from msgspec.structs import replace

from schemas.packets import PacketHeader, Track

NANOSECONDS = 1_000_000_000
FPS = 30
SAMPLE_RATE = 48_000


class Made(NamedTuple):
    header: PacketHeader
    payload: bytes


def parameter_sets(access_unit: bytes) -> bytes:
    """SPS and PPS of an H.264 access unit, as Annex B; written apart from the product's own parser."""
    units = access_unit.replace(b"\0\0\0\1", b"\0\0\1").split(b"\0\0\1")[1:]
    return b"".join(b"\0\0\0\1" + unit for unit in units if unit[0] & 31 in (7, 8))


@functools.cache
def clip(
    seconds: float = 4.0,
    *,
    width: int = 320,
    height: int = 240,
    key_every: int = FPS,
    tracks: tuple[Track, ...] = ("video", "aac", "opus"),
    start_ns: int = 1_700_000_000 * NANOSECONDS,
    run: int = 1,
    bframes: int = 0,
    noise: bool = False,
) -> tuple[Made, ...]:
    """Packets of all tracks in production order; `noise` makes pictures that hardly compress (about 15 Mbit/s)."""
    made: list[Made] = []
    if "video" in tracks:
        made += _video(seconds, width, height, key_every, start_ns, run, bframes, noise)
    for track in tracks:
        if track != "video":
            made += _audio(track, seconds, start_ns, run)
    return tuple(sorted(made, key=lambda one: one.header.dts_ns))


def again(packets: tuple[Made, ...], *, run: int, start_ns: int) -> Iterator[Made]:
    """The same packets from another producer run, beginning at another time."""
    shift = start_ns - packets[0].header.pts_ns
    for header, payload in packets:
        yield Made(
            replace(
                header,
                run=run,
                pts_ns=header.pts_ns + shift,
                dts_ns=header.dts_ns + shift,
                captured_ns=header.captured_ns + shift,
            ),
            payload,
        )


def _video(
    seconds: float, width: int, height: int, key_every: int, start_ns: int, run: int, bframes: int, noise: bool
) -> Iterator[Made]:
    context = VideoCodecContext.create("libx264", "w")
    context.width, context.height, context.pix_fmt = width, height, "yuv420p"
    context.time_base, context.framerate = Fraction(1, FPS), Fraction(FPS)
    tune = {} if bframes else {"tune": "zerolatency"}
    context.options = {
        "preset": "ultrafast",
        **tune,
        "x264-params": f"keyint={key_every}:min-keyint={key_every}:scenecut=0:repeat-headers=1:bframes={bframes}",
    }
    random = np.random.default_rng(1)
    packets = []
    for number in range(round(seconds * FPS)):
        picture = np.full((height * 3 // 2, width), 128, np.uint8)
        picture[:height] = random.integers(0, 255, (height, width)) if noise else (np.arange(width) + number * 4) % 256
        frame = av.VideoFrame.from_ndarray(picture, "yuv420p")
        frame.pts, frame.time_base = number, Fraction(1, FPS)
        packets += context.encode(frame)
    packets += context.encode(None)
    configuration = b""
    for index, packet in enumerate(packets):
        payload = bytes(packet)
        if packet.is_keyframe:
            configuration = parameter_sets(payload)
        assert packet.pts is not None
        assert packet.dts is not None
        pts_ns = start_ns + packet.pts * NANOSECONDS // FPS
        yield Made(
            PacketHeader(
                stream="cam0",
                rendition="main",
                track="video",
                codec="h264",
                epoch=1,
                sequence=packet.pts + 1,
                run=run,
                index=index,
                key=packet.is_keyframe,
                pts_ns=pts_ns,
                dts_ns=start_ns + packet.dts * NANOSECONDS // FPS,
                duration_ns=NANOSECONDS // FPS,
                captured_ns=pts_ns,
                width=width,
                height=height,
                reordered=bframes > 0,
                extradata=configuration if packet.is_keyframe else b"",
            ),
            payload,
        )


def _audio(track: Track, seconds: float, start_ns: int, run: int) -> Iterator[Made]:
    assert track in ("aac", "opus")
    context = AudioCodecContext.create("aac" if track == "aac" else "libopus", "w")
    context.sample_rate, context.layout = SAMPLE_RATE, "stereo"
    context.format = "fltp" if track == "aac" else "flt"
    context.time_base = Fraction(1, SAMPLE_RATE)
    context.open()
    size = context.frame_size
    index = 0
    for number in range(round(seconds * SAMPLE_RATE) // size):
        wave = np.sin((np.arange(size) + number * size) * (2 * np.pi * 440 / SAMPLE_RATE)).astype(np.float32) * 0.3
        samples = np.stack([wave, wave]) if track == "aac" else np.repeat(wave, 2)[None]
        frame = av.AudioFrame.from_ndarray(samples, "fltp" if track == "aac" else "flt", "stereo")
        frame.sample_rate, frame.pts, frame.time_base = SAMPLE_RATE, number * size, Fraction(1, SAMPLE_RATE)
        for packet in context.encode(frame):
            assert packet.pts is not None
            pts_ns = start_ns + packet.pts * NANOSECONDS // SAMPLE_RATE
            yield Made(
                PacketHeader(
                    stream="cam0",
                    rendition="main",
                    track=track,
                    codec=track,
                    epoch=1,
                    sequence=number + 1,
                    run=run,
                    index=index,
                    key=True,
                    pts_ns=pts_ns,
                    dts_ns=pts_ns,
                    duration_ns=size * NANOSECONDS // SAMPLE_RATE,
                    captured_ns=pts_ns,
                    sample_rate=SAMPLE_RATE,
                    channels=2,
                    extradata=context.extradata or b"",
                ),
                payload=bytes(packet),
            )
            index += 1
