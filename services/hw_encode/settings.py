"""Settings of hw-encode."""

from typing import Annotated

from msgspec import Meta

from services.hw_encode.codecs import Isolate
from shared.packet_ring import RingSize, ring_size
from shared.settings import Settings


class HwEncodeSettings(Settings, frozen=True, kw_only=True):
    idle_seconds: Annotated[float, Meta(ge=0, le=3600)] = 10.0
    """A rendition nobody wants any more is encoded for this long still: a viewer who reloads finds it running."""
    packet_ring_seconds: Annotated[float, Meta(ge=1, le=600)] = 15.0
    """How far back the packets of a rendition reach: joins, pre-roll, resuming after a crash."""
    packet_ring_bytes: Annotated[int, Meta(ge=1 << 20, le=1 << 32)] = 32 << 20
    """Upper bound of one packet ring; it grows with the `history` of a rendition."""
    history_bytes: Annotated[int, Meta(ge=1 << 20, le=1 << 34)] = 256 << 20
    """Upper bound of the packet ring of a rendition with `history`: 60 s of 35 Mbit/s. All of it is reserved."""

    isolate: Isolate = "hardware"
    """Which encoders run in processes of their own, so that a driver that crashes takes nothing with it. SVT-AV1 is
    one of the hardware's: it can stop for ever.

    Measured with libx264: 0.4 to 1.2 ms of processor time more for a picture of 1080p, one copy of it included."""

    def ring_size(self, history: str | None) -> RingSize:
        """Of the packet ring of a rendition with so much `history`."""
        return ring_size(RingSize(self.packet_ring_seconds, self.packet_ring_bytes), history, self.history_bytes)
