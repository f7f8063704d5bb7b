"""The commands about sessions: list them, look at one, end them."""

import logging
import time
from collections.abc import Callable

from schemas.errors import BadRequest, InvalidValue, NotFound
from schemas.sessions import (
    KickedSessions,
    KickSessions,
    ListSessions,
    SessionList,
    SessionStats,
    SessionStatsRequest,
)
from schemas.subjects import command
from services.webrtc_gateway.egress.gateway import WhepGateway
from services.webrtc_gateway.egress.session_stats import session_stats
from services.webrtc_gateway.egress.viewer import Viewer
from shared.bus import Endpoint

logger = logging.getLogger(__name__)

_SERVICE = "webrtc-gateway"
SHOWN_ID_CHARACTERS = 8  # of an id: enough to tell sessions apart, too little to end one over HTTP
_MIN_ID_CHARACTERS = 4

Kicked = Callable[[str, dict[str, str]], None]
"""Called with the stream and what happened."""


class SessionCommands:
    """Answers for the sessions of one gateway."""

    def __init__(self, gateway: WhepGateway, kicked: Kicked = lambda stream, detail: None) -> None:
        self._gateway, self._kicked = gateway, kicked

    def endpoints(self) -> list[Endpoint]:
        return [
            Endpoint(command(_SERVICE, "sessions"), ListSessions, SessionList, self.list),
            Endpoint(command(_SERVICE, "stats"), SessionStatsRequest, SessionStats, self.stats),
            Endpoint(command(_SERVICE, "kick"), KickSessions, KickedSessions, self.kick),
        ]

    async def list(self, request: ListSessions) -> SessionList:
        return SessionList(sessions=self._gateway.sessions(request.stream))

    async def stats(self, request: SessionStatsRequest) -> SessionStats:
        """Raises:
        NotFound, BadRequest: no session, or more than one, has such an id.
        """
        return session_stats(self._find(request.session), time.time_ns(), time.monotonic())

    async def kick(self, request: KickSessions) -> KickedSessions:
        """End sessions; those of a stream without any are none.

        Raises:
            InvalidValue: neither session nor stream is given, or both.
            NotFound, BadRequest: no session, or more than one, has such an id.
        """
        if (request.session is None) == (request.stream is None):
            raise InvalidValue("session", request.session, "give either a session or a stream")
        if request.session is not None:
            found = [self._find(request.session)]
        else:
            found = [viewer for viewer in self._gateway.viewers if viewer.feed.stream == request.stream]
        for viewer in found:
            viewer.close("kicked")
            shown = viewer.session[:SHOWN_ID_CHARACTERS]
            logger.info("session %s of %s kicked: %r", shown, viewer.feed.stream, request.reason)
            self._kicked(viewer.feed.stream, {"session": shown, "reason": request.reason})
        return KickedSessions(sessions=tuple(viewer.session for viewer in found))

    def _find(self, session: str) -> Viewer:
        if len(session) < _MIN_ID_CHARACTERS:
            raise InvalidValue("session", session, f"give at least {_MIN_ID_CHARACTERS} characters of its id")
        found = [viewer for viewer in self._gateway.viewers if viewer.session.startswith(session)]
        if not found:
            raise NotFound(f"session {session[:32]!r}: there is none; `framemesh sessions` lists those that are")
        if len(found) > 1:
            raise BadRequest(f"session {session[:32]!r}: {len(found)} begin so; give more characters")
        return found[0]
