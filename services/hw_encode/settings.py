"""Settings of hw-encode."""

from typing import Annotated

from msgspec import Meta

from shared.settings import Settings


class HwEncodeSettings(Settings, frozen=True, kw_only=True):
    idle_seconds: Annotated[float, Meta(ge=0, le=3600)] = 10.0
    """A rendition nobody wants any more is encoded for this long still: a viewer who reloads finds it running."""
    packet_ring_seconds: Annotated[float, Meta(ge=1, le=600)] = 15.0
    """How far back the packets of a rendition reach: joins, pre-roll, resuming after a crash."""
    packet_ring_bytes: Annotated[int, Meta(ge=1 << 20, le=1 << 32)] = 32 << 20
    """Upper bound of one packet ring."""
