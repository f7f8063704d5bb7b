"""NAL units, parameter sets and what they say: real encoders' bytes first, hostile bytes second."""

import contextlib
import io
import time
from functools import cache

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import BadRequest
from schemas.packets import VideoCodec
from shared.media import bitstream as bs
from shared.media.sps import SequenceInfo, parse_sps, sequence_info

pytestmark = pytest.mark.unit

CODECS: list[VideoCodec] = ["h264", "hevc"]
SPS = b"\x00\x00\x00\x01\x67\x42\x00\x1f"
PPS = b"\x00\x00\x01\x68\xce\x3c"
AUD = b"\x00\x00\x00\x01\x09\x10"
IDR = b"\x00\x00\x01\x65\x88\x80\x10"


@cache
def encoded(
    codec: VideoCodec, container: str, width: int = 640, height: int = 360, options: str = ""
) -> tuple[bytes, tuple[tuple[bytes, bool], ...]]:
    """(extradata, ((payload, key), …)) of ten pictures as a demuxer gives them: `mp4` or a raw `h264`/`hevc` file."""
    file = io.BytesIO()
    with av.open(file, "w", format=container) as output:
        settings = dict(pair.split("=", 1) for pair in options.split(",") if pair)
        library = "libx264" if codec == "h264" else "libx265"
        quiet = {"x265-params": "log-level=none"} if codec == "hevc" else {}
        stream = output.add_stream(library, rate=30, options={"preset": "ultrafast", "g": "5", **quiet, **settings})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        noise = np.random.default_rng(3)
        for _ in range(10):
            picture = noise.integers(16, 235, (height * 3 // 2, width), np.uint8)
            output.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="yuv420p")))
        output.mux(stream.encode(None))
    file.seek(0)
    with av.open(file, format=container) as source:
        track = source.streams.video[0]
        packets = tuple((bytes(packet), packet.is_keyframe) for packet in source.demux(track) if packet.size)
        return bytes(track.codec_context.extradata or b""), packets


@pytest.mark.parametrize("codec", CODECS)
def test_mp4_becomes_annexb_that_decodes(codec: VideoCodec) -> None:
    record, packets = encoded(codec, "mp4")
    assert not bs.is_annexb(record)
    extradata = bs.extradata_to_annexb(record, codec)
    assert bs.extradata_to_annexb(extradata, codec) == extradata
    decoder = av.CodecContext.create(codec, "r")
    pictures = 0
    for payload, key in packets:
        assert not bs.is_annexb(payload)
        unit = bs.avcc_to_annexb(payload, bs.nal_length_bytes(record, codec))
        assert bs.is_annexb(unit)
        assert bs.is_key(unit, codec) == key
        whole = bs.ensure_parameter_sets(unit, extradata, key, codec)
        assert (whole != unit) == key
        assert bs.ensure_parameter_sets(whole, extradata, key, codec) == whole
        pictures += len(decoder.decode(av.Packet(whole)))
    pictures += len(decoder.decode(None))
    assert pictures == len(packets) == 10


@pytest.mark.parametrize("codec", CODECS)
def test_units_are_those_that_libav_splits(codec: VideoCodec) -> None:
    _, packets = encoded(codec, codec)
    wanted = {"h264": {7, 8, 5}, "hevc": {32, 33, 34}}[codec]
    first, key = packets[0]
    assert key
    assert wanted <= {nal.type for nal in bs.nal_units(first, codec)}
    assert bs.is_key(first, codec)
    assert sum(bs.is_key(payload, codec) for payload, _ in packets) == 2
    joined = b"".join(bs.START_CODE + first[nal.start : nal.end] for nal in bs.nal_units(first, codec))
    assert list(bs.nal_units(joined, codec))[-1].type == list(bs.nal_units(first, codec))[-1].type


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize(("width", "height"), [(640, 360), (1920, 1080), (386, 34)])
def test_size(codec: VideoCodec, width: int, height: int) -> None:
    record, _ = encoded(codec, "mp4", width, height)
    info = sequence_info(bs.extradata_to_annexb(record, codec), codec)
    assert info is not None
    assert (info.width, info.height) == (width, height)


def test_an_sps_without_a_vui() -> None:
    # Main profile, level 3.1, 640x480, pic_order_cnt_type 0, no VUI; written bit by bit after 7.3.2.1.1.
    fields = [
        "01100111", "01001101", "00000000", "00011111",  # header, profile 77, constraints, level 31
        "1", "1", "1", "1",  # sps id 0, log2_max_frame_num 4, poc type 0, log2_max_poc_lsb 4
        "010", "0",  # one reference frame, no gaps
        "00000101000", "000011110",  # 40 x 30 macroblocks
        "1", "1", "0", "0", "1",  # frames only, direct 8x8, no cropping, no VUI, stop bit
    ]  # fmt: skip
    bits = "".join(fields)
    bits += "0" * (-len(bits) % 8)
    sps = int(bits, 2).to_bytes(len(bits) // 8, "big")
    assert parse_sps(sps, "h264") == SequenceInfo(640, 480)


def test_parameter_sets_go_behind_the_delimiter() -> None:
    assert bs.ensure_parameter_sets(AUD + IDR, SPS + PPS, True) == AUD + SPS + PPS + IDR
    assert bs.ensure_parameter_sets(IDR, SPS + PPS, True) == SPS + PPS + IDR
    assert bs.ensure_parameter_sets(SPS + PPS + IDR, SPS + PPS, True) == SPS + PPS + IDR
    assert bs.ensure_parameter_sets(SPS + IDR, SPS + PPS, True) == SPS + PPS + SPS + IDR
    assert bs.ensure_parameter_sets(IDR, SPS + PPS, False) is IDR
    assert bs.ensure_parameter_sets(IDR, b"", True) is IDR


def test_trailing_zeros_belong_to_no_unit() -> None:
    data = b"\x00\x00" + SPS + b"\x00\x00\x00" + PPS + b"\x00" * 9
    assert [data[nal.start : nal.end] for nal in bs.nal_units(data, "h264")] == [SPS[4:], PPS[3:]]
    assert bs.parameter_sets(data + IDR, "h264") == SPS + b"\x00" + PPS


def test_a_length_that_looks_like_a_start_code() -> None:
    payload = (0x0105).to_bytes(4, "big") + b"\x41" + b"\x9a" * 0x104
    assert payload[:3] == b"\x00\x00\x01"
    assert not bs.is_annexb(payload)
    assert bs.is_annexb(IDR)
    assert bs.avcc_to_annexb(payload) == bs.START_CODE + payload[4:]


@pytest.mark.parametrize("length_bytes", [1, 2, 3, 4])
def test_every_length_prefix(length_bytes: int) -> None:
    units = [b"\x67abc", b"\x65" + b"x" * 200]
    payload = b"".join(len(unit).to_bytes(length_bytes, "big") + unit for unit in units)
    assert bs.avcc_to_annexb(payload, length_bytes) == b"".join(bs.START_CODE + unit for unit in units)
    with pytest.raises(BadRequest, match="beyond"):
        bs.avcc_to_annexb(payload[:-1], length_bytes)


def test_hevc_key_pictures() -> None:
    for kind, key in ((1, False), (16, True), (19, True), (20, True), (21, True), (22, False)):
        assert bs.is_key(b"\x00\x00\x01" + bytes((kind << 1, 1, 0x80)), "hevc") == key


pieces = st.lists(
    st.sampled_from([b"\x00", b"\x00\x00\x01", b"\x00\x00\x03", SPS, PPS, IDR, AUD, b"\x42\x01\x01", b"\x01\x64"])
    | st.binary(max_size=40),
    max_size=30,
).map(b"".join)
hostile = st.binary(max_size=300) | pieces


@given(hostile, hostile, st.sampled_from(CODECS), st.integers(-1, 6), st.booleans())
def test_hostile_bytes(data: bytes, extradata: bytes, codec: VideoCodec, length_bytes: int, key: bool) -> None:
    for nal in bs.nal_units(data, codec):
        assert 0 <= nal.start < nal.end <= len(data)
    assert bs.is_key(data, codec) in (True, False)
    whole = bs.ensure_parameter_sets(data, extradata, key, codec)
    # Something may be put in, nothing is taken away.
    assert any(whole.startswith(data[:at]) and whole.endswith(data[at:]) for at in range(len(data) + 1))
    bs.is_annexb(data)
    for action in (
        lambda: bs.extradata_to_annexb(data, codec),
        lambda: bs.avcc_to_annexb(data, length_bytes),
        lambda: bs.nal_length_bytes(data, codec),
        lambda: sequence_info(data, codec),
        lambda: parse_sps(data, codec),
    ):
        with contextlib.suppress(BadRequest):
            action()


@given(st.data(), st.sampled_from(CODECS))
def test_damaged_records(data: st.DataObject, codec: VideoCodec) -> None:
    record = bytearray(encoded(codec, "mp4")[0])
    for _ in range(data.draw(st.integers(1, 4))):
        record[data.draw(st.integers(0, len(record) - 1))] = data.draw(st.integers(0, 255))
    cut = bytes(record[: data.draw(st.integers(1, len(record)))])
    with contextlib.suppress(BadRequest):
        sequence_info(bs.extradata_to_annexb(cut, codec), codec)


def test_a_large_key_picture_is_fast() -> None:
    noise = np.random.default_rng(1).integers(1, 255, 80_000, np.uint8).tobytes()
    unit = SPS + PPS + IDR + noise
    for action in (
        lambda: list(bs.nal_units(unit, "h264")),
        lambda: bs.is_key(unit, "h264"),
        lambda: bs.ensure_parameter_sets(unit, SPS + PPS, True),
        lambda: bs.ensure_parameter_sets(IDR + noise, SPS + PPS, True),
        lambda: bs.avcc_to_annexb((80_000).to_bytes(4, "big") + noise),
    ):
        seconds = []
        for _ in range(200):
            started = time.perf_counter()
            action()
            seconds.append(time.perf_counter() - started)
        assert sorted(seconds)[20] < 100e-6


@pytest.mark.parametrize("codec", CODECS)
def test_zeros_without_end_do_not_stall(codec: VideoCodec) -> None:
    started = time.process_time()  # what others do on this machine is not counted
    list(bs.nal_units(b"\x00\x00\x01\x65" + bytes(4_000_000), codec))
    list(bs.nal_units(b"\x00\x00\x01" * 300_000, codec))
    assert time.process_time() - started < 2
