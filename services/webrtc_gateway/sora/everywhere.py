"""The channels of all gateways of a mesh: each gateway is asked, and what they say is put together."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from schemas.errors import MeshError, NotFound, Unavailable
from schemas.sora import (
    ChannelList,
    ClientStats,
    ClientStatsRequest,
    DisconnectChannel,
    Disconnected,
    ListChannels,
    Pushed,
    PushToChannel,
)
from services.webrtc_gateway.sora.nesting import check_told
from shared.gateways import SERVICE, Gateways

MAX_PUSH_BYTES = 32 * 1024  # it waits in memory for every client that is slow
_SHOWN_CHARACTERS = 32


class ChannelsEverywhere:
    """Asks those gateways that are there."""

    def __init__(self, gateways: Gateways) -> None:
        self._gateways = gateways

    async def list(self, request: ListChannels) -> ChannelList:
        answers, unanswered = await self._gateways.ask_all("local-channels", request, ChannelList)
        return ChannelList(
            channels=tuple(channel for _, listed in answers for channel in listed.channels), unanswered=unanswered
        )

    async def client_stats(self, request: ClientStatsRequest) -> ClientStats:
        """What one client tells of its side.

        Raises:
            NotFound: nobody of that id is in that channel.
            Unavailable: where it may be, nobody answers.
        """
        listed = await self.list(ListChannels(channel=request.channel))
        for channel in listed.channels:
            if any(each.connection_id == request.connection_id for each in channel.connections):
                return await self._gateways.ask("local-client-stats", channel.node, request, ClientStats)
        raise _nobody(listed.unanswered, request)

    async def push(self, request: PushToChannel) -> Pushed:
        """Say something to those who are connected.

        Raises:
            InvalidValue: `data` is too large, or nested too deeply for clients.
            NotFound: nobody of that channel, or of that id in it, is connected.
            Unavailable: where they may be, nobody answers.
        """
        check_push(request)
        answers, unanswered = await self._gateways.ask_all("local-push", request, Pushed)
        told = tuple(each for _, pushed in answers for each in pushed.connections)
        if not told:
            raise _nobody(unanswered, request)
        return Pushed(connections=told, unanswered=unanswered)

    async def disconnect(self, request: DisconnectChannel) -> Disconnected:
        """End connections.

        Raises:
            NotFound: nobody of that channel, or of that id in it, is there.
            Unavailable: where they may be, nobody answers.
        """
        answers, unanswered = await self._gateways.ask_all("local-disconnect", request, Disconnected)
        ended = tuple(each for _, disconnected in answers for each in disconnected.connections)
        if not ended:
            raise _nobody(unanswered, request)
        return Disconnected(connections=ended, unanswered=unanswered)


def check_push(request: PushToChannel) -> None:
    """Raises:
    InvalidValue: `data` is too large, or nested too deeply for clients.
    """
    check_told("data", request.data, MAX_PUSH_BYTES)


def at_home(everywhere: ChannelsEverywhere) -> Mapping[str, Callable[[Any], Awaitable[Any]]]:
    """What a gateway's own door asks for by itself, as `egress.session_commands.at_home`."""
    return {
        f"{SERVICE}.channels": everywhere.list,
        f"{SERVICE}.client-stats": everywhere.client_stats,
        f"{SERVICE}.push": everywhere.push,
        f"{SERVICE}.disconnect": everywhere.disconnect,
    }


def _nobody(unanswered: tuple[str, ...], request: PushToChannel | DisconnectChannel | ClientStatsRequest) -> MeshError:
    about = f"channel {request.channel[:_SHOWN_CHARACTERS]!r}"
    if request.connection_id is not None:
        about = f"connection_id {request.connection_id!r} in {about}"
    if unanswered:
        return Unavailable(f"{about}: those on {', '.join(unanswered)} do not answer, try again")
    return NotFound(f"{about}: nobody is connected; webrtc-gateway.channels lists those who are")
