"""An application's iterator over the packets of one rendition."""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple, Self

import msgspec

from schemas.errors import NotFound, Unavailable
from schemas.ids import check_id, compound_id
from schemas.packets import PacketHeader
from schemas.resources import StreamSpec
from schemas.subjects import DESIRED_BUCKET, SOURCE_RENDITION, command, state_key
from shared.bus import Bus
from shared.clients.keeper import Keeper
from shared.demand import Wants
from shared.packet_ring import PacketRingReader
from shared.packets import PacketSubscription
from shared.ring import RingError

log = logging.getLogger(__name__)

_MAX_WAITING: Final = 1_024  # 8 s of pictures and sound
_MAX_WAITING_BYTES: Final = 64 << 20  # 8 s of 64 Mbit/s
_ASK_AGAIN_SECONDS: Final = 0.5  # encoders make two key pictures a second at most


class Packet(NamedTuple):
    """One access unit, as the rendition's producer made it."""

    header: PacketHeader
    payload: memoryview
    follows: bool
    """Nothing of its track is missing before it; False of the first one."""


class NoPackets(Unavailable, TimeoutError):
    """No packet has come in time. Carries `stream` and `rendition`."""

    def __init__(self, stream: str, rendition: str, waited_seconds: float) -> None:
        self.stream, self.rendition = stream, rendition
        super().__init__(
            f"no packet of {stream}/{rendition} within {waited_seconds:g} s; `framemesh status` shows whether the "
            "rendition is made, and how its stream is"
        )


@dataclass
class PacketCounts:
    """What has become of a rendition's packets since the iteration began."""

    delivered: int = 0
    dropped: int = 0
    """The application was too slow: it goes on with the next key picture."""
    undecodable: int = 0
    """Pictures left out until the next key picture, because one before them was lost."""


class _Inbox:
    """What has come and was not taken yet; bounded."""

    def __init__(self) -> None:
        self.arrived = asyncio.Event()
        self.closed = False
        self.dropped = 0
        self.subscription: PacketSubscription | None = None
        self.stop_wanting = _nothing
        self._waiting: deque[tuple[PacketHeader, memoryview]] = deque()
        self._waiting_bytes = 0

    def deliver(self, header: PacketHeader, payload: memoryview) -> None:
        if len(self._waiting) >= _MAX_WAITING or self._waiting_bytes + len(payload) > _MAX_WAITING_BYTES:
            self.dropped += 1  # the newest: what waits can still be decoded
            return
        self._waiting.append((header, payload))
        self._waiting_bytes += len(payload)
        self.arrived.set()

    def begin_with(self, earlier: Iterable[tuple[PacketHeader, bytes]]) -> None:
        """Put these before what has come meanwhile; a ring is bounded itself."""
        items = [(header, memoryview(payload)) for header, payload in earlier]
        self._waiting.extendleft(reversed(items))
        self._waiting_bytes += sum(len(payload) for _, payload in items)
        self.arrived.set()

    def take(self) -> tuple[PacketHeader, memoryview] | None:
        if not self._waiting:
            return None
        header, payload = self._waiting.popleft()
        self._waiting_bytes -= len(payload)
        return header, payload

    async def close(self) -> None:
        self.closed = True
        self.arrived.set()
        self.stop_wanting()
        if self.subscription:
            await self.subscription.close()


class PacketStream:
    """`async for packet in mesh.packets("cam0")`: whole access units of all tracks, in the order they were made.

    Begins with the key picture of now, where the rendition's producer is on this node, or else with the next one; after
    a loss with the next key picture, for which the producer is asked. Shows demand while it lives. For one task.
    """

    def __init__(
        self,
        bus: Bus,
        folder: Path,
        wants: Wants,
        stream: str,
        rendition: str,
        *,
        application: str,
        timeout_seconds: float | None,
        keeper: Keeper,
    ) -> None:
        self._inbox = _Inbox()
        self.stream, self.rendition = check_id(stream, "stream"), check_id(rendition, "rendition")
        self.counts = PacketCounts()
        self._bus, self._folder, self._wants, self._keeper = bus, folder, wants, keeper
        self._application = application
        self._timeout_seconds = timeout_seconds
        self._opened = False
        self._last: dict[str, tuple[int, int]] = {}
        """Run and index of the newest packet of each track."""
        self._waits_for_key = True
        self._asked_at = float("-inf")
        self._asks = (
            command("capture", "keyframe", stream)
            if rendition == SOURCE_RENDITION
            else command("hw-encode", "keyframe", compound_id(stream, rendition))
        )

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Packet:
        """The next packet.

        Raises:
            NotFound: there is no such stream.
            NoPackets: none came within the timeout.
        """
        await self._open()
        inbox, deadline = self._inbox, None
        if self._timeout_seconds is not None:
            deadline = asyncio.get_running_loop().time() + self._timeout_seconds
        while not inbox.closed:
            inbox.arrived.clear()
            taken = inbox.take()
            if taken is not None:
                packet = self._admitted(*taken)
                if packet is not None:
                    self.counts.delivered += 1
                    return packet
                continue
            try:
                async with asyncio.timeout_at(deadline):
                    await inbox.arrived.wait()
            except TimeoutError:
                raise NoPackets(self.stream, self.rendition, self._timeout_seconds or 0) from None
        raise StopAsyncIteration

    async def _open(self) -> None:
        if self._opened or self._inbox.closed:
            return
        bucket = await self._bus.bucket(DESIRED_BUCKET)
        entry = await bucket.get(state_key("capture", self.stream))
        if entry is None:
            raise NotFound(f"stream {self.stream!r} does not exist; `framemesh status` lists those that do")
        spec = msgspec.json.decode(entry.value, type=StreamSpec)
        if spec.node is None:
            raise Unavailable(f"stream {self.stream!r} is on no node yet; try again in a moment")
        inbox = self._inbox
        self._opened = True
        self._keeper.add(inbox)
        inbox.stop_wanting = self._wants.want(spec.node, self.stream, self.rendition, self._application)
        inbox.subscription = await PacketSubscription.open(self._bus, self.stream, self.rendition, inbox.deliver)
        await self._bus.flush()  # the server knows the subscription: nothing falls between it and the ring
        if inbox.closed:  # meanwhile, when there was nothing to close yet
            await inbox.close()
            return
        inbox.begin_with(await asyncio.to_thread(self._read_ring))

    def _read_ring(self) -> list[tuple[PacketHeader, bytes]]:
        try:
            with PacketRingReader.open_latest(self._folder, self.stream, self.rendition) as ring:
                return ring.from_last_key()
        except (RingError, LookupError):  # no ring on this node (yet): a key picture will come
            return []

    def _admitted(self, header: PacketHeader, payload: memoryview) -> Packet | None:
        """None: it was there before, or cannot be decoded."""
        run, index = self._last.get(header.track, (-1, 0))
        if (header.run, header.index) <= (run, index):
            return None  # of the ring and of the bus, or of a producer whose time is over
        follows = (header.run, header.index) == (run, index + 1)
        self._last[header.track] = (header.run, header.index)
        if header.track == "video":
            if header.key:
                follows, self._waits_for_key = follows and not self._waits_for_key, False
            elif self._waits_for_key or not follows:
                self._waits_for_key = True
                self.counts.undecodable += 1
                self._ask()
                return None
        self.counts.dropped = self._inbox.dropped
        return Packet(header, payload, follows)

    def _ask(self) -> None:
        now = time.monotonic()
        if now - self._asked_at >= _ASK_AGAIN_SECONDS:
            self._asked_at = now
            self._bus.post(self._asks, b"{}")  # a camera's key pictures come when they come; nobody is told

    async def aclose(self) -> None:
        """Withdraw the demand; whoever waits is woken."""
        await self._keeper.close(self._inbox)

    async def __aenter__(self) -> Self:
        """Begin at once."""
        await self._open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    def __del__(self) -> None:
        self._keeper.drop(self._inbox)


def _nothing() -> None:
    """Nothing is wanted yet."""
