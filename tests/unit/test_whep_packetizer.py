"""H.264 to RTP payloads and back: the same NAL units, whatever their sizes."""

import os
import subprocess
from collections.abc import Sequence

import pytest
from aiortc.codecs.h264 import H264PayloadDescriptor
from hypothesis import given
from hypothesis import strategies as st

from services.webrtc_gateway.egress.packetizer import MAX_PAYLOAD_BYTES
from shared.rtp.h264 import packetize_h264
from shared.rtp.opus import packetize_opus

pytestmark = pytest.mark.unit
START = b"\x00\x00\x00\x01"


def depacketize(payloads: Sequence[bytes]) -> bytes:
    """The access unit as an independent receiver puts it together."""
    return b"".join(H264PayloadDescriptor.parse(payload)[1] for payload in payloads)


def nal(header: int, size: int) -> bytes:
    """A unit of `size` bytes in which no start code can appear."""
    return bytes([header]) + (os.urandom(size - 1).replace(b"\x00", b"\x01") if size > 1 else b"")


headers = st.sampled_from([0x67, 0x68, 0x06, 0x65, 0x41, 0x01])
sizes = st.one_of(st.integers(2, 60), st.integers(MAX_PAYLOAD_BYTES - 5, MAX_PAYLOAD_BYTES + 5), st.integers(2, 20_000))


@given(units=st.lists(st.builds(nal, headers, sizes), min_size=1, max_size=12), short=st.booleans())
def test_every_unit_comes_back(units: list[bytes], short: bool) -> None:
    start = START[1:] if short else START
    payloads = packetize_h264(b"".join(start + unit for unit in units), MAX_PAYLOAD_BYTES)
    assert max(map(len, payloads)) <= MAX_PAYLOAD_BYTES
    assert depacketize(payloads) == b"".join(START + unit for unit in units)


@given(st.integers(MAX_PAYLOAD_BYTES + 1, 200_000))
def test_fragments_are_of_equal_size_but_the_last(size: int) -> None:
    payloads = packetize_h264(START + nal(0x65, size), MAX_PAYLOAD_BYTES)
    assert len({len(payload) for payload in payloads[:-1]}) <= 1
    assert len(payloads[-1]) <= len(payloads[0])
    assert [payload[1] & 0xC0 for payload in payloads] == [0x80, *[0] * (len(payloads) - 2), 0x40]


@given(units=st.lists(st.builds(nal, headers, sizes), min_size=1, max_size=6), room=st.integers(1, 64))
def test_the_first_payload_leaves_room(units: list[bytes], room: int) -> None:
    payloads = packetize_h264(b"".join(START + unit for unit in units), MAX_PAYLOAD_BYTES, room)
    assert len(payloads[0]) <= MAX_PAYLOAD_BYTES - room
    assert max(map(len, payloads)) <= MAX_PAYLOAD_BYTES
    assert depacketize(payloads) == b"".join(START + unit for unit in units)
    if len(units) == 1 and len(payloads) > 2:
        assert len({room + len(payloads[0]), *map(len, payloads[1:-1])}) == 1


@given(st.binary(max_size=300))
def test_any_bytes_are_taken(data: bytes) -> None:
    for payload in packetize_h264(data, MAX_PAYLOAD_BYTES):
        assert 0 < len(payload) <= MAX_PAYLOAD_BYTES


def test_parameter_sets_share_a_packet_and_delimiters_go() -> None:
    sps, pps, idr = nal(0x67, 20), nal(0x68, 5), nal(0x65, 5000)
    payloads = packetize_h264(b"".join(START + unit for unit in (b"\x09\x10", sps, pps, idr)), MAX_PAYLOAD_BYTES)
    assert payloads[0][0] & 0x1F == 24
    assert depacketize(payloads[:1]) == START + sps + START + pps
    assert len(payloads) == 1 + -(-4999 // (MAX_PAYLOAD_BYTES - 2))


def test_what_x264_makes_comes_back_whole() -> None:
    source = "-f lavfi -i testsrc2=size=1280x720:rate=30 -frames:v 3"
    coder = "-c:v libx264 -preset ultrafast -tune zerolatency -x264-params slices=2 -f h264 -"
    command = ["ffmpeg", "-v", "error", *source.split(), *coder.split()]
    made = subprocess.run(command, capture_output=True, check=True, timeout=30).stdout
    units = [unit.rstrip(b"\x00") for unit in made.split(b"\x00\x00\x01")[1:]]
    assert len(units) >= 8
    assert depacketize(packetize_h264(made, MAX_PAYLOAD_BYTES)) == b"".join(START + unit for unit in units)


def test_opus_is_one_packet_or_none() -> None:
    assert packetize_opus(memoryview(b"abc"), MAX_PAYLOAD_BYTES) == (b"abc",)
    assert packetize_opus(b"", MAX_PAYLOAD_BYTES) == ()
    assert packetize_opus(bytes(MAX_PAYLOAD_BYTES + 1), MAX_PAYLOAD_BYTES) == ()
