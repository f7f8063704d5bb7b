"""Codec configurations of audio."""

import io

import av
import pytest

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
    assert extradata[:2] == ac.build_audio_specific_config(44_100, 2)  # behind it only that there is no SBR


def test_opus_head() -> None:
    head = ac.OpusHead(channels=2, pre_skip_samples=312, sample_rate=48_000)
    data = ac.build_opus_head(head)
    assert data == b"OpusHead\x01\x02\x38\x01\x80\xbb\x00\x00\x00\x00\x00"


def test_the_opus_head_of_libopus() -> None:
    encoder = av.CodecContext.create("libopus", "w")
    assert isinstance(encoder, av.AudioCodecContext)
    encoder.sample_rate, encoder.layout, encoder.format = 48_000, "stereo", "s16"
    encoder.open()
    assert bytes(encoder.extradata or b"") == ac.build_opus_head(ac.OpusHead(2))


@pytest.mark.parametrize(("sample_rate", "channels", "object_type"), [(48_000, 7, 2), (0, 2, 2), (48_000, 2, 31)])
def test_what_cannot_be_described(sample_rate: int, channels: int, object_type: int) -> None:
    with pytest.raises(BadRequest):
        ac.build_audio_specific_config(sample_rate, channels, object_type)


@pytest.mark.parametrize("head", [ac.OpusHead(3), ac.OpusHead(2, 70_000), ac.OpusHead(2, 0, -1)])
def test_no_such_opus_head(head: ac.OpusHead) -> None:
    with pytest.raises(BadRequest):
        ac.build_opus_head(head)
