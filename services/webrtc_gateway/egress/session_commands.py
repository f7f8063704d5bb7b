"""The commands about sessions: list them, look at one, end them; those of this gateway, and those of all."""

import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from msgspec.structs import replace

from schemas.errors import BadRequest, NotFound
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
from shared.gateways import SERVICE, Gateways, check_kick, check_session

logger = logging.getLogger(__name__)

SHOWN_ID_CHARACTERS = 8  # of an id: enough to tell sessions apart, too little to end one over HTTP

Kicked = Callable[[str, dict[str, str]], None]
"""Called with the stream and what happened."""


class SessionCommands:
    """Answers for the sessions of one gateway."""

    def __init__(self, gateway: WhepGateway, kicked: Kicked = lambda stream, detail: None, node: str = "") -> None:
        self._gateway, self._kicked, self._node = gateway, kicked, node

    def endpoints(self, gateways: Gateways) -> list[Endpoint]:
        """Of this gateway, and of `gateways`, which whoever is asked first asks for all."""
        return [
            Endpoint(command(SERVICE, "sessions"), ListSessions, SessionList, gateways.sessions),
            Endpoint(command(SERVICE, "stats"), SessionStatsRequest, SessionStats, gateways.stats),
            Endpoint(command(SERVICE, "kick"), KickSessions, KickedSessions, gateways.kick),
            Endpoint(command(SERVICE, "local-sessions", self._node), ListSessions, SessionList, self.list),
            Endpoint(command(SERVICE, "local-stats", self._node), SessionStatsRequest, SessionStats, self.stats),
            Endpoint(command(SERVICE, "local-kick", self._node), KickSessions, KickedSessions, self.kick),
        ]

    async def list(self, request: ListSessions) -> SessionList:
        infos = self._gateway.sessions(request.stream)
        return SessionList(sessions=tuple(replace(info, node=self._node) for info in infos))

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
        check_kick(request)
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
        check_session(session)
        found = [viewer for viewer in self._gateway.viewers if viewer.session.startswith(session)]
        if not found:
            raise NotFound(f"session {session[:32]!r}: there is none; `framemesh sessions` lists those that are")
        if len(found) > 1:
            raise BadRequest(f"session {session[:32]!r}: {len(found)} begin so; give more characters")
        return found[0]


def at_home(gateways: Gateways) -> Mapping[str, Callable[[Any], Awaitable[Any]]]:
    """What a gateway's own door asks for by itself: over the bus, any gateway might be asked, also one that hangs."""
    return {
        f"{SERVICE}.sessions": gateways.sessions,
        f"{SERVICE}.stats": gateways.stats,
        f"{SERVICE}.kick": gateways.kick,
    }
