"""What capture makes of a publisher's key pictures before anything is decoded for good."""

from typing import Any

import av
import pytest

from schemas.errors import BadRequest
from schemas.packets import VideoCodec
from services.capture.sources import ingest_player
from services.capture.sources.ingest_player import picture_size
from tests.support.rtp_sender import HEIGHT, WIDTH, h264_pictures

pytestmark = pytest.mark.unit


def key_picture(encoder: str, width: int, height: int) -> bytes:
    context: Any = av.CodecContext.create(encoder, "w")
    context.width, context.height, context.pix_fmt, context.framerate = width, height, "yuv420p", 30
    context.options = {"deadline": "realtime", "cpu-used": "8", "lag-in-frames": "0"}
    frame = av.VideoFrame(width, height, "yuv420p")
    frame.pts = 0
    return b"".join(bytes(packet) for packet in (*context.encode(frame), *context.encode(None)))


def test_a_key_picture_tells_its_size() -> None:
    assert picture_size(h264_pictures()[0], "h264") == (WIDTH, HEIGHT)
    encoders: dict[VideoCodec, str] = {"vp8": "libvpx", "vp9": "libvpx-vp9"}
    for codec, encoder in encoders.items():
        assert picture_size(key_picture(encoder, 64, 48), codec) == (64, 48)


def test_one_that_would_fill_memory_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    claims = b"\x10\x00\x00\x9d\x01\x2a" + (16_383).to_bytes(2, "little") * 2
    with pytest.raises(BadRequest, match="16383x16383"):
        picture_size(claims, "vp8")
    monkeypatch.setattr(ingest_player, "_MAX_PIXELS", 64 * 48)  # a picture of the true limit takes seconds to make
    assert picture_size(key_picture("libvpx-vp9", 64, 48), "vp9") == (64, 48)
    with pytest.raises(av.FFmpegError):  # of the decoder, before it takes memory
        picture_size(key_picture("libvpx-vp9", 640, 480), "vp9")
