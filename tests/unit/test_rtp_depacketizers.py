"""Payloads back to access units: what is packetised here, what others send, and what is broken."""

import random
from collections.abc import Callable
from typing import Any

import av
import numpy as np
import pytest

from schemas.errors import BadRequest
from schemas.packets import VideoCodec
from shared.media.bitstream import nal_units
from shared.media.coded_picture import is_key_picture, size_of_key
from shared.media.scheduling import usual_scheduling
from shared.rtp.depacketizers import DEPACKETIZERS
from shared.rtp.formats import PAYLOAD_FORMATS

WIDTH, HEIGHT, PICTURES = 320, 180, 4
ENCODERS: dict[VideoCodec, tuple[str, dict[str, str]]] = {
    "h264": ("libx264", {"preset": "ultrafast", "tune": "zerolatency", "x264-params": "repeat-headers=1"}),
    "hevc": ("libx265", {"preset": "ultrafast", "tune": "zerolatency", "x265-params": "log-level=none"}),
    "vp8": ("libvpx", {"deadline": "realtime", "cpu-used": "8"}),
    "vp9": ("libvpx-vp9", {"deadline": "realtime", "cpu-used": "8", "lag-in-frames": "0"}),
    "av1": ("libsvtav1", {"preset": "10", "crf": "30", "svtav1-params": "pred-struct=1"}),
}


def encoded(codec: VideoCodec) -> list[bytes]:
    name, options = ENCODERS[codec]
    context: Any = av.CodecContext.create(name, "w")
    context.width, context.height, context.pix_fmt, context.framerate = WIDTH, HEIGHT, "yuv420p", 30
    context.bit_rate = 0 if codec == "av1" else 2_000_000
    context.options = options
    with usual_scheduling():
        context.open()
    noise = np.random.default_rng(1).integers(16, 235, (HEIGHT * 3 // 2, WIDTH), np.uint8)
    units = []
    for number in range(PICTURES):
        frame = av.VideoFrame.from_ndarray(np.roll(noise, number, axis=1), format="yuv420p")
        frame.pts = number
        units += [bytes(packet) for packet in context.encode(frame)]
    return units + [bytes(packet) for packet in context.encode(None)]


def decoded(codec: VideoCodec, units: list[bytes]) -> list[bytes]:
    decoder: Any = av.CodecContext.create("libdav1d" if codec == "av1" else codec, "r")
    frames = [frame for unit in units for frame in decoder.decode(av.Packet(unit))] + decoder.decode(None)
    return [frame.to_ndarray().tobytes() for frame in frames]


@pytest.mark.parametrize("codec", ENCODERS)
def test_what_is_packetised_decodes_the_same(codec: VideoCodec) -> None:
    units = encoded(codec)
    packetize, depacketize = PAYLOAD_FORMATS[codec].packetize, DEPACKETIZERS[codec]
    payloads = [packetize(unit, 1100) for unit in units]
    assert max(map(len, payloads)) > 2, "large enough for fragments"
    again = [depacketize(list(parts)) for parts in payloads]
    assert decoded(codec, again) == decoded(codec, units)
    assert [is_key_picture(unit, codec) for unit in again] == [True, *[False] * (len(units) - 1)]
    assert size_of_key(again[0], codec) in ((WIDTH, HEIGHT), None if codec in ("vp9", "av1") else ())


@pytest.mark.parametrize("codec", ENCODERS)
def test_a_fragment_that_is_missing_is_noticed(codec: VideoCodec) -> None:
    payloads = list(PAYLOAD_FORMATS[codec].packetize(encoded(codec)[0], 600))
    lost = payloads[1:] if codec.startswith("vp") else payloads[:-1]  # a gap within is the sequence numbers' to tell
    with pytest.raises(BadRequest):
        DEPACKETIZERS[codec](lost)


def test_an_aggregation_and_both_kinds_of_nal_payload() -> None:
    sps, pps, idr = b"\x67\x42\x00\x1f", b"\x68\xce", b"\x65" + bytes(range(1, 9))
    together = b"\x78" + b"".join(len(nal).to_bytes(2, "big") + nal for nal in (sps, pps))
    unit = DEPACKETIZERS["h264"]([together, b"\x7c\x85" + idr[1:5], b"\x7c\x45" + idr[5:]])
    assert [unit[start:end] for _, start, end in nal_units(unit, "h264")] == [sps, pps, idr]


def test_descriptors_as_browsers_write_them() -> None:
    # X, S; I, L, T; a picture id of 15 bits, TL0PICIDX, TID
    assert DEPACKETIZERS["vp8"]([b"\x90\xe0\x81\x02\x03\x20first", b"\x80\xe0\x81\x02\x03\x20rest"]) == b"firstrest"
    # I, F off, L, B: a picture id of 15 bits, layers, TL0PICIDX; then one with V and a group of pictures
    structure = b"\x18\x01\x40\x00\xb4\x01\x04\x05"  # one layer of 320x180, one picture with one reference
    assert DEPACKETIZERS["vp9"]([b"\xaa\x81\x02\x00\x07" + structure + b"key", b"\xa4\x81\x02\x00\x07end"]) == b"keyend"
    assert DEPACKETIZERS["vp9"]([b"\xd8\x81\x02\x03\x04pic"]) == b"pic"  # flexible mode with two references


def test_av1_elements_counted_and_not() -> None:
    sequence, frame = b"\x08sequence", b"\x30frame"
    lengths = b"\x00" + bytes((len(sequence),)) + sequence + bytes((len(frame),)) + frame
    counted = b"\x20" + bytes((len(sequence),)) + sequence + frame
    expected = b"\x0a\x08sequence\x32\x05frame"
    assert DEPACKETIZERS["av1"]([lengths]) == DEPACKETIZERS["av1"]([counted]) == expected
    assert DEPACKETIZERS["av1"]([b"\x10\x10", counted]) == expected, "a temporal delimiter is left out"


@pytest.mark.parametrize("codec", DEPACKETIZERS)
def test_rubbish_is_refused_and_nothing_else_happens(codec: str) -> None:
    dice = random.Random(f"depacketize {codec}")
    whole: list[bytes] = [dice.randbytes(300)]
    if codec in ENCODERS:
        whole = list(PAYLOAD_FORMATS[codec].packetize(encoded(codec)[0], 300))[:6]
    refused = 0
    for _ in range(1500):
        payloads = [bytearray(payload) for payload in dice.choices(whole, k=dice.randint(1, 4))]
        for payload in payloads:
            for _ in range(dice.randint(0, 4)):
                payload[dice.randrange(min(len(payload), 12))] = dice.randrange(256)
            del payload[dice.randint(0, len(payload)) :]
        refused += _refused(DEPACKETIZERS[codec], [bytes(payload) for payload in payloads], codec)
    assert refused > 100


def _refused(depacketize: Callable[[list[bytes]], bytes], payloads: list[bytes], codec: str) -> bool:
    try:
        unit = depacketize(payloads)
        if codec != "opus":
            is_key_picture(unit, codec)  # type: ignore[arg-type]
            size_of_key(unit, codec)  # type: ignore[arg-type]
    except BadRequest:
        return True
    return False
