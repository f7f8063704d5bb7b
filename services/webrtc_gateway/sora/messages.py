"""What is said over the WebSocket: lenient with what comes, exact in what goes, as clients end at what they lack."""

import re
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from services.webrtc_gateway.sora.simulcast import Encoding

Role = Literal["sendonly", "recvonly", "sendrecv"]

# --- from clients


class AudioOptions(Struct, frozen=True):
    codec_type: str = "OPUS"
    bit_rate: int | None = None
    """kbit/s."""
    opus_params: dict[str, Any] = {}


class Vp9Params(Struct, frozen=True):
    profile_id: Annotated[int, Meta(ge=0, le=3)] = 0


class Av1Params(Struct, frozen=True):
    profile: Annotated[int, Meta(ge=0, le=2)] = 0


class H264Params(Struct, frozen=True):
    profile_level_id: Annotated[str, Meta(pattern="^[0-9A-Fa-f]{6}$(?!\\n)")] = "42e01f"


class VideoOptions(Struct, frozen=True):
    codec_type: str | None = None
    """VP8, VP9, AV1, H264 or H265; None: ours to choose."""
    bit_rate: int | None = None
    """kbit/s."""
    vp9_params: Vp9Params | None = None
    av1_params: Av1Params | None = None
    h264_params: H264Params | None = None


class Connect(Struct, frozen=True, tag_field="type", tag="connect"):
    """The first message. Its metadata holds a token: it is never logged."""

    role: str
    channel_id: str = ""
    client_id: str | None = None
    bundle_id: str | None = None
    metadata: Any = None
    signaling_notify_metadata: Any = None
    audio: bool | AudioOptions = True
    video: bool | VideoOptions = True
    sora_client: Any = None
    audio_streaming_language_code: str | None = None
    redirect: bool = False
    """Another gateway has sent it here."""
    simulcast: Any = None
    """Whether it sends its pictures in several sizes: true or nothing."""
    data_channel_signaling: bool | None = None
    ignore_disconnect_websocket: bool | None = None
    data_channels: Any = None
    """See `sora.labels`."""
    simulcast_rid: Any = None
    """See `sora.wishes`, as the next ones."""
    simulcast_request_rid: Any = None
    spotlight: Any = None
    spotlight_number: Any = None
    spotlight_focus_rid: Any = None
    spotlight_unfocus_rid: Any = None
    forwarding_filter: Any = None
    """See `sora.forwarding`, which says what is wrong with it."""
    forwarding_filters: Any = None

    @property
    def token(self) -> str | None:
        """The access token; None: there is none."""
        token = self.metadata.get("access_token") if isinstance(self.metadata, dict) else None
        return token if isinstance(token, str) else None


class SaidSdp(Struct, frozen=True, tag_field="type", tag="answer"):
    sdp: str


class SaidAgain(Struct, frozen=True, tag_field="type", tag="re-answer"):
    sdp: str


class Updated(Struct, frozen=True, tag_field="type", tag="update"):
    """The `re-answer` of older clients."""

    sdp: str


class Candidate(Struct, frozen=True, tag_field="type", tag="candidate"):
    """Not needed: an ICE-lite side learns the peer's address from its checks."""


class Pong(Struct, frozen=True, tag_field="type", tag="pong"):
    """A sign of life, with statistics where they were asked for."""

    stats: msgspec.Raw = msgspec.Raw()


class SaidStats(Struct, frozen=True, tag_field="type", tag="stats"):
    """The same over a data channel."""

    reports: msgspec.Raw = msgspec.Raw()


class Disconnect(Struct, frozen=True, tag_field="type", tag="disconnect"):
    reason: str = ""


FromClient = Connect | SaidSdp | SaidAgain | Updated | Candidate | Pong | SaidStats | Disconnect
_decoder: msgspec.json.Decoder[FromClient] = msgspec.json.Decoder(FromClient)


# Some clients write C's infinities into statistics, which no reader of JSON takes.
_NO_NUMBER = re.compile(r"(?<=[:,\[])\s*-?(?:inf|nan)(?=[,\]}])")


def read(text: str) -> FromClient:
    """Raises:
    msgspec.DecodeError: not JSON, of no type that we know, or a field is none.
    """
    try:
        return _decode(text)
    except msgspec.DecodeError:
        mended = _NO_NUMBER.sub("null", text)
        if mended == text:
            raise
    return _decode(mended)


def _decode(text: str) -> FromClient:
    try:
        return _decoder.decode(text)
    except RecursionError:
        raise msgspec.DecodeError("nested too deeply") from None


# --- to clients


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
