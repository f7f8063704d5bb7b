"""One client of a channel: what it is offered, what it answers, and the streams that come of it."""

import asyncio
import logging
import secrets
from collections import deque
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from aiortc.sdp import SessionDescription

from schemas.errors import BadRequest, MeshError, NotFound, Unavailable
from schemas.subjects import SOURCE_RENDITION
from services.webrtc_gateway.dtls import DtlsIdentity
from services.webrtc_gateway.gateway import WhepGateway
from services.webrtc_gateway.ice import SharedIceTransport
from services.webrtc_gateway.ingest.gateway import IngestGateway
from services.webrtc_gateway.ingest.offer import match_ingest
from services.webrtc_gateway.ingest.publisher import Publisher
from services.webrtc_gateway.ingest.terms import SessionTerms
from services.webrtc_gateway.link import SharedLink
from services.webrtc_gateway.offer import read_offer
from services.webrtc_gateway.sora.answer import fingerprints_of, keep_what_is_sent, side_of
from services.webrtc_gateway.sora.layout import Layout
from services.webrtc_gateway.sora.messages import Connect, Offer, Ping, ReOffer, Role, ToClient, write
from services.webrtc_gateway.sora.names import new_connection_id
from services.webrtc_gateway.sora.sections import Kind, Section, Terms, Transport, write_offer
from services.webrtc_gateway.sora.streams import ChannelStreams
from services.webrtc_gateway.viewer import Viewer
from shared.tasks import end_tasks

logger = logging.getLogger(__name__)

REFUSED = 4490
NORMAL = 1000
ANSWER_SECONDS = 10.0  # clients make an answer in some ten milliseconds, and wait for ever themselves
CONNECT_SECONDS = 15.0  # ICE and DTLS together, from the offer on
_ATTEMPTS, _AGAIN_SECONDS = 5, 2.0  # to watch a stream
_MAX_UNSENT = 256  # messages; a client that reads none of so many is hopeless
_ENDED_ON_PURPOSE = frozenset(("kicked", "deleted", "draining", "consent_expired", "path_lost"))
# It has another codec now, or may come back under the same name.
_OFFERED_ANEW = frozenset(("codec_changed", "removed"))
VERSION = "framemesh"


class Stop(NamedTuple):
    """Why a connection ends, as its WebSocket is closed."""

    code: int
    reason: str


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


@dataclass
class Downlink:
    """One stream that the client gets."""

    source: Source
    sections: tuple[Section, ...]
    asked: bool = False
    viewer: Viewer | None = None
    dropped: bool = False


@dataclass
class Connection:
    """Owned by its channel; `stopped` is set once, by whoever ends it."""

    connect: Connect
    role: Role
    terms: Terms
    parts: Parts
    channel: str
    session_id: str
    sources: Callable[["Connection"], tuple[Source, ...]]
    on_connected: Callable[["Connection"], None]
    client: str = ""
    address: str = ""
    id: str = field(default_factory=new_connection_id)
    stream: str = ""
    """What it publishes."""
    live: bool = False
    """DTLS is through, and the channel knows of it."""

    def __post_init__(self) -> None:
        self.client_id = self.connect.client_id or self.id
        self.bundle_id = self.connect.bundle_id or self.id
        self.stopped: asyncio.Future[Stop] = asyncio.get_running_loop().create_future()
        self.unsent: deque[str] = deque()
        self.has_unsent = asyncio.Event()
        self.link = SharedLink(self.parts.transport, self.parts.identity, self._connected, self._link_ended, "sora")
        self._layout = Layout()
        self._downlinks: dict[str, Downlink] = {}
        self._publisher: Publisher | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._origin, self._version = secrets.randbits(62), 0
        self._answered = False
        self._awaiting = False
        self._stale = False
        self._timer: asyncio.TimerHandle | None = None
        self._late: asyncio.TimerHandle | None = None

    @property
    def kinds(self) -> tuple[Kind, ...]:
        """What the client wants of either direction."""
        wanted: list[Kind] = []
        if self.connect.audio is not False:
            wanted.append("audio")
        if self.connect.video is not False:
            wanted.append("video")
        return tuple(wanted)

    # --- what is said

    def begin(self) -> None:
        """Send the offer."""
        if self.role != "recvonly":
            self._layout.add_uplink(self.kinds)
        self._place()
        self._layout.fill(self.kinds or ("audio", "video"))
        offer = Offer(
            sdp=self._sdp(),
            channel_id=self.channel,
            session_id=self.session_id,
            client_id=self.client_id,
            bundle_id=self.bundle_id,
            connection_id=self.id,
            mid=self._layout.uplink_mids,
            version=VERSION,
        )
        self._late = asyncio.get_running_loop().call_later(CONNECT_SECONDS, self._never_connected)
        self._ask(offer)

    def refresh(self) -> None:
        """What there is to watch may have changed: offer again, one offer at a time."""
        self._stale = True
        if self._answered and not self._awaiting and not self.stopped.done():
            self._stale = False
            if self._place():
                self._ask(ReOffer(self._sdp()))

    def ping(self) -> None:
        self.say(Ping())

    def say(self, message: ToClient) -> None:
        """Queue a message; a client that takes none is cut off."""
        if self.stopped.done():
            return
        if len(self.unsent) >= _MAX_UNSENT:
            self.stop(REFUSED, "TOO-SLOW")
            return
        self.unsent.append(write(message))
        self.has_unsent.set()

    def stop(self, code: int, reason: str) -> None:
        """Have the WebSocket closed, and everything with it."""
        if not self.stopped.done():
            logger.info("connection %s of a channel ends: %d %s", self.id[:8], code, reason)
            self.stopped.set_result(Stop(code, reason))

    async def close(self) -> None:
        """Let go of all that the connection has; its WebSocket is closed before."""
        self.stop(NORMAL, "")
        for timer in (self._timer, self._late):
            if timer is not None:
                timer.cancel()
        if self._tasks:
            await end_tasks(*self._tasks)
        for downlink in self._downlinks.values():
            self._drop(downlink)
        if self._publisher is not None:
            self._publisher.close("left")
        self.link.close()

    # --- what is answered

    def answered(self, text: str, *, again: bool) -> None:
        """Take the answer to the first offer, or to a later one."""
        if not self._awaiting or again != self._answered:
            return  # of nothing that was asked
        self._awaiting = False
        if self._timer is not None:
            self._timer.cancel()
        try:
            description = read_offer(text)
            if not self._answered:
                self.link.open(fingerprints_of(description))
                self._answered = True
                self._take_uplink(description, text)
        except BadRequest as error:
            logger.info("the answer of connection %s: %s", self.id[:8], error)
            self.stop(REFUSED, "INVALID-ANSWER")
            return
        for downlink in self._downlinks.values():
            side = side_of(description, [section.mid for section in downlink.sections])
            if not downlink.asked and side is not None:
                downlink.asked = True
                self._start(self._send(downlink, side))
        if self._stale:
            self.refresh()

    def _take_uplink(self, description: SessionDescription, text: str) -> None:
        if not self.stream:
            return
        side = side_of(description, self._layout.uplink_mids.values())
        if side is None:
            raise BadRequest("it sends nothing")
        keep_what_is_sent(side)
        terms = match_ingest(side, text).terms
        self._start(self._receive(terms))

    async def _receive(self, terms: SessionTerms) -> None:
        try:
            publisher = await self.parts.ingest.attach(
                self.stream, terms, self.link, self.terms.max_bps, self._uplink_ended
            )
        except MeshError as error:
            logger.info("connection %s cannot publish %s: %s", self.id[:8], self.stream, error)
            self.stop(REFUSED, f"NOT-PUBLISHED-{error.code}")
            return
        self._publisher = publisher

    async def _send(self, downlink: Downlink, side: SessionDescription) -> None:
        source = downlink.source
        ssrcs: dict[str, int] = {section.kind: section.ssrc for section in downlink.sections}
        for left in reversed(range(_ATTEMPTS)):
            try:
                # A publisher's own packets where the client takes their codec; else what `main` makes of them.
                own = source.published and await self.parts.streams.wait_live(source.stream)
                downlink.viewer = await self.parts.viewers.attach(
                    source.stream,
                    SOURCE_RENDITION if own else None,
                    side,
                    self.link,
                    ssrcs,
                    lambda reason: self._downlink_ended(downlink, reason),
                    client=self.client,
                    address=self.address,
                )
            except MeshError as error:
                logger.info("connection %s cannot watch %s: %s", self.id[:8], source.stream, error)
                if downlink.dropped or not left or not isinstance(error, NotFound | Unavailable):
                    return
                await asyncio.sleep(_AGAIN_SECONDS)  # a stream that is just made, an encoder that starts anew
            else:
                break
        if downlink.dropped and downlink.viewer is not None:
            downlink.viewer.close("left")

    # --- what is offered

    def _place(self) -> bool:
        """Give every stream there is its m-lines, and take those of others back; whether anything changed."""
        wanted = {source.key: source for source in self.sources(self)} if self.role != "sendonly" else {}
        # That a source's sound goes and comes back is no reason for other m-lines.
        gone = [downlink for key, downlink in self._downlinks.items() if key not in wanted]
        for downlink in gone:
            del self._downlinks[downlink.source.key]
            self._drop(downlink)
            self._layout.free(downlink.sections)
        changed = bool(gone)
        for key, source in wanted.items():
            if key not in self._downlinks:
                kinds = tuple(kind for kind in source.kinds if kind in self.kinds)
                sections = self._layout.take(kinds, key)
                if sections:
                    self._downlinks[key] = Downlink(source, sections)
                    changed = True
        return changed

    def _drop(self, downlink: Downlink) -> None:
        downlink.dropped = True
        if downlink.viewer is not None:
            downlink.viewer.close("left")

    def _sdp(self) -> str:
        self._version += 1
        ice = self.link.ice
        transport = Transport(ice.ufrag, ice.password, self.parts.identity.fingerprint, self.parts.transport.candidates)
        return write_offer(self._layout.sections, self.terms, transport, self._origin, self._version)

    def _ask(self, offer: Offer | ReOffer) -> None:
        self._awaiting = True
        self.say(offer)
        self._timer = asyncio.get_running_loop().call_later(ANSWER_SECONDS, self._never_answered)

    # --- what happens

    def _connected(self) -> None:
        if self._late is not None:
            self._late.cancel()
        self.on_connected(self)

    def _never_answered(self) -> None:
        self.stop(REFUSED, "ANSWER-TIMEOUT")

    def _never_connected(self) -> None:
        self.stop(REFUSED, "CONNECTION-TIMEOUT")

    def _link_ended(self, reason: str) -> None:
        self.stop(REFUSED, "PEER-CONNECTION-ENDED")

    def _uplink_ended(self, reason: str) -> None:
        self.stop(NORMAL, "DISCONNECTED-API")

    def _downlink_ended(self, downlink: Downlink, reason: str) -> None:
        if downlink.dropped or self.stopped.done():
            return
        downlink.viewer, downlink.dropped = None, True
        if reason in _ENDED_ON_PURPOSE:
            self.stop(NORMAL, "DISCONNECTED-API")
            return
        if reason in _OFFERED_ANEW and self._downlinks.get(downlink.source.key) is downlink:
            del self._downlinks[downlink.source.key]
            self._layout.free(downlink.sections)
            # Not within the call that ended a part.
            asyncio.get_running_loop().call_soon(self.refresh)

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("a stream of connection %s", self.id[:8], exc_info=error)
            self.stop(REFUSED, "INTERNAL-ERROR")
