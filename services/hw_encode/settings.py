"""Settings of hw-encode."""

from typing import Annotated

from msgspec import Meta

from services.hw_encode.codecs import Isolate
from shared.packet_ring import PacketRingSettings


class HwEncodeSettings(PacketRingSettings, frozen=True, kw_only=True):
    idle_seconds: Annotated[float, Meta(ge=0, le=3600)] = 10.0
    """A rendition nobody wants any more is encoded for this long still: a viewer who reloads finds it running."""
    isolate: Isolate = "hardware"
    """Which encoders run in processes of their own, so that a driver that crashes takes nothing with it. SVT-AV1 is
    one of the hardware's: it can stop for ever.

    Measured with libx264: 0.4 to 1.2 ms of processor time more for a picture of 1080p, one copy of it included."""
