"""Channels of Sora-compatible signalling: who is in them, what they are told, and how they are shown out."""

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from schemas.ids import Id

MAX_CHANNEL_BYTES = 255
ChannelName = Annotated[str, Meta(min_length=1, max_length=MAX_CHANNEL_BYTES, description="printable text")]
ConnectionId = Annotated[str, Meta(max_length=26, description="26 characters, of the gateway's making")]


class ChannelConnection(Struct, frozen=True, kw_only=True):
    """One client of a channel."""

    connection_id: ConnectionId
    client_id: str
    bundle_id: str
    role: str
    """`sendonly`, `recvonly` or `sendrecv`."""
    audio: bool
    video: bool
    stream: str = ""
    """What it publishes, as the mesh calls it; empty: nothing."""
    watches: tuple[str, ...] = ()
    """Streams that it is offered."""
    connected_ns: int = 0
    """CLOCK_REALTIME; 0: not through yet."""
    client: str = ""
    """The program, as it names itself, shortened."""
    signalling: Literal["websocket", "data_channels"] = "websocket"
    """How it is spoken with by now."""
    labels: tuple[str, ...] = ()
    """Of its own data channels, as it asked for them."""
    audio_streaming_language_code: str = ""
    """What it says that it speaks."""
    metadata: Any = None
    """What it lets others know of it: its `signaling_notify_metadata`."""


class ChannelInfo(Struct, frozen=True, kw_only=True):
    """One channel of a gateway."""

    channel: str
    stream: Id
    """What tokens must be for, and what its events are about: the channel's name, or what stands for it in ids."""
    session_id: str
    node: str = ""
    """Of its gateway: the same name at another one is another channel."""
    connections: tuple[ChannelConnection, ...]
    """In the order in which they came."""


class ListChannels(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """webrtc-gateway.channels: who is in which channel, and what the mesh calls what they publish."""

    channel: ChannelName | None = None


class ChannelList(Struct, frozen=True, kw_only=True):
    channels: tuple[ChannelInfo, ...]
    unanswered: tuple[str, ...] = ()
    """Nodes of gateways that did not answer in time: theirs are not listed."""


class ClientStatsRequest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """webrtc-gateway.client-stats: what one client of a channel tells of its side."""

    channel: ChannelName
    connection_id: ConnectionId


class ClientStats(Struct, frozen=True, kw_only=True):
    """Its last statistics, under the names of W3C's webrtc-stats; without certificates and addresses."""

    reported_ns: int = 0
    """When they came, CLOCK_REALTIME; 0: none yet."""
    reported: tuple[dict[str, str | int | float | bool], ...] = ()


class PushToChannel(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """webrtc-gateway.push: have something said to the clients of a channel, or to one of them."""

    channel: ChannelName
    data: Any
    """Any JSON; at most 32 KiB and 16 levels deep."""
    connection_id: ConnectionId | None = None


class Pushed(Struct, frozen=True, kw_only=True):
    connections: tuple[ConnectionId, ...]
    """To whom."""
    unanswered: tuple[str, ...] = ()
    """Nodes of gateways that did not answer in time: theirs may not have been told."""


class DisconnectChannel(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """webrtc-gateway.disconnect: end the connections of a channel, or one of them."""

    channel: ChannelName
    connection_id: ConnectionId | None = None
    reason: Annotated[str, Meta(max_length=200, description="for the log and the event")] = ""


class Disconnected(Struct, frozen=True, kw_only=True):
    connections: tuple[ConnectionId, ...]
    unanswered: tuple[str, ...] = ()
    """Nodes of gateways that did not answer in time: theirs may go on."""
