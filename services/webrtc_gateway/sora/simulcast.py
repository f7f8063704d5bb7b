"""Simulcast of a client: the sizes that it is asked to send its pictures in, and how they are told apart."""

from collections.abc import Sequence

from msgspec import UNSET, Struct, UnsetType

from schemas.packets import VideoCodec
from services.webrtc_gateway.ingest.simulcast import REPAIRED_RID, RID

RIDS = ("r0", "r1", "r2")
"""From the smallest to the full size; applications for Sora ask for them by these names."""
_SCALES = (4.0, 2.0, 1.0)
# A picture of four times the pixels needs about three times the bits; together they are all that may be sent.
_SHARES = (0.08, 0.24, 0.68)
_MIN_BPS = 30_000  # less is no picture to any encoder
# Encoders make layers of these within one stream of packets, unless each is said to be one by itself.
_SCALABLE: tuple[VideoCodec, ...] = ("vp9", "av1")
_SIMPLE: tuple[VideoCodec, ...] = ("h264", "vp8")
_EXTENSIONS = ((12, RID), (13, REPAIRED_RID))  # of one bundle: no other extension has these ids


class Encoding(Struct, frozen=True, kw_only=True):
    """One layer, as clients set it at their encoder."""

    rid: str
    active: bool = True
    scaleResolutionDownBy: float
    maxBitrate: int | UnsetType = UNSET
    """Bit/s; without it the client's own for that size."""
    scalabilityMode: str | UnsetType = UNSET


def encodings(codecs: Sequence[VideoCodec], bit_rate_bps: int | None) -> tuple[Encoding, ...]:
    """`codecs`: those of which the client may choose one; `bit_rate_bps` is for all layers together."""
    return tuple(
        Encoding(
            rid=rid,
            scaleResolutionDownBy=scale,
            maxBitrate=UNSET if bit_rate_bps is None else max(_MIN_BPS, int(bit_rate_bps * share)),
            scalabilityMode="L1T1" if all(codec in _SCALABLE for codec in codecs) else UNSET,
        )
        for rid, scale, share in zip(RIDS, _SCALES, _SHARES, strict=True)
    )


def layered_codecs(codecs: tuple[VideoCodec, ...]) -> tuple[VideoCodec, ...]:
    """Of the codecs that a client may choose from, those whose layers can be described before it has."""
    return tuple(codec for codec in codecs if codec in _SIMPLE) or codecs


def layer_lines() -> list[str]:
    """Of the m-line that layers come on."""
    return [
        *(f"a=extmap:{number} {uri}" for number, uri in _EXTENSIONS),
        *(f"a=rid:{rid} recv" for rid in RIDS),
        f"a=simulcast:recv {';'.join(RIDS)}",
    ]
