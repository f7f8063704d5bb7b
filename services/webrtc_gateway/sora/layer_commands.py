"""The command that has sessions go on with another rendition, for every way of watching, at whichever gateway."""

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any, cast, get_args

from schemas.errors import Conflict, InvalidValue, MeshError, NotFound, Unavailable
from schemas.layers import ChooseLayer, LayerChosen, LayersChosen
from schemas.subjects import command
from services.webrtc_gateway.egress.gateway import WhepGateway
from services.webrtc_gateway.egress.viewer import Viewer
from services.webrtc_gateway.sora.channels import Channels
from services.webrtc_gateway.sora.connection import Connection
from services.webrtc_gateway.sora.downlinks import Source
from services.webrtc_gateway.sora.wishes import WantedRid
from shared.bus import Endpoint
from shared.gateways import SERVICE, Gateways, check_session
from shared.tasks import end_tasks

logger = logging.getLogger(__name__)

_NO_PICTURES = "none"
_MOVE_SECONDS = 1.0  # a key frame is there within this; for what takes longer the asker looks at the sessions


class LayerCommands:
    """Of one gateway; the one that is asked first asks all."""

    def __init__(self, viewers: WhepGateway, channels: Channels, gateways: Gateways, node: str) -> None:
        self._viewers, self._channels, self._gateways, self._node = viewers, channels, gateways, node
        self._moves: set[asyncio.Task[None]] = set()

    def endpoints(self) -> list[Endpoint]:
        return [
            Endpoint(command(SERVICE, "layer"), ChooseLayer, LayersChosen, self.choose),
            Endpoint(command(SERVICE, "local-layer", self._node), ChooseLayer, LayersChosen, self.choose_here),
        ]

    async def close(self) -> None:
        if self._moves:
            await end_tasks(*self._moves)

    async def choose(self, request: ChooseLayer) -> LayersChosen:
        """Wherever the session is.

        Raises:
            InvalidValue: names the field that is wrong.
            NotFound: no such session, or nobody of that id in the channel.
            Conflict: none of them can have that.
            Unavailable: the gateway that may have it does not answer.
        """
        _check(request)
        answers, unanswered = await self._gateways.ask_all("local-layer", request, LayersChosen)
        found = tuple(chosen for _, answer in answers for chosen in answer.sessions)
        if not found and unanswered:
            raise Unavailable(f"gateways on {', '.join(unanswered)} do not answer, and no other one has it; try again")
        if not found:
            where = f"channel {request.channel!r}" if request.channel is not None else f"session {request.session!r}"
            raise NotFound(f"{where}: nobody watches there; `framemesh sessions` lists who watches what")
        if all(chosen.error for chosen in found):
            raise Conflict(found[0].error)
        return LayersChosen(sessions=found)

    async def choose_here(self, request: ChooseLayer) -> LayersChosen:
        """At this gateway; nobody may be meant."""
        _check(request)
        if request.channel is not None:
            channel = self._channels.find(request.channel)
            member = channel.members.get(request.connection_id or "") if channel else None
            return LayersChosen(sessions=_wish(member, request) if member else ())
        found = [each for each in self._viewers.viewers if each.session.startswith(cast(str, request.session))]
        return LayersChosen(sessions=tuple([await self._choose(viewer, request.rendition) for viewer in found]))

    async def _choose(self, viewer: Viewer, rendition: str | None) -> LayerChosen:
        for connection in self._channels.connections:
            for source, steering in connection.steered:
                if steering.viewer is viewer:
                    return _ask(connection, source, viewer, rendition)
        return await self._move(viewer, rendition)

    async def _move(self, viewer: Viewer, rendition: str | None) -> LayerChosen:
        """One that watches by WHEP."""
        if rendition == _NO_PICTURES:
            viewer.withhold_pictures(True)
            return _chosen(viewer)
        move = self._start(self._go(viewer, rendition))
        await asyncio.wait((move,), timeout=_MOVE_SECONDS)
        error = move.exception() if move.done() and not move.cancelled() else None
        return _chosen(viewer, error.message if isinstance(error, MeshError) else str(error) if error else "")

    async def _go(self, viewer: Viewer, rendition: str | None) -> None:
        await self._viewers.move(viewer, rendition)
        viewer.withhold_pictures(False)

    def _start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work, name="layer")
        self._moves.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._moves.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.info("a viewer keeps what it has: %s", error)


def _check(request: ChooseLayer) -> None:
    if (request.session is None) == (request.channel is None):
        raise InvalidValue("session", request.session, "give either a session, or a channel and a connection_id")
    if request.session is not None:
        check_session(request.session)
    elif request.connection_id is None:
        raise InvalidValue("connection_id", None, "say whose pictures: webrtc-gateway.channels lists connections")
    if request.channel is not None:
        _rid(request.rendition)


def _rid(rendition: str | None) -> WantedRid | None:
    if rendition is not None and rendition not in get_args(WantedRid):
        raise InvalidValue("rendition", rendition, f"give {', '.join(get_args(WantedRid))}: a channel has layers")
    return cast(WantedRid | None, rendition)


def _wish(member: Connection, request: ChooseLayer) -> tuple[LayerChosen, ...]:
    """For all that a client watches, or one stream of it."""
    if request.stream is None:
        member.wishes.ask(_rid(request.rendition))
        member.steer()
        return tuple(_chosen(steering.viewer) for _, steering in member.steered)
    return tuple(
        _ask(member, source, steering.viewer, request.rendition)
        for source, steering in member.steered
        if source.stream == request.stream
    )


def _ask(member: Connection, source: Source, viewer: Viewer, rendition: str | None) -> LayerChosen:
    try:
        member.wishes.ask(_rid(rendition), source.key)
    except InvalidValue as error:  # found by its session only now: it is a channel's
        return _chosen(viewer, error.message)
    member.steer()
    return _chosen(viewer)


def _chosen(viewer: Viewer, error: str = "") -> LayerChosen:
    return LayerChosen(
        session=viewer.session,
        stream=viewer.feed.stream,
        rendition=viewer.rendition,
        pictures=not viewer.withheld,
        error=error,
    )
