"""What clients are told: exact, as they end their process at what they lack."""

from typing import Any, Literal

import msgspec
from msgspec import UNSET, Struct, UnsetType

from services.webrtc_gateway.sora.simulcast import Encoding


class IceServer(Struct, frozen=True):
    """Clients end their process where one of the three is missing."""

    urls: tuple[str, ...]
    username: str = ""
    credential: str = ""


class Config(Struct, frozen=True):
    """For RTCPeerConnection: all our candidates are in the offer."""

    iceServers: tuple[IceServer, ...] = ()
    iceTransportPolicy: str = "all"


class Offer(Struct, frozen=True, kw_only=True, tag_field="type", tag="offer"):
    """Clients end their process where `sdp`, `connection_id` or `config` is missing."""

    sdp: str
    channel_id: str
    session_id: str
    client_id: str
    bundle_id: str
    connection_id: str
    mid: dict[str, str]
    """By kind, the m-line that the client sends on."""
    version: str
    multistream: bool = True
    simulcast: bool = False
    encodings: tuple[Encoding, ...] | UnsetType = UNSET
    """Of simulcast: how the client shall encode."""
    simulcast_multicodec: bool = False
    spotlight: bool = False
    metadata: Any = {}
    config: Config = Config()
    data_channel_signaling: bool = False
    ignore_disconnect_websocket: bool = False
    data_channels: tuple[Any, ...] = ()


class ReOffer(Struct, frozen=True, tag_field="type", tag="re-offer"):
    sdp: str


class Switched(Struct, frozen=True, tag_field="type", tag="switched"):
    """The last that a client with data channels needs its WebSocket for; told to let go of it, it does so at once."""

    ignore_disconnect_websocket: bool


class ReqStats(Struct, frozen=True, tag_field="type", tag="req-stats"):
    """Answered over the data channel that it comes by."""


class Close(Struct, frozen=True, tag_field="type", tag="close"):
    """Over data channels what a close frame is to a WebSocket."""

    code: int
    reason: str


class Ping(Struct, frozen=True, tag_field="type", tag="ping"):
    stats: bool = False


class Peer(Struct, frozen=True, kw_only=True):
    """One connection, as others of its channel see it."""

    connection_id: str
    client_id: str
    bundle_id: str
    role: str
    audio: bool
    video: bool
    metadata: Any = None
    """What the client lets others know of it; never what it proved itself with."""


class Notify(Struct, frozen=True, kw_only=True, tag_field="type", tag="notify"):
    event_type: Literal["connection.created", "connection.destroyed"]
    role: str
    session_id: str
    client_id: str
    bundle_id: str
    connection_id: str
    audio: bool
    video: bool
    minutes: int
    timestamp: str
    channel_connections: int
    channel_sendrecv_connections: int
    channel_sendonly_connections: int
    channel_recvonly_connections: int
    turn_transport_type: str = "udp"
    metadata: Any = None
    data: tuple[Peer, ...] | UnsetType = UNSET
    """To a connection about itself: who was there before."""


class Redirect(Struct, frozen=True, tag_field="type", tag="redirect"):
    """Instead of an offer: clients go to another gateway once their WebSocket is closed."""

    location: str


class SpotlightMoved(Struct, frozen=True, kw_only=True, tag_field="type", tag="notify"):
    """Somebody comes into the client's spotlight, or leaves it."""

    event_type: Literal["spotlight.focused", "spotlight.unfocused"]
    client_id: str | None
    connection_id: str
    audio: bool
    video: bool
    fixed: bool = False


class SpotlightChanged(Struct, frozen=True, kw_only=True, tag_field="type", tag="notify"):
    """Who is in one place of the client's spotlight; without a connection: nobody any more."""

    client_id: str | None
    connection_id: str | None
    spotlight_id: str
    audio: bool
    video: bool
    event_type: Literal["spotlight.changed"] = "spotlight.changed"
    fixed: bool = False


class SimulcastSwitched(Struct, frozen=True, kw_only=True, tag_field="type", tag="notify"):
    """The client gets another layer of what somebody publishes."""

    timestamp: str
    sender_connection_id: str | None
    priority: Literal["higher", "lower"]
    """Than the layer before."""
    trigger: Literal["sender", "receiver"]
    """`sender`: a layer came or went."""
    rpc_rids: tuple[str, ...]
    """Layers that may be asked for."""
    auto_rids: tuple[str, ...]
    """Layers that may be chosen where none is asked for."""
    request_rid: str
    current_rid: str
    previous_rid: str
    event_type: Literal["simulcast.switched"] = "simulcast.switched"


class Push(Struct, frozen=True, tag_field="type", tag="push"):
    """For the application."""

    data: Any


ToClient = (
    Offer
    | Redirect
    | ReOffer
    | Switched
    | ReqStats
    | Close
    | Ping
    | Notify
    | SpotlightMoved
    | SpotlightChanged
    | SimulcastSwitched
    | Push
)


def write(message: ToClient) -> str:
    return msgspec.json.encode(message).decode()
