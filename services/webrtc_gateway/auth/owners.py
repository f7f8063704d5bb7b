"""Who opened which session: nobody else ends it, though others may know its address."""

from collections import OrderedDict
from collections.abc import Callable
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
    """By the id of the session, whatever the path says around it."""

    def __init__(self, most: int = MAX_OWNERS) -> None:
        self._most = most
        self.alive: list[Callable[[str, str], bool]] = []
        """Whether there is such a session, by stream and id; whoever ended by itself is found out so."""
        self._by_session: OrderedDict[str, Owner] = OrderedDict()

    def opened(self, session: str, owner: Owner) -> None:
        self._by_session[session] = owner
        if len(self._by_session) > self._most:
            self._forget_ended()
        if len(self._by_session) > self._most:
            # Then the right token for the stream in the path will do.
            self._by_session.popitem(last=False)

    def _forget_ended(self) -> None:
        """One that still runs must not be forgotten for those: it would outlive its token."""
        if not self.alive:
            return
        for session, owner in list(self._by_session.items()):
            if not any(alive(owner.stream, session) for alive in self.alive):
                self.closed(session)

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
