"""WHEP sessions: made from an offer, found by id, ended by either side."""

import asyncio
import contextlib
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from aiortc.sdp import SessionDescription

from schemas.errors import NotFound, TooMany, Unavailable
from schemas.ids import check_id
from schemas.sessions import SessionInfo
from schemas.subjects import DEFAULT_RENDITION
from services.webrtc_gateway.codecs.audible import AudibleSource
from services.webrtc_gateway.codecs.choice import RenditionChoice
from services.webrtc_gateway.congestion.adaptation import Adaptation, Moved
from services.webrtc_gateway.congestion.ladder import Pace
from services.webrtc_gateway.congestion.moves import Moves
from services.webrtc_gateway.congestion.smaller import Smaller
from services.webrtc_gateway.datachannels.gate import NO_RIGHTS, Rights
from services.webrtc_gateway.datachannels.plane import DataPlane
from services.webrtc_gateway.egress.counters import EgressCounters
from services.webrtc_gateway.egress.feeds import Feeds, OpenFeed
from services.webrtc_gateway.egress.session_stats import session_info
from services.webrtc_gateway.egress.source import NotViewable, PacketSource, codec_why
from services.webrtc_gateway.egress.timings import Timings
from services.webrtc_gateway.egress.viewer import Viewer
from services.webrtc_gateway.signalling.answer import write_answer
from services.webrtc_gateway.signalling.offer import Offer, match_offer, offered_codecs, read_offer
from services.webrtc_gateway.transport.dtls import DtlsIdentity
from services.webrtc_gateway.transport.ice import SharedIceTransport
from services.webrtc_gateway.transport.link import SharedLink
from services.webrtc_gateway.transport.srtp import PacketBatch

DEFAULT_MAX_SESSIONS = 64  # about what one core sends at 4 Mbit/s each
_SESSION_BYTES = 16  # 128 random bits: whoever knows the id may end the session
_TICK_SECONDS = 1.0  # sender reports and deadlines


@dataclass(frozen=True)
class Answer:
    """What the HTTP door tells a new viewer."""

    session: str
    stream: str
    rendition: str
    sdp: str
    instead_of: str = ""
    """The rendition that was asked for, when viewers cannot take it."""
    reason: str = ""
    """Why they cannot."""


class WhepGateway:
    """Every viewer of this process, on one UDP port."""

    def __init__(
        self,
        source: PacketSource,
        transport: SharedIceTransport,
        *,
        max_sessions: int = DEFAULT_MAX_SESSIONS,
        on_substitute: Callable[[str, NotViewable, str], None] = lambda stream, refused, served: None,
        show_addresses: bool = False,
        smaller: Smaller | None = None,
        on_moved: Moved = lambda stream, detail: None,
        pace: Pace | None = None,
    ) -> None:
        """`on_substitute` is told of each viewer of a stream that gets the rendition `served` for what it asked for.

        `smaller` is what viewers on thin lines get, at the `pace` given; None: what they asked for, come what may.
        """
        self.counters = EgressCounters()
        self.timings = Timings()
        self.data_plane = DataPlane(self.timings)
        self.transport = transport
        self.max_sessions = max_sessions
        self._on_substitute = on_substitute
        self._show_addresses = show_addresses
        self._feeds = Feeds(AudibleSource(source, self.counters.drops), self.counters)
        self._choice = RenditionChoice(source, self._feeds)
        self._identity = DtlsIdentity()
        self._batch = PacketBatch()  # one is enough: filling and sending never yields
        self._viewers: dict[str, tuple[Viewer, OpenFeed]] = {}
        self._moves = Moves(self._feeds, self._swap)
        self._adaptation = Adaptation(self._moves, smaller, self.counters, on_moved, pace) if smaller else None
        self._opening = 0
        self._draining = False
        self._ticker = asyncio.get_running_loop().call_later(_TICK_SECONDS, self._tick)

    async def create(
        self,
        stream: str,
        rendition: str | None,
        offer_text: str,
        *,
        client: str = "",
        address: str = "",
        rights: Rights = NO_RIGHTS,
    ) -> Answer:
        """Answer a WHEP offer; media flows once ICE and DTLS are through.

        `client` and `address` are for the list of sessions, `rights` for what goes over data channels.

        Raises:
            BadRequest: the offer or a name is malformed.
            NotFound: no such stream or rendition.
            NotAcceptable: no codec in common.
            NotViewable: the viewer can take neither the rendition nor anything in its place.
            TooMany: `max_sessions` are open.
            Unavailable: the bus does not answer, or this process is shutting down.
        """
        offers: list[Offer] = []

        def make(entry: OpenFeed, refused: NotViewable | None, asked_s: float) -> Viewer:
            feed, subscription = entry.feed, entry.subscription
            offers.append(match_offer(description, subscription.tracks, feed.codec))
            return self._make(entry, offers[0], refused, asked_s, client, address, rights, None, self._forget)

        description = read_offer(offer_text)
        viewer = await self._admit(stream, rendition, description, make)
        sdp = write_answer(
            offers[0],
            ufrag=viewer.ice.ufrag,
            password=viewer.ice.password,
            fingerprint=self._identity.fingerprint,
            candidates=self.transport.candidates,
            cname=viewer.cname,
        )
        refused = viewer.refused
        return Answer(
            session=viewer.session,
            stream=viewer.feed.stream,
            rendition=viewer.rendition,
            sdp=sdp,
            instead_of=refused.rendition if refused else "",
            reason=refused.why if refused else "",
        )

    async def attach(
        self,
        stream: str,
        rendition: str | None,
        description: SessionDescription,
        link: SharedLink,
        ssrcs: Mapping[str, int],
        on_closed: Callable[[str], None],
        *,
        client: str = "",
        address: str = "",
    ) -> Viewer:
        """Send a stream to a peer that has agreed already, on a link of its own.

        `description`: its side of the m-lines that are for this stream; `ssrcs`: what was promised, by the kind of
        m-line. `on_closed` is told why it ends. Raises as `create`.
        """

        def forget(viewer: Viewer, reason: str) -> None:
            self._forget(viewer, reason)
            on_closed(reason)

        def make(entry: OpenFeed, refused: NotViewable | None, asked_s: float) -> Viewer:
            offer = match_offer(description, entry.subscription.tracks, entry.feed.codec)
            for media in offer.media:
                if media.track is not None:
                    media.track.ssrc = ssrcs.get(media.description.kind, media.track.ssrc)
            return self._make(entry, offer, refused, asked_s, client, address, NO_RIGHTS, link, forget)

        return await self._admit(stream, rendition, description, make)

    async def _admit(
        self,
        stream: str,
        rendition: str | None,
        description: SessionDescription,
        make: Callable[[OpenFeed, NotViewable | None, float], Viewer],
    ) -> Viewer:
        check_id(stream, "stream")
        if rendition is not None:
            check_id(rendition, "rendition")
        if self._draining:
            raise Unavailable("this gateway is shutting down; try again in a moment")
        if self.is_full:
            raise TooMany(f"{self.max_sessions} sessions are open; close one or raise max_sessions")
        asked_s = time.monotonic()
        match_offer(description, ())  # a bad offer must not start an encoder
        self._opening += 1
        try:
            entry, refused = await self._choice.open(stream, rendition, offered_codecs(description))
        finally:
            self._opening -= 1
        if refused is not None:
            self.counters.substituted += 1
            self._on_substitute(stream, refused, entry.subscription.rendition)
        try:
            viewer = make(entry, refused, asked_s)
        except BaseException:
            self._feeds.release(entry)
            raise
        if self._adaptation is not None and rendition in (None, DEFAULT_RENDITION) and refused is None:
            self._adaptation.add(viewer)
        return viewer

    async def move(self, viewer: Viewer, rendition: str | None) -> None:
        """Have a viewer go on with another rendition of its stream, at a key frame; None: with what it came for.

        Who is given one by name keeps it, however thin its line.

        Raises:
            NotFound: there is no such rendition, or the viewer has left.
            Conflict: the viewer cannot take it.
            Unavailable: no key frame of it comes in time, or it ends.
        """
        asked = rendition or viewer.asked
        known = self._choice.codec(viewer.feed.stream, asked)
        if known is not None and viewer.feed.codec is not None and known != viewer.feed.codec:
            raise NotViewable(viewer.feed.stream, asked, codec_why(known))
        with self._adaptation.left_alone(viewer) if self._adaptation else contextlib.nullcontext():
            viewer.send_keys_only(False)
            await self._moves.cross(viewer, asked)
        if self._adaptation is not None and asked == DEFAULT_RENDITION and viewer.refused is None:
            self._adaptation.add(viewer)

    def delete(self, session: str) -> None:
        """End a session.

        Raises:
            NotFound: there is none of that id.
        """
        found = self._viewers.get(session)
        if found is None:
            raise NotFound("no such session; it may have ended already")
        found[0].close("deleted")

    def exists(self, session: str) -> bool:
        return session in self._viewers

    @property
    def is_full(self) -> bool:
        return len(self._viewers) + self._opening >= self.max_sessions

    @property
    def session_count(self) -> int:
        """Safe to read from any thread, as the metrics do."""
        return len(self._viewers)

    @property
    def open_feeds(self) -> tuple[OpenFeed, ...]:
        """Of the renditions that are viewed, or were a moment ago; safe from any thread."""
        return self._feeds.open

    @property
    def thin_count(self) -> int:
        """Viewers that have less than they asked for, as their lines are thin; safe from any thread."""
        return self._adaptation.thin_count if self._adaptation else 0

    @property
    def viewers(self) -> tuple[Viewer, ...]:
        return tuple(viewer for viewer, _ in self._viewers.values())

    def sessions(self, stream: str | None = None) -> tuple[SessionInfo, ...]:
        infos = (session_info(viewer, time.monotonic()) for viewer in self.viewers)
        return tuple(info for info in infos if stream is None or info.stream == stream)

    async def close(self) -> None:
        """Drain: tell every viewer, then let go of the renditions. The transport stays the caller's to close."""
        self._draining = True
        self._ticker.cancel()
        for viewer, _ in list(self._viewers.values()):
            viewer.close("draining")
        await self._feeds.close()

    def _make(
        self,
        entry: OpenFeed,
        offer: Offer,
        refused: NotViewable | None,
        asked_s: float,
        client: str,
        address: str,
        rights: Rights,
        link: SharedLink | None,
        forget: Callable[[Viewer, str], None],
    ) -> Viewer:
        feed, subscription = entry.feed, entry.subscription
        if self._draining:
            raise Unavailable("this gateway is shutting down; try again in a moment")
        viewer = Viewer(
            session=secrets.token_hex(_SESSION_BYTES),
            rendition=subscription.rendition,
            refused=refused,
            feed=feed,
            offer=offer,
            transport=self.transport,
            batch=self._batch,
            identity=self._identity,
            counters=self.counters,
            data_plane=self.data_plane,
            rights=rights,
            timings=self.timings,
            asked_s=asked_s,
            on_closed=forget,
            client=client,
            address=address if self._show_addresses else "",
            link=link,
        )
        self._viewers[viewer.session] = (viewer, entry)
        self.counters.sessions_opened += 1
        if link is None:
            self.transport.add(viewer.ice)
        feed.add(viewer)
        return viewer

    def _forget(self, viewer: Viewer, reason: str) -> None:
        _, entry = self._viewers.pop(viewer.session)
        self._feeds.release(entry)
        if self._adaptation is not None:
            self._adaptation.forget(viewer)

    def _swap(self, viewer: Viewer, entry: OpenFeed) -> OpenFeed:
        _, before = self._viewers[viewer.session]
        self._viewers[viewer.session] = (viewer, entry)
        return before

    def _tick(self) -> None:
        self._ticker = asyncio.get_running_loop().call_later(_TICK_SECONDS, self._tick)
        now_s = time.monotonic()
        for viewer, _ in list(self._viewers.values()):
            viewer.tick(now_s)
        if self._adaptation is not None:
            self._adaptation.tick(now_s)
