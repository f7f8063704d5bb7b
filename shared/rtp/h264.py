"""H.264 in RTP, packetization-mode 1 (RFC 6184)."""

import base64
from collections.abc import Iterator

from shared.media.bitstream import H264_PPS, H264_SPS, nal_units
from shared.rtp.nal import fragment_nal, pack_nals, with_sizes

_STAP_A, _FU_A = 24, 28
# Delimiters, ends and filler mean nothing to a receiver of packets (RFC 6184 section 6.1 lets senders leave them out).
_LEFT_OUT = frozenset({9, 10, 11, 12})
_TYPE_MASK, _NRI_MASK, _F_NRI_MASK = 0x1F, 0x60, 0xE0
_PROFILE_LEVEL = slice(1, 4)  # profile_idc, constraint flags, level_idc of an SPS


def packetize_h264(access_unit: bytes | memoryview, max_bytes: int, first_room_bytes: int = 0) -> tuple[bytes, ...]:
    """RTP payloads of one Annex B access unit, each at most `max_bytes`; empty when there is no NAL unit in it.

    The first is `first_room_bytes` shorter, for a header extension. Small neighbours share a STAP-A packet, large units
    become FU-A fragments of equal size but the last.
    """
    data = bytes(access_unit)
    nals = (data[start:end] for kind, start, end in nal_units(data, "h264") if kind not in _LEFT_OUT)
    return pack_nals(nals, max_bytes, first_room_bytes, header_bytes=1, together=_stap_a, fragments=_fu_a)


def h264_parameters(extradata: bytes) -> str:
    """The `fmtp` parameters of Annex B parameter sets (RFC 6184 section 8.1)."""
    units = [(kind, extradata[start:end]) for kind, start, end in nal_units(extradata, "h264")]
    sets = [nal for kind, nal in units if kind in (H264_SPS, H264_PPS)]
    parameters = ["packetization-mode=1"]
    sps = next((nal for kind, nal in units if kind == H264_SPS and len(nal) >= _PROFILE_LEVEL.stop), None)
    if sps is not None:
        parameters.append(f"profile-level-id={sps[_PROFILE_LEVEL].hex().upper()}")
        parameters.append("sprop-parameter-sets=" + ",".join(base64.b64encode(nal).decode() for nal in sets))
    return "; ".join(parameters)


def _stap_a(nals: list[bytes]) -> bytes:
    forbidden = max(nal[0] & 0x80 for nal in nals)
    importance = max(nal[0] & _NRI_MASK for nal in nals)
    return with_sizes(bytes((forbidden | importance | _STAP_A,)), nals)


def _fu_a(nal: bytes, max_bytes: int, first_room_bytes: int) -> Iterator[bytes]:
    header = bytes((nal[0] & _F_NRI_MASK | _FU_A,))
    return fragment_nal(nal, header, nal[0] & _TYPE_MASK, max_bytes, first_room_bytes)
