"""One client of a channel: what it is offered, what it answers, and the streams that come of it."""

import asyncio
import logging
import secrets
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import msgspec
from aiortc.sdp import SessionDescription

from schemas.errors import BadRequest, MeshError
from services.webrtc_gateway.ingest.offer import PREFERENCE, match_ingest
from services.webrtc_gateway.ingest.publisher import Publisher
from services.webrtc_gateway.ingest.terms import SessionTerms
from services.webrtc_gateway.sora.answer import data_section_of, fingerprints_of, keep_what_is_sent, side_of
from services.webrtc_gateway.sora.client_messages import (
    Connect,
    Disconnect,
    Pong,
    Role,
    SaidAgain,
    SaidSdp,
    SaidStats,
    Updated,
    read,
)
from services.webrtc_gateway.sora.data_side import DataSide
from services.webrtc_gateway.sora.downlinks import Downlinks, Parts, Source
from services.webrtc_gateway.sora.first_offer import first_offer
from services.webrtc_gateway.sora.forwarding import EVERYTHING, Forwarding
from services.webrtc_gateway.sora.labels import Label
from services.webrtc_gateway.sora.layout import Layout
from services.webrtc_gateway.sora.messages import Ping, ToClient
from services.webrtc_gateway.sora.names import new_connection_id
from services.webrtc_gateway.sora.negotiation import Negotiation
from services.webrtc_gateway.sora.refusal import close_reason
from services.webrtc_gateway.sora.reports import ClientReports
from services.webrtc_gateway.sora.sections import Kind, Terms, Transport, write_offer
from services.webrtc_gateway.sora.steering import Steering
from services.webrtc_gateway.sora.switching import switched_message
from services.webrtc_gateway.sora.ways import Ways
from services.webrtc_gateway.sora.wishes import Wishes
from services.webrtc_gateway.transport.link import SharedLink
from shared.tasks import end_tasks

logger = logging.getLogger(__name__)

REFUSED = 4490
NORMAL = 1000
CONNECT_SECONDS = 15.0  # ICE and DTLS together, from the offer on


class Stop(NamedTuple):
    """Why a connection ends, as its WebSocket is closed."""

    code: int
    reason: str


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
    forwarding: Forwarding = EVERYTHING
    labels: tuple[Label, ...] = ()
    """Of data channels that the client asks for."""
    wishes: Wishes = field(default_factory=Wishes)
    """Which layers it gets."""
    client: str = ""
    address: str = ""
    id: str = field(default_factory=new_connection_id)
    stream: str = ""
    """What it publishes."""
    live: bool = False
    """DTLS is through, and the channel knows of it."""
    connected_ns: int = 0
    """Since when, CLOCK_REALTIME."""
    because: str = ""
    """What whoever has it ended says of that."""

    def __post_init__(self) -> None:
        if self.connect.simulcast is True and self.role != "recvonly" and "video" in self.kinds:
            self.terms = replace(self.terms, simulcast=True)
        self.client_id = self.connect.client_id or self.id
        self.bundle_id = self.connect.bundle_id or self.id
        self.stopped: asyncio.Future[Stop] = asyncio.get_running_loop().create_future()
        self.link = SharedLink(self.parts.transport, self.parts.identity, self._connected, self._link_ended, "sora")
        self.reports = ClientReports()
        self.link.reported = self.reports.inbound
        self._pings = 0
        self.data = self._data_side() if self.connect.data_channel_signaling else None
        self.ways = self.data.ways if self.data else Ways(None)
        self._layout = Layout()
        self._downlinks = Downlinks(
            self._layout,
            self.link,
            self.parts,
            self._downlink_ended,
            self.wishes,
            self._switched,
            client=self.client,
            address=self.address,
        )
        self._publisher: Publisher | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._origin = secrets.randbits(62)
        self._negotiation = Negotiation(self._sdp, self._place, self.say, self._never_answered)
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

    def _data_side(self) -> DataSide:
        return DataSide(
            self.id,
            self.channel,
            self.labels,
            lets_go_of_socket=bool(self.connect.ignore_disconnect_websocket),
            link=self.link,
            plane=self.parts.viewers.data_plane,
            messaging=self.parts.messaging,
            say=self.say,
            hear=self.hear,
            on_ended=self._data_ended,
        )

    @property
    def watches(self) -> tuple[str, ...]:
        """The streams that it is offered."""
        return self._downlinks.streams

    # --- what is said

    def begin(self) -> None:
        """Send the offer."""
        if self.role != "recvonly":
            self._layout.add_uplink(self.kinds)
        if self.data is not None:
            self._layout.add_data()
        self._place()
        self._layout.fill(self.kinds or ("audio", "video"))
        self._late = asyncio.get_running_loop().call_later(CONNECT_SECONDS, self._never_connected)
        self._negotiation.begin(lambda sdp: first_offer(self, sdp, self._layout.uplink_mids))

    @property
    def steered(self) -> tuple[tuple[Source, Steering], ...]:
        """What it watches now."""
        return self._downlinks.steered

    def steer(self) -> None:
        """Its wishes have changed, or the layers that there are: no offer is needed for that."""
        self._downlinks.steer()

    def refresh(self) -> None:
        """What there is to watch may have changed."""
        self.steer()
        if not self.stopped.done():
            self._negotiation.refresh()

    def ping(self) -> None:
        """Every few seconds; with statistics every other time, until they are asked for over data channels."""
        self._pings += 1
        self.say(Ping(stats=self._pings % 2 == 0 and not self.ways.switched))

    def say(self, message: ToClient) -> None:
        """Tell the client, whichever way its messages go by now; one that takes none is cut off."""
        if self.stopped.done():
            return
        if not self.ways.say(message):
            self.stop(REFUSED, "TOO-SLOW")

    def stop(self, code: int, reason: str) -> None:
        """Have the WebSocket closed, and everything with it."""
        if not self.stopped.done():
            logger.info("connection %s of a channel ends: %d %s", self.id[:8], code, reason)
            self.stopped.set_result(Stop(code, reason))

    async def close(self) -> None:
        """Let go of all that the connection has; its WebSocket is closed before, if it has one."""
        self.stop(NORMAL, "")
        if self.data is not None:
            await self.data.say_goodbye(*self.stopped.result())
        self._negotiation.close()
        if self._late is not None:
            self._late.cancel()
        if self._tasks:
            await end_tasks(*self._tasks)
        self._downlinks.close()
        if self._publisher is not None:
            self._publisher.close("left")
        if self.data is not None:
            self.data.close()
        self.link.close()

    def socket_lost(self) -> None:
        """Its WebSocket is closed or broken: the end, but for a client that was told to let go of it."""
        self.ways.has_socket = False
        if self.data is None or not self.data.outlives_socket:
            self.stop(NORMAL, "")

    # --- what is answered

    def hear(self, text: str) -> bool:
        """Take what the client says, whichever way it comes; False: it is nothing that we know."""
        try:
            said = read(text)
        except msgspec.DecodeError:  # a message of a newer client
            return False
        if isinstance(said, SaidSdp):
            self.answered(said.sdp, again=False)
        elif isinstance(said, SaidAgain | Updated):
            self.answered(said.sdp, again=True)
        elif isinstance(said, Pong) and said.stats:
            return self.reports.take(said.stats)
        elif isinstance(said, SaidStats):
            return self.reports.take(said.reports)
        elif isinstance(said, Disconnect):
            self.stop(NORMAL, "TYPE-DISCONNECT")
        elif isinstance(said, Connect):
            self.stop(REFUSED, "INVALID-MESSAGE")
        return True

    def answered(self, text: str, *, again: bool) -> None:
        """Take the answer to the first offer, or to a later one."""
        try:
            taken = self._negotiation.take(text, again=again)
            if taken is None:
                return
            description, first = taken
            if first:
                self.link.open(fingerprints_of(description))
                if self.data is not None:
                    self.data.answered(data_section_of(description))
                self._take_uplink(description, text)
        except BadRequest as error:
            logger.info("the answer of connection %s: %s", self.id[:8], error)
            self.stop(REFUSED, "INVALID-ANSWER")
            return
        for work in self._downlinks.answered(description):
            self._start(work)
        if self.data is not None:
            self.data.ask_soon()
        self._negotiation.go_on()

    def _take_uplink(self, description: SessionDescription, text: str) -> None:
        if not self.stream:
            return
        side = side_of(description, self._layout.uplink_mids.values())
        if side is None:
            raise BadRequest("it sends nothing")
        keep_what_is_sent(side)
        terms = match_ingest(side, text, layered=PREFERENCE).terms
        self._start(self._receive(terms))

    async def _receive(self, terms: SessionTerms) -> None:
        try:
            publisher = await self.parts.ingest.attach(
                self.stream, terms, self.link, self.terms.max_bps, self._uplink_ended
            )
        except MeshError as error:
            logger.info("connection %s cannot publish %s: %s", self.id[:8], self.stream, error)
            self.stop(REFUSED, close_reason(f"NOT-PUBLISHED-{error.code}", error.message))
            return
        self._publisher = publisher

    # --- what is offered

    def _place(self) -> bool:
        sources = self.sources(self) if self.role != "sendonly" else ()
        return self._downlinks.place(sources, self.kinds)

    def _sdp(self, version: int) -> str:
        ice = self.link.ice
        transport = Transport(ice.ufrag, ice.password, self.parts.identity.fingerprint, self.parts.transport.candidates)
        return write_offer(self._layout.sections, self.terms, transport, self._origin, version)

    # --- what happens

    def _connected(self) -> None:
        if self._late is not None:
            self._late.cancel()
        if self.data is not None:
            self.data.connected()
        self.on_connected(self)

    def _never_answered(self) -> None:
        self.stop(REFUSED, "ANSWER-TIMEOUT")

    def _never_connected(self) -> None:
        self.stop(REFUSED, "CONNECTION-TIMEOUT")

    def _link_ended(self, reason: str) -> None:
        self.stop(REFUSED, "PEER-CONNECTION-ENDED")

    def _data_ended(self, reason: str) -> None:
        # Who lives by data channels alone says goodbye by closing them.
        self.stop(REFUSED if self.ways.has_socket else NORMAL, reason)

    def _uplink_ended(self, reason: str) -> None:
        self.stop(NORMAL, "DISCONNECTED-API")

    def _downlink_ended(self, on_purpose: bool) -> None:
        if self.stopped.done():
            return
        if on_purpose:
            self.stop(NORMAL, "DISCONNECTED-API")
        else:
            # Not within the call that ended a part.
            asyncio.get_running_loop().call_soon(self._offer_anew)

    def _switched(self, source: Source, before: str, after: str) -> None:
        """One of its streams goes on with another rendition."""
        there = self.parts.streams.layers(source.stream)
        message = switched_message(source, self.wishes.of(source.key), there, before, after)
        if message is not None:
            self.say(message)

    def _offer_anew(self) -> None:
        self.steer()
        if not self.stopped.done():
            self._negotiation.free()

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("a stream of connection %s", self.id[:8], exc_info=error)
            self.stop(REFUSED, "INTERNAL-ERROR")
