"""Ways in for packets: what peers and hosts send, byte by byte."""

import functools
import struct
from collections.abc import Callable
from typing import Final

import msgspec
from aioice import stun

from schemas.errors import BadRequest
from schemas.frames import AudioHeader, FrameRef
from schemas.packets import PacketHeader, pack, unpack_audio, unpack_packet
from services.webrtc_gateway.congestion.arrivals import read_arrivals
from services.webrtc_gateway.egress.rtcp import parse_feedback, split_transport_feedback
from services.webrtc_gateway.ingest.counters import IngestCounters
from services.webrtc_gateway.ingest.feedback import parse_reports
from services.webrtc_gateway.ingest.media_time import PublisherClock
from services.webrtc_gateway.ingest.rtp_packet import parse_rtp
from services.webrtc_gateway.ingest.terms import TrackTerms
from services.webrtc_gateway.ingest.track import MediaUnit, ReceivingTrack
from services.webrtc_gateway.sora.deflate import inflate
from services.webrtc_gateway.transport.stun import answer_binding
from shared.media import bitstream
from shared.media.adts import strip_adts
from shared.media.av1 import sequence_header
from shared.media.sps import sequence_info
from shared.rtp.depacketizers import DEPACKETIZERS
from shared.rtp.formats import PAYLOAD_FORMATS
from tests.fuzz.inputs import MAX_PIECES, pieces

MAX_RTP_BYTES: Final = 1_200


MAX_MESSAGE_BYTES: Final = 256 * 1024


_PASSWORD: Final = "p" * 24


_CLOCK_HZ: Final = 90_000


_PAYLOAD_TYPE: Final = 102


NAL_CODECS: Final = ("h264", "hevc")


def mesh_packet(data: bytes) -> None:
    """A packet or a sound block from the bus; what is taken is written and read again."""
    for unpack in (unpack_packet, unpack_audio):
        try:
            header, payload = unpack(data)  # type: ignore[operator]
        except BadRequest:
            continue
        again, same = unpack(pack(header, payload))  # type: ignore[operator]
        assert (again, bytes(same)) == (header, bytes(payload))


def rtp(data: bytes) -> None:
    """Packets of a publisher, through the track that puts them together."""
    clock_s = 1_000.0
    track, units = _track()
    for piece in pieces(data):
        clock_s += 0.2
        try:
            packet = parse_rtp(piece)
        except ValueError:
            continue
        packet.arrived_ns = int(clock_s * 1e9)
        track.receive(packet, clock_s)
        assert len(track.poll(clock_s)) <= 256
    track.poll(clock_s + 10)
    assert len(units) <= MAX_PIECES * 2


def _track() -> tuple[ReceivingTrack, list[MediaUnit]]:
    units: list[MediaUnit] = []
    terms = TrackTerms("video", "h264", "0", _PAYLOAD_TYPE, _CLOCK_HZ, _PAYLOAD_TYPE + 1, capture_time_id=3)
    return ReceivingTrack(terms, PublisherClock(), IngestCounters(), units.append), units


def rtcp(data: bytes) -> None:
    """What viewers and publishers report."""
    for read in (parse_feedback, parse_reports):
        try:
            read(data)  # type: ignore[operator]
        except (ValueError, struct.error):
            continue
    informations, left = split_transport_feedback(data)
    assert len(left) <= len(data)
    for information in informations:
        try:
            read_arrivals(information)
        except (ValueError, struct.error):
            continue


def stun_binding(data: bytes) -> None:
    """A datagram from anywhere. What is answered has our password's mark: a fuzzer does not find it."""
    answer_binding(data, ("192.0.2.1", 4000), lambda name: _PASSWORD if name == "ours" else None)


def stun_request() -> bytes:
    request = stun.Message(stun.Method.BINDING, stun.Class.REQUEST, attributes={"USERNAME": "ours:theirs"})
    request.attributes["PRIORITY"] = 1
    request.attributes["ICE-CONTROLLING"] = 1
    request.add_message_integrity(_PASSWORD.encode())
    return bytes(request)


def depacketize(data: bytes) -> None:
    """Payloads of one picture; the first byte says of which codec."""
    names = sorted(DEPACKETIZERS)
    if data:
        DEPACKETIZERS[names[data[0] % len(names)]](pieces(data[1:]))


def packetize(data: bytes) -> None:
    """An access unit for RTP; the first byte says of which codec."""
    names = sorted(PAYLOAD_FORMATS)
    if data:
        payloads = PAYLOAD_FORMATS[names[data[0] % len(names)]].packetize(memoryview(data[1:]), MAX_RTP_BYTES)
        assert all(0 < len(payload) <= MAX_RTP_BYTES for payload in payloads)


def access_unit(data: bytes) -> None:
    """Parameter sets and pictures of sources that are not ours."""
    steps: list[Callable[[], object]] = [lambda: strip_adts(data), lambda: sequence_header(data)]
    for codec in NAL_CODECS:
        steps += [
            functools.partial(sequence_info, data, codec),
            functools.partial(bitstream.extradata_to_annexb, data, codec),
            functools.partial(bitstream.nal_length_bytes, data, codec),
            functools.partial(bitstream.is_key, data, codec),
            functools.partial(bitstream.ensure_parameter_sets, data, data[:64], True, codec),
        ]
    steps += [functools.partial(bitstream.avcc_to_annexb, data, size) for size in (1, 2, 4)]
    for step in steps:
        try:
            step()
        except BadRequest:
            continue


def inflated(data: bytes) -> None:
    """A message on a label with `compress`."""
    assert len(inflate(data, MAX_MESSAGE_BYTES)) <= MAX_MESSAGE_BYTES


def frame_reference(data: bytes) -> None:
    """A reference from the bus, as readers take it apart."""
    msgspec.json.decode(data, type=FrameRef)


def packet_seeds() -> list[bytes]:
    video = PacketHeader(
        stream="cam0", rendition="main", track="video", codec="h264", epoch=1, sequence=1, run=1, index=1, pts_ns=0,
        dts_ns=0, captured_ns=1, key=True,
    )  # fmt: skip
    sound = AudioHeader(
        stream="cam0", node="n", epoch=1, sequence=1, sample_rate=48_000, channels=2, sample_format="s16", samples=480,
        pts_ns=0, captured_ns=0,
    )  # fmt: skip
    return [pack(video, b"payload"), pack(sound, bytes(1920))]
