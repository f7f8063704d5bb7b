"""Publishers of this process: one per stream, made from an offer, found by id, ended by either side."""

import asyncio
import logging
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from weakref import WeakValueDictionary

from schemas.errors import Conflict, NotFound, TooMany, Unavailable
from schemas.ids import check_id
from schemas.ingest import GaveWay, GiveWay
from schemas.subjects import command
from services.webrtc_gateway.datachannels.gate import NO_RIGHTS, Rights
from services.webrtc_gateway.datachannels.plane import DataPlane
from services.webrtc_gateway.egress.timings import Timings
from services.webrtc_gateway.ingest.answer import write_ingest_answer
from services.webrtc_gateway.ingest.claims import Claims
from services.webrtc_gateway.ingest.counters import IngestCounters
from services.webrtc_gateway.ingest.lingering import Lingering
from services.webrtc_gateway.ingest.offer import match_ingest
from services.webrtc_gateway.ingest.publisher import Publisher
from services.webrtc_gateway.ingest.streams import IngestStreams
from services.webrtc_gateway.ingest.terms import SessionTerms
from services.webrtc_gateway.signalling.offer import read_offer
from services.webrtc_gateway.transport.dtls import DtlsIdentity
from services.webrtc_gateway.transport.ice import SharedIceTransport
from services.webrtc_gateway.transport.link import SharedLink
from shared.bus import Endpoint
from shared.gateways import SERVICE

logger = logging.getLogger(__name__)

DEFAULT_MAX_PUBLISHERS = 16  # about what one core takes in at 2.5 Mbit/s each
DEFAULT_MAX_BPS = 8_000_000  # 1080p60 of a browser's encoder; more would starve a shared uplink
LINGER_SECONDS = 5.0  # a page that is reloaded finds its stream, and so do its viewers
_SESSION_BYTES = 16  # 128 random bits: whoever knows the id may end the session
_TICK_SECONDS = 1.0
# A publisher that was heard within this time is at work: sound and pictures come many times a second.
_SIGN_OF_LIFE_SECONDS = 1.5
_LOOK_SECONDS = 0.05  # for that sign
# Nor does another gateway get the stream of one that has just been answered: its checks and handshake come now.
_CONNECT_SECONDS = 5.0


@dataclass(frozen=True)
class IngestAnswer:
    """What a new publisher is told."""

    session: str
    sdp: str


class IngestGateway:
    """Takes publishers in; how their offers come is not its business."""

    def __init__(
        self,
        streams: IngestStreams,
        claims: Claims,
        transport: SharedIceTransport,
        *,
        max_publishers: int = DEFAULT_MAX_PUBLISHERS,
        max_bps: int = DEFAULT_MAX_BPS,
        linger_seconds: float = LINGER_SECONDS,
        data_plane: DataPlane | None = None,
        on_event: Callable[[str, str, dict[str, Any]], None] = lambda stream, name, detail: None,
    ) -> None:
        """`data_plane` takes the data channels of publishers; None: one of their own, without bridges.

        `on_event` is told (stream, `publishing` or `publishing-ended`, details)."""
        self.counters = IngestCounters()
        self.on_speaking: Callable[[str, bool], None] = lambda stream, speaking: None
        """Called when somebody begins or ends to speak in what is published."""
        self._streams, self._claims, self._transport = streams, claims, transport
        self._max_publishers, self._max_bps = max_publishers, max_bps
        self._data_plane = data_plane or DataPlane(Timings())
        self._on_event = on_event
        self._identity = DtlsIdentity()
        self._publishers: dict[str, Publisher] = {}
        """By stream."""
        self._admitting: set[str] = set()
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._lingering = Lingering(
            streams, claims, self._lock_of, lambda stream: stream in self._publishers, linger_seconds
        )
        self._opening = 0
        self._draining = False
        loop = asyncio.get_running_loop()
        self._ticker = loop.call_later(_TICK_SECONDS, self._tick)
        self._stop_following = streams.on_changed(self._streams_changed)
        claims.on_lost = self._claim_lost

    async def create(self, stream: str, offer_text: str, rights: Rights = NO_RIGHTS) -> IngestAnswer:
        """Answer an offer to send; the stream is there when this returns, and live with the first key picture.

        `rights` are for what goes over data channels.

        Raises:
            BadRequest: the offer or the name is malformed.
            NotAcceptable: no codec in common.
            Conflict: somebody publishes the stream, here or at another gateway; or it has another source.
            TooMany: `max_publishers` are there.
            Unavailable: capture does not answer, or this process is shutting down.
        """
        check_id(stream, "stream")
        offer = match_ingest(read_offer(offer_text), offer_text)
        publisher = await self._admit(stream, offer.terms, rights, None, self._max_bps, self._closed)
        sdp = write_ingest_answer(
            offer,
            ufrag=publisher.ice.ufrag,
            password=publisher.ice.password,
            fingerprint=self._identity.fingerprint,
            candidates=self._transport.candidates,
            max_bps=self._max_bps,
        )
        return IngestAnswer(publisher.session, sdp)

    async def attach(
        self, stream: str, terms: SessionTerms, link: SharedLink, max_bps: int, on_closed: Callable[[str], None]
    ) -> Publisher:
        """Receive a stream from a peer that has agreed already, on a link of its own; `on_closed` is told why it ends.

        Raises as `create`.
        """
        check_id(stream, "stream")

        def closed(publisher: Publisher, reason: str) -> None:
            self._closed(publisher, reason)
            on_closed(reason)

        return await self._admit(stream, terms, NO_RIGHTS, link, min(max_bps, self._max_bps), closed)

    async def _admit(
        self,
        stream: str,
        terms: SessionTerms,
        rights: Rights,
        link: SharedLink | None,
        max_bps: int,
        closed: Callable[[Publisher, str], None],
    ) -> Publisher:
        if self._draining:
            raise Unavailable("this gateway is shutting down; try again in a moment")
        async with self._lock_of(stream):
            await self._make_room(stream)
            if self.is_full:
                raise TooMany(f"{self._max_publishers} publishers are there; end one or raise max_publishers")
            self._opening += 1
            self._admitting.add(stream)
            try:
                await self._claims.take(stream)
                await self._streams.prepare(stream)
                return await self._open(stream, terms, rights, link, max_bps, closed)
            finally:
                self._opening -= 1
                self._admitting.discard(stream)
                if stream not in self._publishers:
                    await self._claims.give_back(stream)
                    if not self._draining:
                        self._lingering.begin(stream)  # it may have been made for a publisher that is none

    def delete(self, stream: str, session: str) -> None:
        """End a session.

        Raises:
            NotFound: there is none of that id.
        """
        self.find(stream, session).close("deleted")

    def exists(self, stream: str, session: str) -> bool:
        publisher = self._publishers.get(stream)
        return publisher is not None and publisher.session == session

    def find(self, stream: str, session: str) -> Publisher:
        """Raises:
        NotFound: there is none of that id.
        """
        publisher = self._publishers.get(stream)
        if publisher is None or not secrets.compare_digest(publisher.session.encode(), session.encode()):
            raise NotFound("no such session; it may have ended already")
        return publisher

    @property
    def is_full(self) -> bool:
        return len(self._publishers) + self._opening >= self._max_publishers

    @property
    def publishers(self) -> tuple[Publisher, ...]:
        """Safe to read from any thread, as the metrics do."""
        return tuple(self._publishers.values())

    async def close(self) -> None:
        """Tell every publisher, and take the streams away that were made for them. The transport stays open."""
        self._draining = True
        self._ticker.cancel()
        self._stop_following()
        streams = {*self._lingering.streams, *self._publishers}
        for publisher in self.publishers:
            publisher.close("draining")
        await self._lingering.close()
        # A gateway that is started again lets their viewers find them; the next one sees to what nobody publishes.
        logger.debug("left for the next gateway: %s", ", ".join(sorted(streams)) or "nothing")
        await self._claims.close()
        await self._streams.close()

    # --- one publisher per stream

    def _lock_of(self, stream: str) -> asyncio.Lock:
        return self._locks.setdefault(stream, asyncio.Lock())

    async def _make_room(self, stream: str) -> None:
        """Raises: Conflict: the stream has a publisher that is at work."""
        first = self._publishers.get(stream)
        if first is None:
            return
        asked_s = time.monotonic()
        # Whoever was heard before may have vanished since: a reloaded page says no goodbye.
        while first.state != "closed" and time.monotonic() - first.heard_s < _SIGN_OF_LIFE_SECONDS:
            if first.heard_s > asked_s:
                raise Conflict(f"{stream} is published by somebody else; end that first, or take another name")
            await asyncio.sleep(_LOOK_SECONDS)  # that nothing comes is no event
        first.close("replaced")

    async def _open(
        self,
        stream: str,
        terms: SessionTerms,
        rights: Rights,
        link: SharedLink | None,
        max_bps: int,
        closed: Callable[[Publisher, str], None],
    ) -> Publisher:
        publisher = Publisher(
            session=secrets.token_urlsafe(_SESSION_BYTES),
            stream=stream,
            run=time.time_ns(),
            terms=self._streams.with_free_names(stream, terms),
            transport=self._transport,
            identity=self._identity,
            counters=self.counters,
            max_bps=max_bps,
            data_plane=self._data_plane,
            rights=rights,
            deliver=self._streams.send,
            on_connected=self._connected,
            on_closed=closed,
            link=link,
        )
        if publisher.voice is not None:
            publisher.voice.changed = lambda speaking: self.on_speaking(stream, speaking)
        try:
            await self._streams.listen(stream, publisher.request_key_frame)
            if self._draining:
                raise Unavailable("this gateway is shutting down; try again in a moment")
            if not self._claims.holds(stream):
                raise Conflict(f"{stream} is published at another gateway by now; end that first")
        except BaseException:  # cancelled, too: it has timers and data channels
            publisher.close("failed")
            raise
        self._lingering.end(stream)
        self._publishers[stream] = publisher
        self.counters.publishers_opened += 1
        if link is None:
            self._transport.add(publisher.ice)
        return publisher

    def _connected(self, publisher: Publisher) -> None:
        self._streams.tell(publisher)
        self._on_event(publisher.stream, "publishing", {"tracks": publisher.track_names})

    def _closed(self, publisher: Publisher, reason: str) -> None:
        stream = publisher.stream
        if self._publishers.get(stream) is publisher:
            del self._publishers[stream]
        self._streams.tell(publisher, ended=reason)
        if publisher.connected_ns:
            self._on_event(stream, "publishing-ended", {"reason": reason})
        if not self._draining:
            self._lingering.begin(stream)
            self._lingering.start(self._give_back(stream))

    # --- one gateway per stream

    def endpoints(self, node: str) -> list[Endpoint]:
        return [Endpoint(command(SERVICE, "give-way", node), GiveWay, GaveWay, self.give_way)]

    async def give_way(self, request: GiveWay) -> GaveWay:
        """Another gateway asks for a stream.

        Raises:
            Conflict: its publisher is at work, or just beginning.
        """
        stream = request.stream
        publisher = self._publishers.get(stream)
        young = publisher is not None and publisher.state == "connecting" and publisher.age_s < _CONNECT_SECONDS
        if young or stream in self._admitting:
            raise Conflict(f"{stream} is just being published")
        async with self._lock_of(stream):
            await self._make_room(stream)
            await self._claims.give_back(stream)
        return GaveWay(stream=stream)

    async def _give_back(self, stream: str) -> None:
        async with self._lock_of(stream):
            if stream not in self._publishers:
                await self._claims.give_back(stream)

    def _claim_lost(self, stream: str) -> None:
        publisher = self._publishers.get(stream)
        if publisher is not None:
            publisher.close("replaced")

    def _streams_changed(self) -> None:
        """A stream that is removed, or gets another source, has no use for its publisher."""
        for publisher in self.publishers:
            if self._streams.is_gone(publisher.stream):
                publisher.close("removed")

    def _tick(self) -> None:
        self._ticker = asyncio.get_running_loop().call_later(_TICK_SECONDS, self._tick)
        now_s = time.monotonic()
        for publisher in self.publishers:
            publisher.tick(now_s)
            if publisher.state == "connected":
                self._streams.tell(publisher)
        for stream in self._streams.deserted():
            if stream not in self._publishers and stream not in self._lingering.streams:
                self._lingering.begin(stream)
