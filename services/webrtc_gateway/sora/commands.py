"""The commands about channels: who is in them, tell them something, end them."""

import logging

from schemas.errors import NotFound
from schemas.sora import (
    ChannelConnection,
    ChannelInfo,
    ChannelList,
    ClientStats,
    ClientStatsRequest,
    DisconnectChannel,
    Disconnected,
    ListChannels,
    Pushed,
    PushToChannel,
)
from schemas.subjects import command
from services.webrtc_gateway.sora.channels import Channel, Channels
from services.webrtc_gateway.sora.connection import NORMAL, Connection
from services.webrtc_gateway.sora.everywhere import ChannelsEverywhere, check_push
from services.webrtc_gateway.sora.messages import Push
from services.webrtc_gateway.sora.names import rights_name
from shared.bus import Endpoint
from shared.gateways import SERVICE

logger = logging.getLogger(__name__)

_SHOWN_CHARACTERS = 32


class ChannelCommands:
    """Answers for the channels of one gateway."""

    def __init__(self, channels: Channels, node: str) -> None:
        self._channels, self._node = channels, node

    def endpoints(self, everywhere: ChannelsEverywhere) -> list[Endpoint]:
        """Of this gateway, and of all, which whoever is asked first asks."""
        return [
            Endpoint(command(SERVICE, "channels"), ListChannels, ChannelList, everywhere.list),
            Endpoint(command(SERVICE, "client-stats"), ClientStatsRequest, ClientStats, everywhere.client_stats),
            Endpoint(command(SERVICE, "push"), PushToChannel, Pushed, everywhere.push),
            Endpoint(command(SERVICE, "disconnect"), DisconnectChannel, Disconnected, everywhere.disconnect),
            Endpoint(command(SERVICE, "local-channels", self._node), ListChannels, ChannelList, self.list),
            Endpoint(
                command(SERVICE, "local-client-stats", self._node), ClientStatsRequest, ClientStats, self.client_stats
            ),
            Endpoint(command(SERVICE, "local-push", self._node), PushToChannel, Pushed, self.push),
            Endpoint(
                command(SERVICE, "local-disconnect", self._node), DisconnectChannel, Disconnected, self.disconnect
            ),
        ]

    async def list(self, request: ListChannels) -> ChannelList:
        found = [channel for channel in self._channels.all if request.channel in (None, channel.id)]
        return ChannelList(channels=tuple(channel_info(channel, self._node) for channel in found))

    async def client_stats(self, request: ClientStatsRequest) -> ClientStats:
        """Raises:
        NotFound: no such channel, or nobody of that id in it.
        """
        reports = self._find(request.channel, request.connection_id)[0].reports
        return ClientStats(reported_ns=reports.at_ns, reported=reports.all())

    async def push(self, request: PushToChannel) -> Pushed:
        """Say something to those who are connected, if anybody is.

        Raises:
            InvalidValue: `data` is too large, or nested too deeply for clients.
        """
        check_push(request)
        message = Push(request.data)
        found = [member for member in self._members(request.channel, request.connection_id) if member.live]
        for member in found:
            member.say(message)
        return Pushed(connections=tuple(member.id for member in found))

    async def disconnect(self, request: DisconnectChannel) -> Disconnected:
        """End connections, as clients call it: by API."""
        found = self._members(request.channel, request.connection_id)
        logger.info("channel %r: %d connections ended, %r", request.channel, len(found), request.reason)
        for member in found:
            member.because = request.reason
            member.stop(NORMAL, "DISCONNECTED-API")
        return Disconnected(connections=tuple(member.id for member in found))

    def _members(self, name: str, connection_id: str | None) -> tuple[Connection, ...]:
        channel = self._channels.find(name)
        members = channel.members.values() if channel else ()
        return tuple(member for member in members if connection_id in (None, member.id))

    def _find(self, name: str, connection_id: str | None) -> tuple[Connection, ...]:
        channel = self._channels.find(name)
        if channel is None:
            raise NotFound(
                f"channel {name[:_SHOWN_CHARACTERS]!r}: nobody is in it; webrtc-gateway.channels lists those that are"
            )
        found = tuple(member for member in channel.members.values() if connection_id in (None, member.id))
        if not found:
            raise NotFound(f"connection_id {connection_id!r}: it is not in channel {name[:_SHOWN_CHARACTERS]!r}")
        return found


def channel_info(channel: Channel, node: str) -> ChannelInfo:
    return ChannelInfo(
        channel=channel.id,
        stream=rights_name(channel.id),
        session_id=channel.session_id,
        node=node,
        connections=tuple(map(_connection_info, channel.members.values())),
    )


def _connection_info(member: Connection) -> ChannelConnection:
    return ChannelConnection(
        connection_id=member.id,
        client_id=member.client_id,
        bundle_id=member.bundle_id,
        role=member.role,
        audio="audio" in member.kinds,
        video="video" in member.kinds,
        stream=member.stream,
        watches=member.watches,
        connected_ns=member.connected_ns,
        client=member.client,
        signalling="data_channels" if member.ways.switched else "websocket",
        labels=tuple(label.label for label in member.labels),
        audio_streaming_language_code=(member.connect.audio_streaming_language_code or "")[:_SHOWN_CHARACTERS],
        metadata=member.connect.signaling_notify_metadata,
    )
