"""The payload format of each codec that RTP carries here."""

from collections.abc import Callable
from dataclasses import dataclass

from shared.rtp.aac import aac_parameters, packetize_aac
from shared.rtp.av1 import packetize_av1
from shared.rtp.clock import VIDEO_CLOCK_HZ
from shared.rtp.h264 import h264_parameters, packetize_h264
from shared.rtp.hevc import hevc_parameters, packetize_hevc
from shared.rtp.mjpeg import packetize_mjpeg
from shared.rtp.opus import OPUS_CLOCK_HZ, packetize_opus
from shared.rtp.vpx import packetize_vp8, packetize_vp9


def _none(_extradata: bytes) -> str:
    return ""


@dataclass(frozen=True)
class PayloadFormat:
    """How one codec goes in RTP and is told of in SDP."""

    encoding: str
    """Its name in `a=rtpmap`."""
    packetize: Callable[[bytes | memoryview, int], tuple[bytes, ...]]
    """(access unit, largest payload in bytes) to payloads; empty when nothing in it can be sent.

    Raises:
        BadRequest: the access unit is broken.
    """
    clock_hz: int = VIDEO_CLOCK_HZ
    """0: the sample rate."""
    parameters: Callable[[bytes], str] = _none
    """The codec configuration as parameters of `a=fmtp`."""
    static_type: int | None = None
    """The payload type that RFC 3551 gives it."""


PAYLOAD_FORMATS = {
    "h264": PayloadFormat("H264", packetize_h264, parameters=h264_parameters),
    "hevc": PayloadFormat("H265", packetize_hevc, parameters=hevc_parameters),
    "av1": PayloadFormat("AV1", packetize_av1),
    "vp8": PayloadFormat("VP8", packetize_vp8),
    "vp9": PayloadFormat("VP9", packetize_vp9),
    "mjpeg": PayloadFormat("JPEG", packetize_mjpeg, static_type=26),
    "aac": PayloadFormat("mpeg4-generic", packetize_aac, clock_hz=0, parameters=aac_parameters),
    "opus": PayloadFormat("opus", packetize_opus, clock_hz=OPUS_CLOCK_HZ),
}
