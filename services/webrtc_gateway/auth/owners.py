"""Who opened which session: nobody else ends it, though others may know its address."""

from collections import OrderedDict
from dataclasses import dataclass

MAX_OWNERS = 10_000  # as many as `max_sessions` can be


@dataclass(frozen=True)
class Owner:
    """Of one session."""

    identity: str
    """See `auth.grant.Grant`."""
    stream: str


class SessionOwners:
    """By the id of the session, whatever the path says around it; the oldest is forgotten first, and then the right
    token for the stream in the path will do."""

    def __init__(self, most: int = MAX_OWNERS) -> None:
        self._most = most
        self._by_session: OrderedDict[str, Owner] = OrderedDict()

    def opened(self, session: str, owner: Owner) -> None:
        self._by_session[session] = owner
        if len(self._by_session) > self._most:
            self._by_session.popitem(last=False)

    def closed(self, session: str) -> None:
        self._by_session.pop(session, None)

    def of(self, session: str) -> Owner | None:
        return self._by_session.get(session)
