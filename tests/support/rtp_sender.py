"""A sender of RTP in virtual time: a real encoder's pictures, packetised, with a path that loses and mixes up."""

import random
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import av
import numpy as np

from services.webrtc_gateway.ingest.rtp_packet import RtpPacket
from shared.rtp.h264 import packetize_h264

WIDTH, HEIGHT, FPS = 320, 180, 30
SSRC, PAYLOAD_TYPE, CLOCK_HZ = 0x1234, 108, 90_000
FIRST_SEQUENCE = 65_500  # it wraps around soon
FIRST_TIMESTAMP = 0xFFFFFFFF - 20_000  # and so does this


@cache
def h264_pictures(count: int = 60, key_interval: int = 20) -> tuple[bytes, ...]:
    """Annex B access units with parameter sets at every key picture."""
    context: Any = av.CodecContext.create("libx264", "w")
    context.width, context.height, context.pix_fmt, context.framerate = WIDTH, HEIGHT, "yuv420p", FPS
    context.bit_rate = 1_500_000
    context.options = {
        "preset": "ultrafast",
        "tune": "zerolatency",
        "g": str(key_interval),
        "x264-params": "repeat-headers=1",
    }
    noise = np.random.default_rng(1).integers(16, 235, (HEIGHT * 3 // 2, WIDTH), np.uint8)
    units = []
    for number in range(count):
        frame = av.VideoFrame.from_ndarray(np.roll(noise, number * 3, axis=1), format="yuv420p")
        frame.pts = number
        units += [bytes(packet) for packet in context.encode(frame)]
    return tuple(units)


def rtp_packets(units: tuple[bytes, ...], *, ssrc: int = SSRC, payload_bytes: int = 500) -> list[RtpPacket]:
    """The packets of access units, 30 a second."""
    packets: list[RtpPacket] = []
    for number, unit in enumerate(units):
        payloads = packetize_h264(unit, payload_bytes)
        for index, payload in enumerate(payloads):
            packets.append(
                RtpPacket(
                    payload_type=PAYLOAD_TYPE,
                    marker=index == len(payloads) - 1,
                    sequence=(FIRST_SEQUENCE + len(packets)) & 0xFFFF,
                    timestamp=(FIRST_TIMESTAMP + number * CLOCK_HZ // FPS) & 0xFFFFFFFF,
                    ssrc=ssrc,
                    payload=payload,
                    extensions={},
                    arrived_ns=1_000_000_000 * (1000 + number) // FPS,
                )
            )
    return packets


@dataclass
class Path:
    """Loses, repeats and delays packets, the same ones for the same seed."""

    loss: float = 0.0
    mixed: float = 0.0
    repeated: float = 0.0
    seed: int = 1

    def deliver(self, packets: list[RtpPacket]) -> Iterator[tuple[RtpPacket, bool]]:
        """(packet, whether it is lost) in the order of arrival."""
        dice = random.Random(self.seed)
        due = [(index + dice.choice((0, 0, 2, 5)) * (dice.random() < self.mixed), p) for index, p in enumerate(packets)]
        for _, packet in sorted(due, key=lambda item: item[0]):
            lost = dice.random() < self.loss
            yield replace(packet), lost
            if not lost and dice.random() < self.repeated:
                yield replace(packet), False
