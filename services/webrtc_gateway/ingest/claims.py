"""Who publishes a stream, in the whole mesh: at most one gateway has the claim to it.

A claim is a key that is taken by compare-and-set, put again every second and forgotten when nobody does so any more:
that of a gateway that is killed, hangs or has lost the bus ends by itself. Who finds a stream claimed asks the gateway
that has it, which gives way when its publisher has gone without a word, as a page does that is loaded again.
"""

import asyncio
import contextlib
import logging
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field

import msgspec

from schemas.errors import Conflict, MeshError, Unavailable
from schemas.ingest import GaveWay, GiveWay, PublishClaim
from schemas.subjects import CLAIM_BUCKET, claim_key, command
from shared.bus import Bucket, Bus, Entry
from shared.gateways import SERVICE
from shared.state import read_entry
from shared.tasks import end_tasks, start_task

logger = logging.getLogger(__name__)

_REFRESH_SECONDS = 1.0  # two may be lost before the claim lapses
_GIVE_WAY_SECONDS = 3.0  # a publisher is listened for half of that
_ATTEMPTS = 4
_CLOSE_SECONDS = 1.0


@dataclass
class _Held:
    stream: str
    revision: int
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Of the revision: the claim is put again and given back in turns."""


class Claims:
    """Those of one gateway; `on_lost` is told of a stream that is another's now."""

    def __init__(self, bus: Bus, node: str) -> None:
        self.on_lost: Callable[[str], None] = lambda stream: None
        self._bus, self._node = bus, node
        self._own = PublishClaim(node=node, gateway=secrets.token_hex(4))
        self._held: dict[str, _Held] = {}
        self._task = start_task(self._refresh_all(), "publish-claims")

    def holds(self, stream: str) -> bool:
        return stream in self._held

    async def take(self, stream: str) -> None:
        """Have the claim, from now until it is given back or lost.

        Raises:
            Conflict: another gateway has a publisher of the stream that is at work.
            Unavailable: the bus does not answer.
        """
        found = await self._try(stream)
        for _ in range(_ATTEMPTS):
            if found is None:
                return
            entry, owner = found
            await self._ask_to_give_way(stream, owner)
            # Given back meanwhile, or its gateway says nothing at all: then it must not have been put again.
            found = await self._try(stream, entry.revision)
        raise Conflict(f"{stream} is taken by other gateways again and again; try again, or take another name")

    async def take_if_free(self, stream: str) -> None:
        """As `take`, but nobody is asked for it.

        Raises:
            Conflict: another gateway has it.
            Unavailable: the bus does not answer.
        """
        found = await self._try(stream)
        if found is not None:
            raise Conflict(f"{stream} is claimed by the gateway on {found[1].node}")

    async def give_back(self, stream: str) -> None:
        """Others may have it; nothing happens to what is not held."""
        held = self._held.pop(stream, None)
        if held is None:
            return
        async with held.lock:
            # It is another's already, or lapses by itself.
            with contextlib.suppress(MeshError):
                await (await self._bucket()).delete(claim_key(stream), held.revision)

    async def close(self) -> None:
        """Give everything back, as far as that takes no time."""
        await end_tasks(self._task)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_CLOSE_SECONDS if self._bus.connected else 0):
                await asyncio.gather(*(self.give_back(stream) for stream in tuple(self._held)))

    async def _bucket(self) -> Bucket:
        return await self._bus.bucket(CLAIM_BUCKET)

    async def _try(self, stream: str, beaten: int = 0) -> tuple[Entry, PublishClaim] | None:
        """Take the claim where it is free, or still has the revision `beaten`; else who has it."""
        if stream in self._held:
            return None
        bucket, key = await self._bucket(), claim_key(stream)
        for _ in range(_ATTEMPTS):
            entry = await bucket.get(key)
            owner = read_entry(entry, PublishClaim)
            # Of this node is only one gateway: what another one left was of an earlier run.
            if entry and owner and owner.node != self._node and entry.revision != beaten:
                return entry, owner
            try:
                revision = await bucket.update(key, msgspec.json.encode(self._own), entry.revision if entry else 0)
            except Conflict:
                continue  # somebody was faster
            self._held[stream] = _Held(stream, revision)
            return None
        raise Conflict(f"{stream} is taken by other gateways again and again; try again, or take another name")

    async def _ask_to_give_way(self, stream: str, owner: PublishClaim) -> None:
        try:
            await self._bus.request(
                command(SERVICE, "give-way", owner.node), GiveWay(stream=stream), GaveWay, _GIVE_WAY_SECONDS
            )
        except Unavailable as error:
            logger.info("the gateway on %s, which has %s, does not answer: %s", owner.node, stream, error)
        except Conflict:
            raise Conflict(
                f"{stream} is published at the gateway on {owner.node}; end that first, or take another name"
            ) from None

    async def _refresh_all(self) -> None:
        while True:
            await asyncio.sleep(_REFRESH_SECONDS)
            await asyncio.gather(*(self._refresh(held) for held in tuple(self._held.values())))

    async def _refresh(self, held: _Held) -> None:
        async with held.lock:
            if self._held.get(held.stream) is not held:
                return
            try:
                bucket, key = await self._bucket(), claim_key(held.stream)
                try:
                    held.revision = await bucket.update(key, msgspec.json.encode(self._own), held.revision)
                except Conflict:  # it has lapsed while the bus was away; or another has it
                    held.revision = await bucket.update(key, msgspec.json.encode(self._own), 0)
            except Conflict:
                logger.warning("%s is published at another gateway now", held.stream)
                del self._held[held.stream]
                self.on_lost(held.stream)
            except MeshError as error:
                logger.debug("claim to %s: %s", held.stream, error)
