"""Renditions for HLS, from the bus and the packet ring: players take what WebRTC cannot carry, B-frames too."""

from services.webrtc_gateway.egress.bus_source import BusPacketSource
from services.webrtc_gateway.egress.source import NotViewable


class HlsPacketSource(BusPacketSource):
    """Opens renditions whatever their codec; the packager says what players cannot take."""

    def _tracks(self, stream: str, rendition: str) -> tuple[str, ...]:
        try:
            return super()._tracks(stream, rendition)
        except NotViewable:  # over WebRTC
            return ()
