"""Watches of buckets: how long the server keeps one, how it shows that it lives, and what a new one lists."""

from collections.abc import Awaitable, Callable
from typing import Any, Final

from nats.js import JetStreamContext
from nats.js.kv import KeyValue

from schemas.errors import NotFound
from shared.bus.jetstream_ready import CALL_TIMEOUT_SECONDS

# How long the server keeps a watch that nobody listens to any more. nats-py's five minutes let those who ask for the
# state now and then pile up watches by the thousand, and the server slowed down until it did not answer in time.
FORGOTTEN_SECONDS: Final = 5.0
# Of a watch in a cluster: the server that sends it may be lost while ours is there. Missed twice, it is asked for anew.
_WATCH_HEARTBEAT_SECONDS = 1.0


async def listed_by(
    watcher: KeyValue.KeyWatcher, count: Callable[[], Awaitable[int]], on_listed: Callable[[], None]
) -> dict[str, KeyValue.Entry]:
    """What a new watch lists before it follows changes. `count`: of the keys that the server has.

    nats-py takes a watch for empty when nothing is pending and nothing has come, but what is no longer pending
    may still be on its way: an empty listing is believed only when the server counts no keys.

    Raises:
        NotFound: the watch was stopped.
    """
    found: dict[str, KeyValue.Entry] = {}
    listed = on_the_way = False
    while True:
        update = await watcher.updates(timeout=CALL_TIMEOUT_SECONDS)  # type: ignore[no-untyped-call]
        if update is None:
            if listed or not await count():
                return found
            on_the_way = True
            continue
        if not isinstance(update, KeyValue.Entry):
            raise NotFound("the watch was stopped")
        on_listed()
        listed = True  # also by a deleted key, which is all there may be
        if update.operation in ("DEL", "PURGE"):
            found.pop(update.key, None)
        else:
            found[update.key] = update
        if on_the_way and not update.delta:  # the last of those that were on their way; no end mark follows it
            return found


def with_heartbeat(jetstream: JetStreamContext) -> Any:
    """JetStream as a watch uses it, with a heartbeat that nats-py's watches cannot be given."""
    return _Heard(jetstream)


class _Heard:
    def __init__(self, jetstream: JetStreamContext) -> None:
        self._jetstream = jetstream
        self._timeout = jetstream._timeout

    async def subscribe(self, subject: str, **options: Any) -> JetStreamContext.PushSubscription:
        return await self._jetstream.subscribe(subject, idle_heartbeat=_WATCH_HEARTBEAT_SECONDS, **options)
