"""Codec configurations of audio: AudioSpecificConfig (AAC) and OpusHead.

Sources: ISO/IEC 14496-3 1.6.2.1, RFC 7845 section 5.1.
"""

import struct
from typing import NamedTuple

from schemas.errors import BadRequest

AAC_LC = 2
_SBR, _PS = 5, 29  # HE-AAC and HE-AACv2: the sample rate is given a second time
_ESCAPE = 31
_EXPLICIT_RATE = 15
_SAMPLE_RATES = (96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000, 7_350)
# By channelConfiguration; 0 is described in a program config element, which we do not read.
_CHANNELS = (0, 1, 2, 3, 4, 5, 6, 8)

_OPUS_MAGIC = b"OpusHead"
_OPUS_HEAD = struct.Struct("<8sBBHIhB")
OPUS_PRE_SKIP_SAMPLES = 312  # at 48 kHz: what libopus adds in front
OPUS_SAMPLE_RATE = 48_000


class AacConfig(NamedTuple):
    """Audio object type, sample rate of the output and channels (0: in a program config element)."""

    object_type: int
    sample_rate: int
    channels: int


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
    if sample_rate in _SAMPLE_RATES:
        rate = _SAMPLE_RATES.index(sample_rate)
        return (object_type << 11 | rate << 7 | configuration << 3).to_bytes(2, "big")
    return (object_type << 35 | _EXPLICIT_RATE << 31 | sample_rate << 7 | configuration << 3).to_bytes(5, "big")


def parse_audio_specific_config(config: bytes) -> AacConfig:
    """What an AudioSpecificConfig says; with explicit SBR the rate is that of the output.

    Raises:
        BadRequest: it is cut short or uses reserved values.
    """
    bits = _Bits(config)
    object_type = bits.object_type()
    sample_rate = bits.sample_rate()
    configuration = bits.take(4)
    if object_type in (_SBR, _PS):
        sample_rate = bits.sample_rate()
        object_type = bits.object_type()
    if configuration >= len(_CHANNELS):
        raise BadRequest(f"AudioSpecificConfig with the reserved channel configuration {configuration}")
    return AacConfig(object_type, sample_rate, _CHANNELS[configuration])


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


def parse_opus_head(data: bytes) -> OpusHead:
    """What an OpusHead says.

    Raises:
        BadRequest: it is cut short, is something else or of an incompatible version.
    """
    if len(data) < _OPUS_HEAD.size or data[:8] != _OPUS_MAGIC:
        raise BadRequest(f"OpusHead of {len(data)} bytes is cut short or is something else")
    _, version, channels, pre_skip, sample_rate, _, family = _OPUS_HEAD.unpack_from(data)
    if version >> 4:
        raise BadRequest(f"OpusHead of version {version}; only 0.x and 1 are known")
    if channels == 0 or (family == 0 and channels > 2):
        raise BadRequest(f"OpusHead with {channels} channels in mapping family {family}")
    return OpusHead(channels, pre_skip, sample_rate)


class _Bits:
    def __init__(self, data: bytes) -> None:
        self._value, self._left = int.from_bytes(data, "big"), len(data) * 8

    def take(self, count: int) -> int:
        self._left -= count
        if self._left < 0:
            raise BadRequest("AudioSpecificConfig is cut short")
        return self._value >> self._left & ((1 << count) - 1)

    def object_type(self) -> int:
        kind = self.take(5)
        return 32 + self.take(6) if kind == _ESCAPE else kind

    def sample_rate(self) -> int:
        index = self.take(4)
        if index == _EXPLICIT_RATE:
            return self.take(24)
        if index >= len(_SAMPLE_RATES):
            raise BadRequest(f"AudioSpecificConfig with the reserved sample rate index {index}")
        return _SAMPLE_RATES[index]
