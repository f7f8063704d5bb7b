"""The channels of all gateways of a mesh: each gateway is asked, and what they say is put together."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from schemas.errors import NotFound, Unavailable
from schemas.sora import ChannelList, DisconnectChannel, Disconnected, ListChannels, Pushed, PushToChannel
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
        _check_found(told, unanswered, request)
        return Pushed(connections=told, unanswered=unanswered)

    async def disconnect(self, request: DisconnectChannel) -> Disconnected:
        """End connections.

        Raises:
            NotFound: nobody of that channel, or of that id in it, is there.
            Unavailable: where they may be, nobody answers.
        """
        answers, unanswered = await self._gateways.ask_all("local-disconnect", request, Disconnected)
        ended = tuple(each for _, disconnected in answers for each in disconnected.connections)
        _check_found(ended, unanswered, request)
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
        f"{SERVICE}.push": everywhere.push,
        f"{SERVICE}.disconnect": everywhere.disconnect,
    }


def _check_found(
    found: tuple[str, ...], unanswered: tuple[str, ...], request: PushToChannel | DisconnectChannel
) -> None:
    if found:
        return
    about = f"channel {request.channel[:_SHOWN_CHARACTERS]!r}"
    if request.connection_id is not None:
        about = f"connection_id {request.connection_id!r} in {about}"
    if unanswered:
        raise Unavailable(f"{about}: those on {', '.join(unanswered)} do not answer, try again")
    raise NotFound(f"{about}: nobody is connected; webrtc-gateway.channels lists those who are")
