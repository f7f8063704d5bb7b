"""A connection's life over data channels: when it switches to them, what comes by them, and how it ends by them."""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence

from services.webrtc_gateway.datachannels.plane import DataPlane
from services.webrtc_gateway.datachannels.section import DataSection
from services.webrtc_gateway.sora.data_line import DataLine
from services.webrtc_gateway.sora.labels import SIGNALING, Announced, Label, announce
from services.webrtc_gateway.sora.letter import Letter
from services.webrtc_gateway.sora.messages import Close, ReqStats, Switched, ToClient
from services.webrtc_gateway.sora.messaging import Messaging
from services.webrtc_gateway.sora.ways import Ways
from services.webrtc_gateway.transport.link import SharedLink

logger = logging.getLogger(__name__)

_STATS_SECONDS = 10.0  # between two requests; a report of a client with eight streams has 40 KB, 6 KB deflated
_SOON_SECONDS = 2.0  # after the switch or an answer: what the client watches runs by then
_TICK_SECONDS = 1.0


class DataSide:
    """Made for a client that asks for `data_channel_signaling`."""

    def __init__(
        self,
        connection_id: str,
        channel: str,
        labels: Sequence[Label],
        *,
        lets_go_of_socket: bool,
        link: SharedLink,
        plane: DataPlane,
        messaging: Messaging,
        say: Callable[[ToClient], None],
        hear: Callable[[str], bool],
        on_ended: Callable[[str], None],
    ) -> None:
        """`hear` takes what is signalled; `on_ended` is told why the client is gone."""
        self.id, self._channel = connection_id, channel
        self._lets_go_of_socket = lets_go_of_socket
        self._link, self._messaging = link, messaging
        self._say, self._hear, self._on_ended = say, hear, on_ended
        self._line = DataLine(
            labels, plane, link, on_open=self._opened, on_message=self._message, on_closed=self._label_closed
        )
        self.ways = Ways(self._line)
        self._ticker: asyncio.TimerHandle | None = None
        self._gone = False
        self._ask_s = float("inf")
        """When statistics are due, monotonic."""

    @property
    def announced(self) -> tuple[Announced, ...]:
        return tuple(announce(label) for label in self._line.labels)

    @property
    def outlives_socket(self) -> bool:
        """Whether the client goes on without its WebSocket."""
        return self.ways.switched and self._lets_go_of_socket

    def answered(self, section: DataSection | None) -> None:
        """What the client says of its side; None: it takes no data channels, and all stays with the WebSocket."""
        if section is not None:
            self._line.answered(section)

    def connected(self) -> None:
        """The link is; the channels follow."""
        self._line.start()

    def ask_soon(self) -> None:
        """For statistics: what it watches may be something else now."""
        self._ask_s = min(self._ask_s, time.monotonic() + _SOON_SECONDS)

    def hand(self, label: Label, letter: Letter) -> None:
        self._line.hand(label, letter)

    async def say_goodbye(self, code: int, reason: str) -> None:
        """What a close frame tells, to a client that has no WebSocket any more; waits until it is taken."""
        if self.outlives_socket and not self.ways.has_socket and not self._link.peer_gone and not self._gone:
            self.ways.say(Close(code, reason))
            await self._line.close_gently()

    def close(self) -> None:
        if self._ticker is not None:
            self._ticker.cancel()
        for label in self._line.labels:
            self._messaging.leave(self._channel, label, self)
        self._line.close()

    def _opened(self) -> None:
        self._say(Switched(self._lets_go_of_socket))
        self.ways.switched = True
        logger.debug("connection %s has switched to data channels", self.id[:8])
        for label in self._line.own_labels:
            self._messaging.join(self._channel, label, self)
        self.ask_soon()
        self._tick()

    def _message(self, label: Label, data: bytes) -> None:
        if label in self._line.own_labels:
            self._messaging.broadcast(self._channel, label.label, Letter(self.id, data))
        elif not self._hear(data.decode(errors="replace")):
            self._line.dropped["unread"] += 1

    def _label_closed(self, label: Label) -> None:
        self._messaging.leave(self._channel, label, self)
        if label.label == SIGNALING and not self._line.closed:
            self._end("DATA-CHANNEL-CLOSED")

    def _end(self, why: str) -> None:
        self._gone = True
        self._on_ended(why)

    def _tick(self) -> None:
        self._ticker = asyncio.get_running_loop().call_later(_TICK_SECONDS, self._tick)
        now_s = time.monotonic()
        if not self.ways.has_socket and self._link.ice.consent_expired(now_s):
            self._end("CONSENT-EXPIRED")
        elif now_s >= self._ask_s:
            self._ask_s = now_s + _STATS_SECONDS
            self._say(ReqStats())
