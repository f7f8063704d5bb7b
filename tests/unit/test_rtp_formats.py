"""Payload formats and the RTSP server's parsers: whatever comes from outside is taken or refused, and nothing else."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import BadRequest, InvalidValue, MeshError
from services.publisher.rtsp.credentials import Challenge, parse_users
from services.publisher.rtsp.messages import RtspError, parse_head
from services.publisher.rtsp.targets import parse_target
from services.publisher.rtsp.transports import Tcp, Udp, choose_transport
from services.publisher.rtsp.units import RtpUnit
from shared.rtp.aac import aac_parameters, packetize_aac
from shared.rtp.clock import ntp_timestamp
from shared.rtp.formats import PAYLOAD_FORMATS
from shared.rtp.h264 import h264_parameters
from shared.rtp.hevc import packetize_hevc
from shared.rtp.reports import goodbye, is_rtcp, sender_report

pytestmark = pytest.mark.unit

MAX_BYTES = 1388
_STARTS = [b"", b"\0\0\0\1\x67", b"\0\0\1\x02\x01", b"\x12\x00\x0a\x01", b"\xff\xd8\xff\xdb\x00\x43\x00", b"\x30"]


@pytest.mark.parametrize("codec", PAYLOAD_FORMATS)
@given(start=st.sampled_from(_STARTS), data=st.binary(max_size=400), repeat=st.integers(1, 20))
def test_any_bytes_are_sent_or_refused(codec: str, start: bytes, data: bytes, repeat: int) -> None:
    try:
        payloads = PAYLOAD_FORMATS[codec].packetize(memoryview(start + data * repeat), MAX_BYTES)
    except BadRequest:
        return
    assert all(0 < len(payload) <= MAX_BYTES for payload in payloads)


@given(st.lists(st.integers(3, 6000), min_size=1, max_size=8))
def test_h265_units_come_back(sizes: list[int]) -> None:
    nals = [b"\x02\x01" + os.urandom(size - 2).replace(b"\0", b"\1") for size in sizes]
    found: list[bytes] = []
    for payload in packetize_hevc(b"".join(b"\0\0\0\1" + nal for nal in nals), MAX_BYTES):
        kind = payload[0] >> 1 & 0x3F
        if kind == 49:
            if payload[2] & 0x80:
                found.append(bytes((payload[0] & 0x81 | (payload[2] & 0x3F) << 1, payload[1])))
            found[-1] += payload[3:]
        elif kind == 48:
            at = 2
            while at < len(payload):
                size = int.from_bytes(payload[at : at + 2], "big")
                found.append(payload[at + 2 : at + 2 + size])
                at += 2 + size
        else:
            found.append(payload)
    assert found == nals


def test_what_sdp_says() -> None:
    sets = b"\0\0\0\1" + bytes.fromhex("6742c01f") + b"\0\0\0\1" + bytes.fromhex("68ce3c80")
    assert h264_parameters(sets) == (
        "packetization-mode=1; profile-level-id=42C01F; sprop-parameter-sets=Z0LAHw==,aM48gA=="
    )
    assert h264_parameters(b"") == "packetization-mode=1"
    assert aac_parameters(b"\x11\x90").endswith("config=1190")
    assert packetize_aac(b"abc", MAX_BYTES) == (b"\x00\x10\x00\x18abc",)


def test_reports() -> None:
    wall_ns = 1_700_000_000_500_000_000
    packet = sender_report(ssrc=7, wall_ns=wall_ns, rtp_timestamp=1 << 32 | 9, packets=3, octets=4, cname="ab")
    assert packet[:8] == bytes.fromhex("80c8000600000007")
    assert int.from_bytes(packet[8:16], "big") == ntp_timestamp(wall_ns)
    assert int.from_bytes(packet[16:20], "big") == 9
    assert len(packet) % 4 == len(goodbye(7, "ab")) % 4 == 0
    assert is_rtcp(packet)
    assert not is_rtcp(b"\x80\x60" + bytes(20))


@given(st.lists(st.integers(20, 1400), min_size=1, max_size=200))
def test_runs_are_of_one_size(sizes: list[int]) -> None:
    packets = [bytes((index % 256,)) * size for index, size in enumerate(sizes)]
    unit = RtpUnit("video", packets, key=True, sequence=0, timestamp=0, pts_ns=0)
    cut = [data[at : at + size] for data, size in unit.runs for at in range(0, len(data), size)]
    assert cut == packets
    assert all(len(data) <= 65_000 and -(-len(data) // size) <= 64 for data, size in unit.runs)
    assert len(unit.framed(0)) == sum(sizes) + 4 * len(sizes)


@given(st.binary(max_size=300), st.text(max_size=80), st.text(max_size=80))
def test_any_request_is_taken_or_refused(head: bytes, uri: str, transport: str) -> None:
    for parse in (
        lambda: parse_head(head + b"\r\n\r\n"),
        lambda: parse_head(b"PLAY * RTSP/1.0\r\nCSeq: 1\r\n" + head.replace(b"\r\n\r\n", b"") + b"\r\n\r\n"),
        lambda: parse_target(uri),
        lambda: parse_target(f"rtsp://{uri}/cam0/trackID={uri}"),
        lambda: choose_transport(transport, "127.0.0.1", udp=True),
        lambda: choose_transport(f"RTP/AVP;unicast;client_port={transport}", "127.0.0.1", udp=True),
    ):
        try:
            parse()
        except (RtspError, MeshError):
            continue


def test_transports() -> None:
    asked = 'RTP/SAVP;unicast;client_port=4000-4001, RTP/AVP;unicast;client_port=5000-5001;mode="PLAY"'
    assert choose_transport(asked, "192.0.2.1", udp=True) == Udp(5000, 5001)
    assert choose_transport("RTP/AVP/TCP;interleaved=2-3", "192.0.2.1", udp=False) == Tcp(2, 3)
    assert choose_transport("RTP/AVP/TCP;unicast", "192.0.2.1", udp=False) == Tcp()
    with pytest.raises(RtspError, match="no other destination"):
        choose_transport("RTP/AVP;unicast;destination=192.0.2.9;client_port=5000-5001", "192.0.2.1", udp=True)


def test_users() -> None:
    assert parse_users("anna:a:b, bert:c\ncarl:d\n") == {"anna": "a:b", "bert": "c", "carl": "d"}
    with pytest.raises(InvalidValue, match="entry 2") as refused:
        parse_users("anna:secret1,secret2")
    assert "secret" not in str(refused.value)
    challenge = Challenge({"anna": "a:b"})
    assert challenge.passes("PLAY", "Basic YW5uYTphOmI=")
    for wrong in (
        "",
        "Basic",
        "Basic ====",
        "Basic YW5uYTph",
        "Digest",
        'Digest username="anna", realm="framemesh"',
        "x",
    ):
        assert not challenge.passes("PLAY", wrong)
    assert Challenge({}).passes("PLAY", "")
