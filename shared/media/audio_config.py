"""Codec configurations of audio: AudioSpecificConfig (AAC) and OpusHead.

Sources: ISO/IEC 14496-3 1.6.2.1, RFC 7845 section 5.1.
"""

import struct
from typing import NamedTuple

from schemas.errors import BadRequest

AAC_LC = 2
_ESCAPE = 31
_EXPLICIT_RATE = 15
SAMPLE_RATES = (96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000, 7_350)
# By channelConfiguration; 0 is described in a program config element, which we do not write.
_CHANNELS = (0, 1, 2, 3, 4, 5, 6, 8)

_OPUS_MAGIC = b"OpusHead"
_OPUS_HEAD = struct.Struct("<8sBBHIhB")
OPUS_PRE_SKIP_SAMPLES = 312  # at 48 kHz: what libopus adds in front
OPUS_SAMPLE_RATE = 48_000


class OpusHead(NamedTuple):
    """Channels, samples at 48 kHz to skip at the start, and the rate of the original."""

    channels: int
    pre_skip_samples: int = OPUS_PRE_SKIP_SAMPLES
    sample_rate: int = OPUS_SAMPLE_RATE


def build_audio_specific_config(sample_rate: int, channels: int, object_type: int = AAC_LC) -> bytes:
    """The AudioSpecificConfig of plain AAC, 2 bytes (5 for an unusual sample rate).

    Raises:
        BadRequest: no channel configuration for `channels`, or a number out of range.
    """
    if channels not in _CHANNELS[1:]:
        raise BadRequest(f"AAC with {channels} channels: 1-6 or 8 can be described")
    if not 1 <= object_type < _ESCAPE or not 0 < sample_rate < 1 << 24:
        raise BadRequest(f"AAC object type {object_type} at {sample_rate} Hz cannot be described")
    configuration = _CHANNELS.index(channels)
    if sample_rate in SAMPLE_RATES:
        rate = SAMPLE_RATES.index(sample_rate)
        return (object_type << 11 | rate << 7 | configuration << 3).to_bytes(2, "big")
    return (object_type << 35 | _EXPLICIT_RATE << 31 | sample_rate << 7 | configuration << 3).to_bytes(5, "big")


def build_opus_head(head: OpusHead) -> bytes:
    """The 19 bytes of an OpusHead for mono or stereo.

    Raises:
        BadRequest: more than two channels, or a number out of range.
    """
    if head.channels not in (1, 2):
        raise BadRequest(f"Opus with {head.channels} channels: 1 or 2 can be described")
    try:
        return _OPUS_HEAD.pack(_OPUS_MAGIC, 1, head.channels, head.pre_skip_samples, head.sample_rate, 0, 0)
    except struct.error as error:
        raise BadRequest(f"OpusHead: {error}") from None
