"""Messages as they come, and who is told of them."""

import logging
from collections.abc import Callable
from typing import NamedTuple

import nats.errors
from nats.aio.subscription import Subscription as NatsSubscription

from schemas.errors import MeshError
from schemas.packets import UNREADABLE
from shared.bus.outbox import BusStats
from shared.bus.reader import Receive

log = logging.getLogger(__name__)


class Message(NamedTuple):
    subject: str
    data: bytes


class Subscription:
    """One subscription; `close()` ends it."""

    def __init__(self, inner: NatsSubscription, forget: Callable[[], object]) -> None:
        self._inner, self._forget = inner, forget

    async def close(self) -> None:
        self._forget()
        try:
            await self._inner.unsubscribe()
        except nats.errors.Error as error:  # the connection is gone, and the subscription with it
            log.debug("unsubscribe: %s", error)


def taker(receive: Callable[[Message], None], stats: BusStats) -> Receive:
    """What takes messages for `receive`, and never raises: whoever calls it can do nothing about it."""

    def take(subject: str, data: bytes) -> None:
        # What we can't read we count and skip.
        try:
            receive(Message(subject, data))
        except (MeshError, *UNREADABLE) as error:
            stats.unreadable += 1
            log.warning("message on %s skipped: %s", subject, error)
        except Exception:  # a bug of ours: nats-py would only whisper it
            stats.unreadable += 1
            log.exception("message on %s", subject)

    return take
