"""Codec configurations of audio."""

import contextlib
import io

import av
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import BadRequest
from shared.media import audio_config as ac

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("sample_rate", "channels", "expected"),
    [(44_100, 2, "1210"), (48_000, 2, "1190"), (48_000, 1, "1188"), (8_000, 1, "1588"), (47_999, 2, "1780 5dbf 90")],
)
def test_known_configurations(sample_rate: int, channels: int, expected: str) -> None:
    config = ac.build_audio_specific_config(sample_rate, channels)
    assert config == bytes.fromhex(expected)
    assert ac.parse_audio_specific_config(config) == (ac.AAC_LC, sample_rate, channels)


def test_what_the_encoder_writes() -> None:
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as output:
        stream = output.add_stream("aac", rate=44_100, layout="stereo")
        frame = av.AudioFrame(format="fltp", layout="stereo", samples=1_024)
        frame.sample_rate = 44_100
        for plane in frame.planes:
            plane.update(bytes(plane.buffer_size))
        output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
        extradata = bytes(stream.codec_context.extradata or b"")
    assert ac.parse_audio_specific_config(extradata) == (ac.AAC_LC, 44_100, 2)


def test_he_aac_gives_the_rate_of_the_output() -> None:
    # SBR: type 5, 24 kHz, stereo, extension rate 48 kHz, type 2.
    bits = "00101" "0110" "0010" "0011" "00010" "00"  # fmt: skip
    assert ac.parse_audio_specific_config(int(bits, 2).to_bytes(3, "big")) == (ac.AAC_LC, 48_000, 2)


def test_opus_head() -> None:
    head = ac.OpusHead(channels=2, pre_skip_samples=312, sample_rate=48_000)
    data = ac.build_opus_head(head)
    assert data == b"OpusHead\x01\x02\x38\x01\x80\xbb\x00\x00\x00\x00\x00"
    assert ac.parse_opus_head(data) == head


def test_the_opus_head_of_libopus() -> None:
    encoder = av.CodecContext.create("libopus", "w")
    assert isinstance(encoder, av.AudioCodecContext)
    encoder.sample_rate, encoder.layout, encoder.format = 48_000, "stereo", "s16"
    encoder.open()
    assert ac.parse_opus_head(bytes(encoder.extradata or b"")) == ac.OpusHead(2, ac.OPUS_PRE_SKIP_SAMPLES, 48_000)


@pytest.mark.parametrize(("sample_rate", "channels", "object_type"), [(48_000, 7, 2), (0, 2, 2), (48_000, 2, 31)])
def test_what_cannot_be_described(sample_rate: int, channels: int, object_type: int) -> None:
    with pytest.raises(BadRequest):
        ac.build_audio_specific_config(sample_rate, channels, object_type)


@pytest.mark.parametrize("head", [ac.OpusHead(3), ac.OpusHead(2, 70_000), ac.OpusHead(2, 0, -1)])
def test_no_such_opus_head(head: ac.OpusHead) -> None:
    with pytest.raises(BadRequest):
        ac.build_opus_head(head)


@given(st.binary(max_size=24) | st.binary(max_size=16).map(lambda tail: b"OpusHead" + tail))
def test_hostile_bytes(data: bytes) -> None:
    for parse in (ac.parse_audio_specific_config, ac.parse_opus_head):
        with contextlib.suppress(BadRequest):
            parse(data)


@given(st.integers(1, (1 << 24) - 1), st.sampled_from([1, 2, 3, 4, 5, 6, 8]), st.integers(1, 30))
def test_built_and_parsed(sample_rate: int, channels: int, object_type: int) -> None:
    config = ac.build_audio_specific_config(sample_rate, channels, object_type)
    if object_type not in (5, 29):
        assert ac.parse_audio_specific_config(config) == (object_type, sample_rate, channels)
