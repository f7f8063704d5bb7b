"""Layers: which of the sizes of a stream a session is sent, and who publishes, how loud."""

from msgspec import Struct

from schemas.ids import Id
from schemas.sessions import SessionKind
from schemas.sora import ChannelName, ConnectionId


class ChooseLayer(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """webrtc-gateway.layer: have a session go on with another rendition of its stream, at the next key frame.

    Give either a session, or a channel and one of its connections.
    """

    session: str | None = None
    """Its id, or the first characters of it that no other session has."""
    channel: ChannelName | None = None
    connection_id: ConnectionId | None = None
    """Of the client that watches."""
    stream: Id | None = None
    """Of what this client watches that alone; left out: all, and what comes later too."""
    rendition: Id | None = None
    """`r0`, `r1`, `r2` or, outside of channels, any rendition; `none`: sound alone; left out: what the session
    came for, or what the spotlight says."""


class LayerChosen(Struct, frozen=True, kw_only=True):
    """One session that is on its way."""

    session: str
    stream: Id
    rendition: Id
    """What it is sent at this moment."""
    pictures: bool = True
    """False: it is sent sound alone."""
    error: str = ""
    """Why it stays where it is, where that is known already."""


class LayersChosen(Struct, frozen=True, kw_only=True):
    sessions: tuple[LayerChosen, ...]


class PublisherInfo(Struct, frozen=True, kw_only=True):
    """Who fills a stream by WebRTC."""

    session: str
    """The first characters of its id: with the whole of it, it could be ended."""
    stream: Id
    kind: SessionKind
    state: str
    node: str = ""
    connected_ns: int = 0
    packets_received: int = 0
    bytes_received: int = 0
    tracks: tuple[str, ...] = ()
    level_dbov: float | None = None
    """Of its sound in the last 0.2 s: 0 is as loud as it gets, -127 silence. None: it does not tell, or sends none."""
    speaking: bool = False


class ListPublishers(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """webrtc-gateway.publishers: those of all gateways; optionally of one stream."""

    stream: Id | None = None


class PublisherList(Struct, frozen=True, kw_only=True):
    publishers: tuple[PublisherInfo, ...]
    unanswered: tuple[str, ...] = ()
    """Nodes whose gateway did not answer in time: what it has is missing here."""
