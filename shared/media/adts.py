"""ADTS: the header that AAC frames wear in MPEG-TS and in raw streams (ISO/IEC 13818-7, 6.2)."""

from schemas.errors import BadRequest
from shared.media.audio_config import SAMPLE_RATES, build_audio_specific_config

_HEADER_BYTES = 7
_CRC_BYTES = 2


def strip_adts(frame: bytes) -> tuple[bytes, bytes]:
    """The AAC frame without its ADTS header, and the AudioSpecificConfig that the header stood for.

    A frame without a header comes back as it is, with an empty configuration.

    Raises:
        BadRequest: a header with reserved values.
    """
    if len(frame) < _HEADER_BYTES or frame[0] != 0xFF or frame[1] & 0xF6 != 0xF0:
        return frame, b""
    rate_index = frame[2] >> 2 & 0x0F
    channels = (frame[2] & 1) << 2 | frame[3] >> 6
    if rate_index >= len(SAMPLE_RATES):
        raise BadRequest(f"ADTS header with reserved sample rate index {rate_index}")
    protected = not frame[1] & 1
    header_bytes = _HEADER_BYTES + (_CRC_BYTES if protected else 0)
    object_type = (frame[2] >> 6) + 1
    return frame[header_bytes:], build_audio_specific_config(SAMPLE_RATES[rate_index], channels or 2, object_type)
