"""The data channels of one session, by label (RFC 8831, RFC 8832): opened by either side, bounded both ways."""

import functools
import logging
from collections.abc import Callable
from typing import Protocol

from aiortc.rtcdatachannel import RTCDataChannel, RTCDataChannelParameters

from services.webrtc_gateway.datachannels.association import Association
from services.webrtc_gateway.datachannels.counters import DataCounters
from services.webrtc_gateway.datachannels.limits import MAX_LABEL_BYTES, ChannelLimits
from services.webrtc_gateway.datachannels.rate import Rate
from services.webrtc_gateway.datachannels.section import DataSection

logger = logging.getLogger(__name__)

_USUAL_LIMITS = ChannelLimits()


class ChannelUser(Protocol):
    """What a session does with its channels."""

    def channel_offered(self, label: str) -> bool:
        """Whether a channel that the peer opens may stay open."""
        ...

    def channel_opened(self, label: str) -> None:
        """Messages can be sent now, and may come."""
        ...

    def channel_message(self, label: str, data: bytes | str) -> None: ...

    def channel_closed(self, label: str) -> None:
        """By either side, or because the session ends."""
        ...


class DataChannels:
    """Send with `send(label, data)`; everything else comes to the `user`."""

    def __init__(
        self,
        section: DataSection,
        send: Callable[[bytes], None],
        user: ChannelUser,
        counters: DataCounters,
        all_cpu: Rate,
        limits: ChannelLimits = _USUAL_LIMITS,
    ) -> None:
        """`section` is the peer's; `send` takes one record of application data; `all_cpu` is every session's."""
        self._section, self._user, self._counters, self._limits = section, user, counters, limits
        self._association = Association(send, counters, all_cpu, self._ended)
        self._association.on("datachannel", self._offered)
        self._by_label: dict[str, RTCDataChannel] = {}

    @property
    def labels(self) -> tuple[str, ...]:
        """Of the channels that are open, or being opened by us."""
        return tuple(self._by_label)

    @property
    def buffered_bytes(self) -> int:
        """Accepted by `send`, and not handed to the transport yet."""
        return sum(channel.bufferedAmount for channel in self._by_label.values())

    def start(self) -> None:
        """The DTLS handshake is done."""
        self._association.begin(self._section.port, self._section.max_message_bytes)

    def receive(self, record: bytes) -> None:
        """Take one record of application data of the peer's."""
        self._association.receive(record)

    @property
    def waiting(self) -> int:
        """Messages among those bytes."""
        return self._association.waiting

    def open(
        self,
        label: str,
        *,
        ordered: bool = True,
        max_packet_life_time_ms: int | None = None,
        max_retransmits: int | None = None,
        protocol: str = "",
    ) -> bool:
        """Open a channel from our side; False when there is one of that name, or too many.

        Give at most one of `max_packet_life_time_ms` and `max_retransmits`."""
        if label in self._by_label or len(self._by_label) >= self._limits.channels:
            return False
        parameters = RTCDataChannelParameters(
            label=label,
            ordered=ordered,
            maxPacketLifeTime=max_packet_life_time_ms,
            maxRetransmits=max_retransmits,
            protocol=protocol,
        )
        channel = RTCDataChannel(self._association, parameters)
        self._adopt(label, channel)
        channel.on("open", functools.partial(self._opened, label))
        return True

    def send(self, label: str, data: bytes | str) -> bool:
        """Send bytes or text; False when it is dropped, and counted: not open, too large, too much unsent already."""
        channel = self._by_label.get(label)
        if channel is None or channel.readyState != "open":
            self._counters.dropped["not_open"] += 1
            return False
        size = len(data.encode()) if isinstance(data, str) else len(data)
        most = min(self._limits.message_bytes, self._section.max_message_bytes or self._limits.message_bytes)
        if size > most:
            self._counters.dropped["too_large"] += 1
            return False
        if (
            self.buffered_bytes + size > self._limits.buffered_bytes
            or self._association.waiting >= self._limits.buffered_messages
        ):
            self._counters.dropped["buffer_full"] += 1
            return False
        channel.send(data)
        self._counters.messages_out += 1
        self._counters.bytes_out += size
        return True

    def close_channel(self, label: str) -> None:
        """Close one; what was sent before still goes."""
        channel = self._by_label.get(label)
        if channel is not None:
            channel.close()

    def close(self) -> None:
        """End them all; the peer is told."""
        self._association.close()

    def _offered(self, channel: RTCDataChannel) -> None:
        label = channel.label
        why = self._refuse(label)
        if why:
            self._counters.refused[why] += 1
            channel.close()
            return
        self._adopt(label, channel)
        self._opened(label)

    def _refuse(self, label: str) -> str:
        if not 0 < len(label.encode()) <= MAX_LABEL_BYTES:
            return "bad_label"
        if label in self._by_label:
            return "label_taken"
        if len(self._by_label) >= self._limits.channels:
            return "too_many"
        return "" if self._user.channel_offered(label) else "unknown_label"

    def _adopt(self, label: str, channel: RTCDataChannel) -> None:
        self._by_label[label] = channel
        channel.on("message", functools.partial(self._message, label))
        channel.on("close", functools.partial(self._closed, label))

    def _opened(self, label: str) -> None:
        self._counters.opened += 1
        self._user.channel_opened(label)

    def _message(self, label: str, data: bytes | str) -> None:
        size = len(data.encode()) if isinstance(data, str) else len(data)
        self._counters.messages_in += 1
        self._counters.bytes_in += size
        if size > self._limits.message_bytes:  # more than the answer allowed
            self._counters.dropped["too_large"] += 1
            self.close_channel(label)
            return
        self._user.channel_message(label, data)

    def _closed(self, label: str) -> None:
        if self._by_label.pop(label, None) is not None:
            self._user.channel_closed(label)

    def _ended(self, why: str) -> None:
        logger.info("data channels ended: %s", why)
        for label in self.labels:  # those that aiortc had no number for yet
            self._closed(label)
