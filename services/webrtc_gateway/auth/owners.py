"""Who opened which session: nobody else ends it, though others may know its address."""

from collections import OrderedDict
from dataclasses import dataclass

from services.webrtc_gateway.auth.grant import Grant
from services.webrtc_gateway.auth.tokens import Tokens

MAX_OWNERS = 10_000  # as many as `max_sessions` can be


@dataclass(frozen=True)
class Owner:
    """Of one session."""

    grant: Grant
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

    def withdrawn(self, tokens: Tokens) -> list[tuple[str, str]]:
        """(session, stream) of those whose rights were taken away; they are forgotten here."""
        found = [
            (session, owner.stream)
            for session, owner in self._by_session.items()
            if tokens.withdrawn(owner.grant, owner.stream)
        ]
        for session, _ in found:
            self.closed(session)
        return found

    def of(self, session: str) -> Owner | None:
        return self._by_session.get(session)
