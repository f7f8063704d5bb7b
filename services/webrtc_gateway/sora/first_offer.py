"""The first that a client is told: the offer, and with it all that was settled for its connection."""

from typing import TYPE_CHECKING

from msgspec import UNSET

from services.webrtc_gateway.sora.messages import Config, IceServer, Offer
from services.webrtc_gateway.sora.simulcast import encodings, layered_codecs

if TYPE_CHECKING:
    from services.webrtc_gateway.sora.connection import Connection

VERSION = "framemesh"


def first_offer(connection: "Connection", sdp: str, uplink_mids: dict[str, str]) -> Offer:
    """`uplink_mids`: the sections that the client sends in, by kind."""
    asked, terms, data = connection.connect, connection.terms, connection.data
    servers = connection.parts.ice_servers.entries(connection.id)
    return Offer(
        sdp=sdp,
        channel_id=connection.channel,
        session_id=connection.session_id,
        client_id=connection.client_id,
        bundle_id=connection.bundle_id,
        connection_id=connection.id,
        mid=uplink_mids,
        version=VERSION,
        simulcast=terms.simulcast,
        encodings=encodings(layered_codecs(terms.codecs), terms.start_bps) if terms.simulcast else UNSET,
        spotlight=connection.wishes.spotlight,
        config=Config(tuple(IceServer((server.url,), server.username, server.credential) for server in servers)),
        data_channel_signaling=data is not None,
        ignore_disconnect_websocket=data is not None and bool(asked.ignore_disconnect_websocket),
        data_channels=data.announced if data else (),
    )
