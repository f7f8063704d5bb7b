"""H.265 in RTP, single RTP stream mode, no decoding order numbers (RFC 7798)."""

import base64
from collections.abc import Iterator

from shared.media.bitstream import HEVC_AUD, HEVC_PPS, HEVC_SPS, HEVC_VPS, nal_units
from shared.rtp.nal import fragment_nal, pack_nals, with_sizes

_AP, _FU = 48, 49
_HEADER_BYTES = 2
_EOS, _EOB, _FILLER = 36, 37, 38
_LEFT_OUT = frozenset({HEVC_AUD, _EOS, _EOB, _FILLER})  # they mean nothing to a receiver of packets
_FIRST_BYTE_MASK = 0x81  # forbidden_zero_bit and the high bit of the layer id: what stays of a unit's first byte
_SPROP = {HEVC_VPS: "sprop-vps", HEVC_SPS: "sprop-sps", HEVC_PPS: "sprop-pps"}


def packetize_hevc(access_unit: bytes | memoryview, max_bytes: int, first_room_bytes: int = 0) -> tuple[bytes, ...]:
    """RTP payloads of one Annex B access unit, each at most `max_bytes`; empty when there is no NAL unit in it.

    The first is `first_room_bytes` shorter, for a header extension.
    """
    data = bytes(access_unit)
    nals = (
        data[start:end]
        for kind, start, end in nal_units(data, "hevc")
        if kind not in _LEFT_OUT and end - start > _HEADER_BYTES
    )
    return pack_nals(
        nals, max_bytes, first_room_bytes, header_bytes=_HEADER_BYTES, together=_aggregation, fragments=_fragments
    )


def hevc_parameters(extradata: bytes) -> str:
    """The `fmtp` parameters of Annex B parameter sets (RFC 7798 section 7.1)."""
    sets: dict[str, list[str]] = {}
    for kind, start, end in nal_units(extradata, "hevc"):
        if name := _SPROP.get(kind):
            sets.setdefault(name, []).append(base64.b64encode(extradata[start:end]).decode())
    return "; ".join(f"{name}={','.join(sets[name])}" for name in _SPROP.values() if name in sets)


def _aggregation(nals: list[bytes]) -> bytes:
    # The lowest layer and temporal ids of those inside (RFC 7798 section 4.4.2).
    layer = min((nal[0] & 1) << 5 | nal[1] >> 3 for nal in nals)
    temporal = min(nal[1] & 7 for nal in nals)
    return with_sizes(bytes((_AP << 1 | layer >> 5, (layer & 0x1F) << 3 | temporal)), nals)


def _fragments(nal: bytes, max_bytes: int, first_room_bytes: int) -> Iterator[bytes]:
    header = bytes((nal[0] & _FIRST_BYTE_MASK | _FU << 1, nal[1]))
    return fragment_nal(nal, header, nal[0] >> 1 & 0x3F, max_bytes, first_room_bytes)
