"""The channels of this gateway: who is in them, which streams come of that, and who is told of whom."""

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

from msgspec.structs import replace

from schemas.errors import TooMany, Unavailable
from services.webrtc_gateway.sora.client_messages import Connect, Role
from services.webrtc_gateway.sora.connection import NORMAL, Connection
from services.webrtc_gateway.sora.downlinks import Parts, Source
from services.webrtc_gateway.sora.forwarding import Forwarding
from services.webrtc_gateway.sora.labels import Label
from services.webrtc_gateway.sora.messages import Notify, Peer
from services.webrtc_gateway.sora.names import alias, is_stream_id, new_connection_id, rights_name
from services.webrtc_gateway.sora.sections import Terms
from services.webrtc_gateway.sora.stage import Stage
from services.webrtc_gateway.sora.wishes import Wishes

logger = logging.getLogger(__name__)

MAX_CONNECTIONS = 256  # sockets with a connection; how many may send and receive is for the parts to say
_SETTLE_SECONDS = 0.2  # the mesh's state changes often; one look serves all that changed meanwhile

OnEvent = Callable[[str, str, dict[str, Any]], None]


@dataclass
class Channel:
    """Those who are in it, in the order in which they came."""

    id: str
    session_id: str = field(default_factory=new_connection_id)
    began_s: float = field(default_factory=time.monotonic)
    members: dict[str, Connection] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.stage = Stage(self.members)


class Channels:
    """All of one gateway."""

    def __init__(self, parts: Parts, on_event: OnEvent = lambda stream, name, detail: None) -> None:
        """`on_event` is told (stream, `connection-created` or `connection-destroyed`, details)."""
        self._parts, self._on_event = parts, on_event
        self._channels: dict[str, Channel] = {}
        self._made: dict[str, str] = {}
        """Streams of connections: the channel of each. They are in the mesh for a while after their publisher."""
        self._settle: asyncio.TimerHandle | None = None
        self._draining = False

    @property
    def all(self) -> tuple[Channel, ...]:
        return tuple(self._channels.values())

    def find(self, channel: str) -> Channel | None:
        """None: nobody is in it."""
        return self._channels.get(channel)

    @property
    def connections(self) -> tuple[Connection, ...]:
        return tuple(member for channel in self._channels.values() for member in channel.members.values())

    def enter(
        self,
        connect: Connect,
        role: Role,
        terms: Terms,
        forwarding: Forwarding,
        *,
        client: str,
        address: str,
        labels: tuple[Label, ...] = (),
        wishes: Wishes | None = None,
    ) -> Connection:
        """A new connection; the caller begins it, and has it `leave` at its end.

        Raises:
            TooMany: MAX_CONNECTIONS are there, or as many publishers or viewers as may be.
            Unavailable: this process is shutting down.
        """
        if self._draining:
            raise Unavailable("this gateway is shutting down; try again in a moment")
        if len(self.connections) >= MAX_CONNECTIONS:
            raise TooMany(f"{MAX_CONNECTIONS} connections are there; end one")
        # Later it would be let in, and have neither pictures nor a reason.
        if (role != "recvonly" and self._parts.ingest.is_full) or (role != "sendonly" and self._parts.viewers.is_full):
            raise TooMany("there is no room for its streams; raise max_publishers or max_sessions")
        channel = self._channels.setdefault(connect.channel_id, Channel(connect.channel_id))
        connection = Connection(
            connect=connect,
            role=role,
            terms=terms,
            forwarding=forwarding,
            parts=self._parts,
            channel=channel.id,
            session_id=channel.session_id,
            sources=self._sources,
            on_connected=self._connected,
            labels=labels,
            wishes=wishes or Wishes(),
            client=client,
            address=address,
        )
        if role != "recvonly" and connection.kinds:
            connection.stream = self._stream_for(channel.id, connection.id)
            self._made[connection.stream] = channel.id
            logger.info("connection %s publishes %s", connection.id[:8], connection.stream)
        channel.members[connection.id] = connection
        return connection

    async def leave(self, connection: Connection) -> None:
        """Let go of a connection, and tell the others."""
        channel = self._channels[connection.channel]
        del channel.members[connection.id]
        if not channel.members:
            del self._channels[connection.channel]
        await connection.close()
        if connection.live:
            destroyed = self._notify("connection.destroyed", channel, connection)
            for member in channel.members.values():
                member.say(destroyed)
            self._tell_mesh("connection-destroyed", connection)
            channel.stage.left((connection.id,))
            self._refresh(channel)

    def look_again(self) -> None:
        """The state of the mesh has changed; soon, for all that changes meanwhile."""
        if self._settle is None and not self._draining:
            self._settle = asyncio.get_running_loop().call_later(_SETTLE_SECONDS, self._look)

    def speaks(self, stream: str, speaking: bool) -> None:
        """Somebody begins or ends to speak in a stream: of a connection, or the mesh's of a channel's name."""
        for channel in self._channels.values():
            for member in channel.members.values():
                if member.stream == stream:
                    channel.stage.heard(member.id, speaking)
                    return
        if (named := self._channels.get(stream)) is not None:
            named.stage.heard(stream, speaking)

    def stop(self) -> None:
        """Tell every client that this gateway ends."""
        self._draining = True
        if self._settle is not None:
            self._settle.cancel()
        for connection in self.connections:
            connection.stop(NORMAL, "SHUTDOWN")

    def _stream_for(self, channel: str, connection_id: str) -> str:
        """The channel's own name where that is one and nobody has it; else one of the connection's own."""
        published = {connection.stream for connection in self.connections}
        if is_stream_id(channel) and channel not in published and self._parts.streams.is_free(channel):
            return channel
        return alias(channel, connection_id)

    def _sources(self, connection: Connection) -> tuple[Source, ...]:
        """What a connection gets: what others of its channel publish, and the mesh's stream of that name."""
        channel = self._channels.get(connection.channel)
        members = channel.members.values() if channel else ()
        passing = connection.forwarding.kinds
        found = [
            Source(member.id, member.stream, True, passing(member.id, member.client_id, member.kinds))
            for member in members
            if member is not connection and member.live and member.stream and member.bundle_id != connection.bundle_id
        ]
        if is_stream_id(connection.channel) and connection.channel not in self._made:
            # Nobody's connection: it goes by its name.
            name = connection.channel
            found.append(Source(name, name, False, passing(name, name, self._parts.streams.kinds(name))))
        return tuple(source for source in found if source.kinds)

    def _connected(self, connection: Connection) -> None:
        channel = self._channels.get(connection.channel)
        if channel is None or connection.id not in channel.members:
            return
        others = tuple(_peer(member) for member in channel.members.values() if member.live)
        connection.live, connection.connected_ns = True, time.time_ns()
        created = self._notify("connection.created", channel, connection)
        for member in channel.members.values():
            if member.live:
                member.say(replace(created, data=others) if member is connection else created)
        self._tell_mesh("connection-created", connection)
        channel.stage.light()
        self._refresh(channel)

    def _refresh(self, channel: Channel) -> None:
        for member in channel.members.values():
            member.refresh()

    def _look(self) -> None:
        self._settle = None
        published = {connection.stream for connection in self.connections}
        for stream in [stream for stream in self._made if stream not in published]:
            if not self._parts.streams.exists(stream):
                del self._made[stream]
        for channel in self._channels.values():
            if is_stream_id(channel.id) and not self._parts.streams.exists(channel.id):
                channel.stage.left((channel.id,))
            self._refresh(channel)

    def _tell_mesh(self, event: str, about: Connection) -> None:
        """As an event of the stream that tokens for the channel are for: the channel may have any name."""
        detail: dict[str, Any] = {
            "channel": about.channel,
            "session_id": about.session_id,
            "connection_id": about.id,
            "client_id": about.client_id,
            "bundle_id": about.bundle_id,
            "role": about.role,
            "stream": about.stream,
        }
        if about.stopped.done():
            detail |= {"seconds": round((time.time_ns() - about.connected_ns) / 1e9, 1), "because": about.because}
            detail |= about.stopped.result()._asdict()
        self._on_event(rights_name(about.channel), event, detail)

    def _notify(
        self,
        event: Literal["connection.created", "connection.destroyed"],
        channel: Channel,
        about: Connection,
    ) -> Notify:
        roles = [member.role for member in channel.members.values() if member.live]
        return Notify(
            event_type=event,
            role=about.role,
            session_id=channel.session_id,
            client_id=about.client_id,
            bundle_id=about.bundle_id,
            connection_id=about.id,
            audio="audio" in about.kinds,
            video="video" in about.kinds,
            minutes=int((time.monotonic() - channel.began_s) // 60),
            timestamp=datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            channel_connections=len(roles),
            channel_sendrecv_connections=roles.count("sendrecv"),
            channel_sendonly_connections=roles.count("sendonly"),
            channel_recvonly_connections=roles.count("recvonly"),
            metadata=about.connect.signaling_notify_metadata,
        )


def _peer(connection: Connection) -> Peer:
    return Peer(
        connection_id=connection.id,
        client_id=connection.client_id,
        bundle_id=connection.bundle_id,
        role=connection.role,
        audio="audio" in connection.kinds,
        video="video" in connection.kinds,
        metadata=connection.connect.signaling_notify_metadata,
    )
