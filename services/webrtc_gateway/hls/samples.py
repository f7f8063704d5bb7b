"""Access units as they travel on the bus, made samples as MP4 has them."""

from schemas.packets import PacketHeader
from shared.media import bitstream
from shared.media.av1 import obus

_TEMPORAL_DELIMITER = 2  # an OBU that MP4 leaves out (AV1 in ISOBMFF, 2.4)
_LENGTH_BYTES = 4
# They are in the header, and `avc1` and `hvc1` forbid them in samples (ISO/IEC 14496-15, 5.4.2.1 and 8.4.3).
_LEFT_OUT = {
    "h264": frozenset({bitstream.H264_SPS, bitstream.H264_PPS, bitstream.H264_AUD}),
    "hevc": frozenset({bitstream.HEVC_VPS, bitstream.HEVC_SPS, bitstream.HEVC_PPS, bitstream.HEVC_AUD}),
}


def sample_data(header: PacketHeader, payload: memoryview) -> bytes | memoryview:
    """The bytes of a sample. Those of NAL units and OBUs are copied: MP4 has lengths where Annex B has start codes.

    Raises:
        BadRequest: an AV1 temporal unit is cut short.
    """
    codec = header.codec
    if codec not in ("h264", "hevc", "av1"):
        return payload
    unit = bytes(payload)  # to be searched, which a view cannot be
    if codec == "h264" or codec == "hevc":
        view = memoryview(unit)
        parts: list[bytes | memoryview] = []
        for nal in bitstream.nal_units(unit, codec):
            if nal.type not in _LEFT_OUT[codec]:
                parts += ((nal.end - nal.start).to_bytes(_LENGTH_BYTES, "big"), view[nal.start : nal.end])
        return b"".join(parts)
    return b"".join(unit[obu.start : obu.end] for obu in obus(unit) if obu.type != _TEMPORAL_DELIMITER)
