"""The streams that one client gets: each with its m-lines, and its viewer once the client has agreed."""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any

from aiortc.sdp import SessionDescription

from schemas.errors import MeshError, NotFound, Unavailable
from schemas.subjects import DEFAULT_RENDITION, SOURCE_RENDITION
from services.webrtc_gateway.egress.gateway import WhepGateway
from services.webrtc_gateway.egress.viewer import Viewer
from services.webrtc_gateway.ingest.gateway import IngestGateway
from services.webrtc_gateway.sora.answer import side_of
from services.webrtc_gateway.sora.layout import Layout
from services.webrtc_gateway.sora.messaging import Messaging
from services.webrtc_gateway.sora.sections import Kind, Section
from services.webrtc_gateway.sora.steering import Steering
from services.webrtc_gateway.sora.streams import ChannelStreams
from services.webrtc_gateway.sora.wishes import Wishes, nearest
from services.webrtc_gateway.transport.dtls import DtlsIdentity
from services.webrtc_gateway.transport.ice import SharedIceTransport
from services.webrtc_gateway.transport.ice_servers import IceServers
from services.webrtc_gateway.transport.link import SharedLink

logger = logging.getLogger(__name__)

_ATTEMPTS, _AGAIN_SECONDS = 5, 2.0  # to watch a stream
_ENDED_ON_PURPOSE = frozenset(("kicked", "deleted", "draining", "consent_expired"))
# It has another codec now, or may come back under the same name.
_OFFERED_ANEW = frozenset(("codec_changed", "removed"))


@dataclass(frozen=True)
class Source:
    """Something to watch in a channel."""

    key: str
    """The msid: the connection_id of who publishes it, or the name of a stream of the mesh."""
    stream: str
    published: bool
    """By a connection of the channel: its own packets are what others get."""
    kinds: tuple[Kind, ...]


@dataclass(frozen=True)
class Parts:
    """What connections are made of."""

    transport: SharedIceTransport
    identity: DtlsIdentity
    ingest: IngestGateway
    viewers: WhepGateway
    streams: ChannelStreams
    ice_servers: IceServers
    messaging: Messaging = field(default_factory=Messaging)


@dataclass
class Downlink:
    """One stream that the client gets."""

    source: Source
    sections: tuple[Section, ...]
    asked: bool = False
    base: str = DEFAULT_RENDITION
    """The rendition with the best pictures."""
    steering: Steering | None = None
    dropped: bool = False


class Downlinks:
    """All of one connection."""

    def __init__(
        self,
        layout: Layout,
        link: SharedLink,
        parts: Parts,
        on_ended: Callable[[bool], None],
        wishes: Wishes,
        on_switched: Callable[[Source, str, str], None],
        *,
        client: str,
        address: str,
    ) -> None:
        """`on_ended` is told when one ends by itself: on purpose, so that the connection ends, or so that m-lines are
        free and a new offer is due. `on_switched` is told when one goes on with another rendition: from which, to
        which."""
        self._layout, self._link, self._parts, self._on_ended = layout, link, parts, on_ended
        self._wishes, self._on_switched = wishes, on_switched
        self._client, self._address = client, address
        self._by_key: dict[str, Downlink] = {}

    @property
    def streams(self) -> tuple[str, ...]:
        return tuple(downlink.source.stream for downlink in self._by_key.values())

    @property
    def steered(self) -> tuple[tuple[Source, Steering], ...]:
        """Those that are watched now."""
        return tuple((each.source, each.steering) for each in self._by_key.values() if each.steering is not None)

    def steer(self) -> None:
        """The client's wishes, or the layers that there are, may have changed."""
        for downlink in self._by_key.values():
            if downlink.steering is not None:
                downlink.steering.want(self._wanted(downlink))

    def place(self, sources: Sequence[Source], kinds: Sequence[Kind]) -> bool:
        """Give every stream there is its m-lines, and take those of others back; whether anything changed."""
        wanted = {source.key: source for source in sources}
        # That a source's sound goes and comes back is no reason for other m-lines.
        gone = [downlink for key, downlink in self._by_key.items() if key not in wanted]
        for downlink in gone:
            del self._by_key[downlink.source.key]
            _drop(downlink)
            self._layout.free(downlink.sections)
        changed = bool(gone)
        for key, source in wanted.items():
            if key not in self._by_key:
                sections = self._layout.take([kind for kind in source.kinds if kind in kinds], key)
                if sections:
                    self._by_key[key] = Downlink(source, sections)
                    changed = True
        return changed

    def answered(self, description: SessionDescription) -> list[Coroutine[Any, Any, None]]:
        """What is to be done now that the client has agreed; each opens one stream, and may take seconds."""
        work = []
        for downlink in self._by_key.values():
            side = side_of(description, [section.mid for section in downlink.sections])
            if not downlink.asked and side is not None:
                downlink.asked = True
                work.append(self._send(downlink, side))
        return work

    def close(self) -> None:
        for downlink in self._by_key.values():
            _drop(downlink)

    async def _send(self, downlink: Downlink, side: SessionDescription) -> None:
        for left in reversed(range(_ATTEMPTS)):
            try:
                viewer = await self._attach(downlink, side)
            except MeshError as error:
                logger.info("%s cannot be watched in its channel: %s", downlink.source.stream, error)
                if downlink.dropped or not left or not isinstance(error, NotFound | Unavailable):
                    return
                await asyncio.sleep(_AGAIN_SECONDS)  # a stream that is just made, an encoder that starts anew
            else:
                self._watched(downlink, viewer)
                return

    def _watched(self, downlink: Downlink, viewer: Viewer) -> None:
        """In the moment in which the viewer is made: of what is not wanted nothing may go out."""
        if downlink.dropped:
            viewer.close("left")
            return
        source = downlink.source
        downlink.steering = Steering(
            self._parts.viewers, viewer, lambda before, after: self._on_switched(source, before, after)
        )
        downlink.steering.want(self._wanted(downlink))

    def _wanted(self, downlink: Downlink) -> str | None:
        """The rendition that the client shall have; None: no pictures."""
        stream, rid = downlink.source.stream, self._wishes.of(downlink.source.key)
        if rid == "none":
            return None
        return (nearest(rid, self._parts.streams.layers(stream)) if rid else None) or downlink.base

    async def _attach(self, downlink: Downlink, side: SessionDescription) -> Viewer:
        source = downlink.source
        # A publisher's own packets where the client takes their codec; else what `main` makes of them.
        own = source.published and await self._parts.streams.wait_live(source.stream)
        downlink.base = SOURCE_RENDITION if own else DEFAULT_RENDITION
        return await self._parts.viewers.attach(
            source.stream,
            self._wanted(downlink) or downlink.base,
            side,
            self._link,
            {section.kind: section.ssrc for section in downlink.sections},
            lambda reason: self._ended(downlink, reason),
            client=self._client,
            address=self._address,
        )

    def _ended(self, downlink: Downlink, reason: str) -> None:
        if downlink.dropped:
            return
        if downlink.steering is not None:
            downlink.steering.close()
        downlink.steering, downlink.dropped = None, True
        if reason in _ENDED_ON_PURPOSE:
            self._on_ended(True)
        elif reason in _OFFERED_ANEW and self._by_key.get(downlink.source.key) is downlink:
            del self._by_key[downlink.source.key]
            self._layout.free(downlink.sections)
            self._on_ended(False)


def _drop(downlink: Downlink) -> None:
    downlink.dropped = True
    if downlink.steering is not None:
        downlink.steering.close()
        downlink.steering.viewer.close("left")
