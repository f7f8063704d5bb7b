"""The hub's JetStream, as who is connected to a leaf reaches it: through its domain, over the link.

A leaf and its hub have a JetStream each, and `$KV.>` does not cross the link. What is written to `$JS.hub.API.$KV.…`
does, and is `$KV.…` over there.
"""

import contextlib
import logging
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any, Final

from nats.js import JetStreamContext
from nats.js.api import KeyValueConfig, PubAck
from nats.js.kv import KeyValue

from schemas.buckets import BucketForm
from schemas.errors import Unavailable
from schemas.placements import HUB_DOMAIN, copy_bucket, placement_of
from shared.bus.client import CausedJetStream, ReadingClient
from shared.bus.kv import Bucket, Entry
from shared.bus.kv_errors import BucketFull
from shared.bus.opening import bucket_config, open_when_answered

if TYPE_CHECKING:
    from shared.bus.bus import Bus

log = logging.getLogger(__name__)

_HUB_TIMEOUT_SECONDS: Final = 2.0  # a link that is dead is known as such after 4 s; who asks meanwhile waits so long


class HubJetStream(CausedJetStream):
    """JetStream of the hub, for the clients of a leaf."""

    def __init__(self, client: ReadingClient) -> None:
        super().__init__(client, domain=HUB_DOMAIN, timeout=_HUB_TIMEOUT_SECONDS)

    async def publish(
        self,
        subject: str,
        payload: bytes = b"",
        timeout: float | None = None,
        stream: str | None = None,
        headers: dict[str, Any] | None = None,
        msg_ttl: float | None = None,
    ) -> PubAck:
        """As of nats-py, which writes keys where the client is connected, whatever the domain."""
        if subject.startswith("$KV."):
            subject = f"{self._prefix}.{subject}"
        return await super().publish(subject, payload, timeout, stream, headers, msg_ttl)


class HubBucket(Bucket):
    """A bucket of the hub. It is opened when it is first used: the hub may be away."""

    @contextlib.asynccontextmanager
    async def _answered(self, key: str) -> AsyncIterator[None]:
        try:
            async with super()._answered(key):
                yield
        except BucketFull:
            raise
        except Unavailable as error:
            log.debug("hub: %s", error)
            raise Unavailable(
                f"this host is cut off from its hub, which keeps {self.name}: {key} cannot be changed or looked up "
                "here; try again when the link is back, or on the hub"
            ) from None


class CopiedBucket(Bucket):
    """A bucket of the hub that this leaf has a copy of.

    Who changes it, or asks for one key, asks the hub; who follows it follows the copy, which is there always, and is
    what a host that is cut off goes on with. Revisions are the hub's.
    """

    revisions_grow = False

    def __init__(self, bus: "Bus", jetstream: JetStreamContext, config: KeyValueConfig, hub: HubBucket) -> None:
        super().__init__(bus, jetstream, config)
        self._hub = hub

    async def get(self, key: str, revision: int | None = None) -> Entry | None:
        try:
            return await self._hub.get(key, revision)
        except Unavailable:
            found = await super().get(key)
            if revision is not None and (found is None or found.revision != revision):
                raise  # earlier ones only the hub knows
            return found

    async def newest(self, key: str) -> Entry | None:
        return await self._hub.newest(key)

    async def cause(self, key: str, revision: int | None = None) -> str:
        return await self._hub.cause(key, revision)

    async def put(self, key: str, value: bytes) -> int:
        return await self._hub.put(key, value)

    async def update(self, key: str, value: bytes, revision: int) -> int:
        return await self._hub.update(key, value, revision)

    async def delete(self, key: str, revision: int | None = None) -> None:
        await self._hub.delete(key, revision)

    async def purge(self, key: str, revision: int | None = None) -> None:
        await self._hub.purge(key, revision)

    def entry_of(self, kept: KeyValue.Entry) -> Entry:
        revision, value = unwrapped(kept.value or b"")
        return Entry(kept.key, value, revision)


def wrapped(entry: Entry) -> bytes:
    """An entry of the hub as a copy keeps it."""
    return b"%d " % entry.revision + entry.value


def unwrapped(kept: bytes) -> tuple[int, bytes]:
    """The hub's revision, and the value; revision 0 of what nobody has wrapped."""
    revision, found, value = kept.partition(b" ")
    return (int(revision), value) if found and revision.isdigit() else (0, kept)


async def open_on_leaf(client: ReadingClient, bus: "Bus", name: str, form: BucketForm, replicas: int = 1) -> Bucket:
    """A bucket as who is connected to a leaf has it; `schemas.placements` says where it lives.

    Raises:
        Unavailable: the leaf's own JetStream does not answer. That the hub does not is told when it is asked.
    """
    placement = placement_of(name)
    hub = HubBucket(bus, HubJetStream(client), bucket_config(name, form, replicas))
    if placement == "hub":
        return hub
    jetstream = client.jetstream(timeout=2)
    config = bucket_config(name, form, 1)  # a leaf is one server
    bucket = Bucket(bus, jetstream, config)
    if placement == "copied":
        config = config.evolve(bucket=copy_bucket(name), history=1)  # earlier revisions are asked of the hub
        bucket = CopiedBucket(bus, jetstream, config, hub)
    await open_when_answered(bucket, jetstream, config)
    return bucket
