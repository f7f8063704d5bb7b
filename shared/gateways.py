"""The sessions of all gateways of a mesh as one list: each gateway is asked, and what they say is put together.

Who asks gathers: a gateway that hangs makes a list partial, which the list says, and never late.
"""

import asyncio
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from msgspec import Struct
from msgspec.structs import replace

from schemas.errors import BadRequest, InvalidValue, MeshError, NotFound, Unavailable
from schemas.resources import Presence
from schemas.sessions import (
    KickedSessions,
    KickSessions,
    ListSessions,
    SessionInfo,
    SessionList,
    SessionStats,
    SessionStatsRequest,
)
from schemas.subjects import PRESENCE_BUCKET, command
from shared.bus import Bus
from shared.state import read_entry

SERVICE = "webrtc-gateway"
MIN_ID_CHARACTERS = 4
_REPLY_SECONDS = 1.5  # what is asked for is there, nothing is waited for

Reply = TypeVar("Reply")


class Gateways:
    """Those that are present, as `present` says at each call."""

    def __init__(self, bus: Bus, present: Callable[[], Iterable[Presence]]) -> None:
        self._bus, self._present = bus, present

    async def sessions(self, request: ListSessions) -> SessionList:
        answers, unanswered = await self.ask_all("local-sessions", request, SessionList)
        return SessionList(
            sessions=tuple(
                replace(info, node=gateway.node, gateway=gateway.instance)
                for gateway, listed in answers
                for info in listed.sessions
            ),
            unanswered=unanswered,
        )

    async def stats(self, request: SessionStatsRequest) -> SessionStats:
        """Raises:
        NotFound, BadRequest: no session, or more than one, has such an id.
        Unavailable: the gateway that may have it does not answer.
        """
        info = await self._find(request.session)
        found = await self.ask("local-stats", info.node, replace(request, session=info.session), SessionStats)
        return replace(found, info=replace(found.info, node=info.node, gateway=info.gateway))

    async def kick(self, request: KickSessions) -> KickedSessions:
        """End one session wherever it is, or all of a stream at every gateway.

        Raises:
            InvalidValue: neither session nor stream is given, or both.
            NotFound, BadRequest: no session, or more than one, has such an id.
            Unavailable: the gateway that may have it does not answer.
        """
        check_kick(request)
        if request.session is not None:
            info = await self._find(request.session)
            return await self.ask("local-kick", info.node, replace(request, session=info.session), KickedSessions)
        answers, unanswered = await self.ask_all("local-kick", request, KickedSessions)
        ended = tuple(session for _, kicked in answers for session in kicked.sessions)
        return KickedSessions(sessions=ended, unanswered=unanswered)

    async def ask_all(
        self, verb: str, request: Struct, reply: type[Reply]
    ) -> tuple[list[tuple[Presence, Reply]], tuple[str, ...]]:
        """What each gateway says to its own `verb`, and the nodes of those that say nothing.

        Raises:
            Unavailable: there is no gateway.
        """
        gateways = sorted(self._present(), key=lambda gateway: gateway.node)
        if not gateways:
            raise Unavailable(f"no {SERVICE} is there; start one with `framemesh up`")
        asked = (self.ask(verb, gateway.node, request, reply) for gateway in gateways)
        said: list[Any] = await asyncio.gather(*asked, return_exceptions=True)
        answers, unanswered = [], []
        for gateway, answer in zip(gateways, said, strict=True):
            if isinstance(answer, MeshError):
                unanswered.append(gateway.node)
            elif isinstance(answer, BaseException):
                raise answer
            else:
                answers.append((gateway, answer))
        return answers, tuple(unanswered)

    async def _find(self, session: str) -> SessionInfo:
        check_session(session)
        listed = await self.sessions(ListSessions())
        found = [info for info in listed.sessions if info.session.startswith(session)]
        if len(found) > 1:
            raise BadRequest(f"session {session[:32]!r}: {len(found)} begin so; give more characters")
        if found:
            return found[0]
        if listed.unanswered:
            raise Unavailable(
                f"session {session[:32]!r}: no gateway that answers has it; those on {', '.join(listed.unanswered)} "
                "do not answer, try again"
            )
        raise NotFound(f"session {session[:32]!r}: there is none; `framemesh sessions` lists those that are")

    async def ask(self, verb: str, node: str, request: Struct, reply: type[Reply]) -> Reply:
        """What the gateway of a node says to its own `verb`.

        Raises:
            MeshError: its error, or `Unavailable` when it does not answer.
        """
        return await self._bus.request(command(SERVICE, verb, node), request, reply, _REPLY_SECONDS)


def check_session(session: str) -> None:
    """Raises: InvalidValue: too little of an id to tell sessions apart."""
    if len(session) < MIN_ID_CHARACTERS:
        raise InvalidValue("session", session, f"give at least {MIN_ID_CHARACTERS} characters of its id")


def check_kick(request: KickSessions) -> None:
    """Raises: InvalidValue: neither session nor stream is given, or both."""
    if (request.session is None) == (request.stream is None):
        raise InvalidValue("session", request.session, "give either a session or a stream")


async def present_gateways(bus: Bus) -> list[Presence]:
    """Those of this moment, for who does not follow the mesh's state."""
    bucket = await bus.bucket(PRESENCE_BUCKET)
    entries = await bucket.entries(f"{SERVICE}.>")
    found = (read_entry(entry, Presence) for entry in entries.values())
    return [presence for presence in found if presence is not None]
