"""Puts RTP packets back in their order, knows which are missing, and gives up on those that do not come in time."""

from collections.abc import Iterator
from dataclasses import dataclass

from services.webrtc_gateway.ingest.rtp_packet import RtpPacket

_SEQUENCES = 1 << 16
# The largest step that a loss can be; a larger one is a sender that began anew (RFC 3550 appendix A.1: MAX_DROPOUT).
_MAX_STEP = 3000
# A gap that is wider has taken longer than anybody waits for what was in it; a key picture mends that.
_MAX_GAP = 512
_REORDERED_SECONDS = 0.005  # packets that overtake one another arrive within this; then it is a loss
_ASK_AGAIN_SECONDS = 0.06  # a round trip to a distant publisher
_MAX_ASKS = 8
_MAX_ASKED_AT_ONCE = 256  # one datagram holds them, wherever they are; who lost more needs a key picture


@dataclass(slots=True)
class _Missing:
    since_s: float
    asked_s: float = 0.0
    asks: int = 0


class ReorderBuffer:
    """Packets of one SSRC. In order they pass at once; behind a gap they wait, bounded in time and in number."""

    def __init__(self, *, wait_seconds: float, max_packets: int) -> None:
        self._wait_seconds, self._max_packets = wait_seconds, max_packets
        self._next: int | None = None
        """Number of the packet that is due, unwrapped."""
        self._highest = 0
        self._waiting: dict[int, RtpPacket] = {}
        self._missing: dict[int, _Missing] = {}
        self.received = 0
        """Packets that were new."""
        self.lost = 0
        """Packets that were given up."""

    @property
    def waits(self) -> bool:
        """Something is missing."""
        return bool(self._missing)

    @property
    def highest(self) -> int:
        """The extended highest sequence number, as receiver reports carry it."""
        return self._highest & 0xFFFFFFFF

    def put(self, packet: RtpPacket, now_s: float) -> Iterator[RtpPacket | None]:
        """What is in order now; None where something is missing for good."""
        if self._next is None:
            self._next = self._highest = packet.sequence
        number = self._unwrap(packet.sequence)
        if abs(number - self._highest) > _MAX_STEP:
            yield from self._begin_anew(packet, packet.sequence)
            return
        if (gap := number - self._highest - 1) > _MAX_GAP:
            self.lost += gap
            yield from self._begin_anew(packet, number)
            return
        if number < self._next or number in self._waiting:  # repeated, or too late: that counts as lost already
            return
        self.received += 1
        for missing in range(self._highest + 1, number):
            self._missing[missing] = _Missing(now_s)
        self._highest = max(self._highest, number)
        self._missing.pop(number, None)
        if number == self._next and not self._waiting:  # nearly always
            self._next += 1
            yield packet
            return
        self._waiting[number] = packet
        yield from self._in_order()
        # Many waiting packets, or few with wide gaps between them: what is kept is bounded either way.
        while len(self._waiting) > self._max_packets or self._highest - self._next > _MAX_STEP:
            yield from self._give_up()

    def expire(self, now_s: float) -> Iterator[RtpPacket | None]:
        """As `put`, when what is missing has been waited for long enough."""
        while self._next in self._missing and now_s - self._missing[self._next].since_s > self._wait_seconds:
            yield from self._give_up()

    def to_ask(self, now_s: float) -> list[int]:
        """Sequence numbers that shall be asked for now, in their order."""
        wanted: list[int] = []
        for number, missing in self._missing.items():
            if len(wanted) == _MAX_ASKED_AT_ONCE:
                break
            since_s = missing.asked_s if missing.asks else missing.since_s
            distance_s = _ASK_AGAIN_SECONDS if missing.asks else _REORDERED_SECONDS
            if missing.asks < _MAX_ASKS and now_s - since_s >= distance_s:
                missing.asked_s, missing.asks = now_s, missing.asks + 1
                wanted.append(number % _SEQUENCES)
        return wanted

    def _unwrap(self, sequence: int) -> int:
        return self._highest + (sequence - self._highest + _SEQUENCES // 2) % _SEQUENCES - _SEQUENCES // 2

    def _in_order(self) -> Iterator[RtpPacket]:
        assert self._next is not None
        while (packet := self._waiting.pop(self._next, None)) is not None:
            self._next += 1
            yield packet

    def _give_up(self) -> Iterator[RtpPacket | None]:
        assert self._next is not None
        resume = min(self._waiting, default=self._highest + 1)
        for number in range(self._next, resume):
            self.lost += self._missing.pop(number, None) is not None
        self._next = resume
        yield None
        yield from self._in_order()

    def _begin_anew(self, packet: RtpPacket, number: int) -> Iterator[RtpPacket | None]:
        self.lost += len(self._missing)
        self._waiting.clear()
        self._missing.clear()
        self._highest = number
        self._next = number + 1
        self.received += 1
        yield None
        yield packet
