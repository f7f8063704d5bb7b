"""Settings of webrtc-gateway."""

from typing import Annotated

from msgspec import Meta

from services.webrtc_gateway.gateway import DEFAULT_MAX_SESSIONS
from shared.settings import Port, Settings


class GatewaySettings(Settings, frozen=True, kw_only=True):
    http_port: Port = 8889
    udp_port: Port = 8189
    """The one UDP port of every WebRTC session."""
    webrtc_hosts: tuple[str, ...] = ()
    """Addresses told to viewers; empty: those of this machine (or `bind`, when that is one of them)."""
    max_sessions: Annotated[int, Meta(ge=1, le=10_000)] = DEFAULT_MAX_SESSIONS
