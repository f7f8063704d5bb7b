"""The data channels of one connection: opened by us, all of them, then used for what is said and for messages."""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Protocol

from services.webrtc_gateway.datachannels.channels import DataChannels
from services.webrtc_gateway.datachannels.limits import ChannelLimits
from services.webrtc_gateway.datachannels.plane import DataPlane
from services.webrtc_gateway.datachannels.rate import Rate
from services.webrtc_gateway.datachannels.section import DataSection
from services.webrtc_gateway.sora.deflate import NotDeflated, deflate, inflate
from services.webrtc_gateway.sora.labels import SIGNALLING_LABELS, Label
from services.webrtc_gateway.sora.letter import Letter

logger = logging.getLogger(__name__)

_MESSAGES_PER_SECOND, _MESSAGES_BURST = 200.0, 400.0  # of all of a client's own labels: a pointer at 120 Hz, and more
_SIGNALS_PER_SECOND, _SIGNALS_BURST = 50.0, 100.0  # an answer for each of our offers, which wait for one another
_GOODBYE_SECONDS = 2.0  # for a client to take our last words; it waits 5 s itself
# Messages of others may fill so much of what is unsent: the rest is for signalling, which must not be lost by them.
_MESSAGES_BYTES, _MESSAGES_WAITING = ChannelLimits().buffered_bytes // 2, ChannelLimits().buffered_messages // 2


class DataLink(Protocol):
    """What carries records: a `SharedLink`."""

    on_data: Callable[[bytes], None]

    def send_data(self, data: bytes) -> None: ...


class DataLine:
    """`on_open` is called once, when every label is open; `on_message` with what the client says on one."""

    def __init__(
        self,
        labels: Sequence[Label],
        plane: DataPlane,
        link: DataLink,
        *,
        on_open: Callable[[], None],
        on_message: Callable[[Label, bytes], None],
        on_closed: Callable[[Label], None],
    ) -> None:
        """`labels` are the client's own; those of signalling are there besides."""
        self._own = {label.label: label for label in labels}
        self._labels = {label.label: label for label in SIGNALLING_LABELS} | self._own
        self._plane, self._link = plane, link
        self._on_open, self._on_message, self._on_closed = on_open, on_message, on_closed
        self._channels: DataChannels | None = None
        self._open: set[str] = set()
        self._all_closed = asyncio.Event()
        self._messages = Rate(_MESSAGES_PER_SECOND, _MESSAGES_BURST)
        self._signals = Rate(_SIGNALS_PER_SECOND, _SIGNALS_BURST)
        self.closed = False

    @property
    def labels(self) -> tuple[Label, ...]:
        return tuple(self._labels.values())

    @property
    def own_labels(self) -> tuple[Label, ...]:
        """Those that the client has asked for."""
        return tuple(self._own.values())

    @property
    def dropped(self) -> Counter[str]:
        """Of all sessions of the process, by reason."""
        return self._plane.counters.dropped

    def answered(self, section: DataSection) -> None:
        """The client takes data channels; they open once the link is connected."""
        self._channels = self._plane.channels(section, self._link.send_data, self)
        self._link.on_data = self._channels.receive

    def start(self) -> None:
        """The link is connected."""
        if self._channels is None:
            return
        self._channels.start()
        for label in self._labels.values():
            self._channels.open(
                label.label,
                ordered=label.ordered is not False,
                max_packet_life_time_ms=label.max_packet_life_time,
                max_retransmits=label.max_retransmits,
                protocol=label.protocol or "",
            )

    def is_open(self, label: str) -> bool:
        return label in self._open

    def say(self, label: str, data: bytes) -> bool:
        """Send one message of signalling; False: it is lost, and the client with it."""
        if self._channels is None:
            return False
        return self._channels.send(label, deflate(data) if self._labels[label].compress else data)

    def hand(self, label: Label, letter: Letter) -> None:
        """Send one message of somebody else's; it is dropped and counted where too much is unsent."""
        if self._channels is None:
            return
        data = letter.to(label)
        if self._channels.buffered_bytes + len(data) > _MESSAGES_BYTES or self._channels.waiting >= _MESSAGES_WAITING:
            self.dropped["buffer_full"] += 1
        else:
            self._channels.send(label.label, data)

    async def close_gently(self) -> None:
        """Close every label after what was said before; no longer than _GOODBYE_SECONDS."""
        if self._channels is None or not self._open:
            return
        for label in tuple(self._open):
            self._channels.close_channel(label)
        try:
            async with asyncio.timeout(_GOODBYE_SECONDS):
                await self._all_closed.wait()
        except TimeoutError:
            logger.debug("a client does not take our last words")

    def close(self) -> None:
        """At once; the link is closed after this."""
        self.closed = True
        if self._channels is not None:
            self._channels.close()

    # --- from the channels

    def channel_offered(self, label: str) -> bool:
        return False  # all of them are ours to open

    def channel_opened(self, label: str) -> None:
        self._open.add(label)
        if len(self._open) == len(self._labels):
            self._on_open()

    def channel_message(self, label: str, data: bytes | str) -> None:
        known = self._labels[label]
        own = label in self._own
        if own and not known.sends:
            self.dropped["not_allowed"] += 1
        elif not (self._messages if own else self._signals).take():
            self.dropped["rate_in"] += 1
        else:
            raw = data.encode() if isinstance(data, str) else data
            if known.compress:
                try:
                    raw = inflate(raw)
                except NotDeflated as error:
                    self.dropped[error.why] += 1
                    return
            self._on_message(known, raw)

    def channel_closed(self, label: str) -> None:
        was_open = label in self._open
        self._open.discard(label)
        if not self._open:
            self._all_closed.set()
        if was_open:
            self._on_closed(self._labels[label])
