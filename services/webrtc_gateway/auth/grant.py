"""What whoever asks may do: made of a token by `auth.guard`, asked by every route."""

import time
from dataclasses import dataclass

from aiohttp import web

from schemas.tokens import ANY_STREAM, Action, covers


@dataclass(frozen=True)
class Grant:
    """Rights of one request."""

    name: str
    """For the log; who holds the token, never the token."""
    identity: str
    """The same for the same token and for no other; tells nothing of it."""
    streams: tuple[str, ...]
    """Patterns, see `schemas.tokens.covers`."""
    actions: frozenset[Action]
    expires_s: float | None = None
    """CLOCK_REALTIME; None: it ends when it is taken out of the file."""

    def may(self, action: Action, stream: str | None) -> bool:
        """Whether `action` is granted for a stream; None: for all there are."""
        return action in self.actions and (self.sees_all if stream is None else self.covers(stream))

    def covers(self, stream: str) -> bool:
        return any(covers(pattern, stream) for pattern in self.streams)

    @property
    def sees_all(self) -> bool:
        return ANY_STREAM in self.streams

    @property
    def left_seconds(self) -> float | None:
        """Until the token ends; None: it has no end of its own."""
        return None if self.expires_s is None else max(0.0, self.expires_s - time.time())


EVERYTHING = Grant("anyone", "anyone", (ANY_STREAM,), frozenset(("view", "publish", "control")))
"""Of a gateway without tokens: whoever reaches its port may use it."""
NOTHING = Grant("nobody", "nobody", (), frozenset())
"""Of a request to what is open to all."""

GRANT = web.RequestKey("GRANT", Grant)


def grant_of(request: web.Request) -> Grant:
    """The rights of a request that the door has let in.

    Raises:
        KeyError: it has not passed the door; a route that nobody guards answers nobody.
    """
    return request[GRANT]
