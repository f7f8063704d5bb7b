"""webrtc-gateway's parts: the UDP port, the sessions, the HTTP door, its commands."""

import asyncio
import ipaddress
from typing import Any

from aiohttp import web
from prometheus_client import REGISTRY

from schemas.units import parse_bitrate
from services.webrtc_gateway.auth.door import Door, open_door
from services.webrtc_gateway.commands.job_pictures import JobPictureRoutes
from services.webrtc_gateway.commands.pictures import PictureRoutes
from services.webrtc_gateway.commands.routes import CommandRoutes
from services.webrtc_gateway.congestion.smaller import BusSmaller, Shares
from services.webrtc_gateway.datachannels.bridge import parse_bridges
from services.webrtc_gateway.datachannels.bridges import Bridges
from services.webrtc_gateway.datachannels.metrics import register_data_metrics
from services.webrtc_gateway.egress.bus_source import BusPacketSource
from services.webrtc_gateway.egress.gateway import WhepGateway
from services.webrtc_gateway.egress.metrics import dropped_of, register_metrics, register_tcp_metrics
from services.webrtc_gateway.egress.session_commands import SessionCommands, at_home
from services.webrtc_gateway.egress.source import NotViewable
from services.webrtc_gateway.hls.metrics import register_hls_metrics
from services.webrtc_gateway.hls.packagers import Packagers
from services.webrtc_gateway.hls.routes import HlsRoutes
from services.webrtc_gateway.hls.source import HlsPacketSource
from services.webrtc_gateway.ingest.claims import Claims
from services.webrtc_gateway.ingest.gateway import IngestGateway
from services.webrtc_gateway.ingest.metrics import register_ingest_metrics
from services.webrtc_gateway.ingest.publisher_commands import PublisherCommands
from services.webrtc_gateway.ingest.streams import IngestStreams
from services.webrtc_gateway.settings import GatewaySettings
from services.webrtc_gateway.signalling.whip import WhipRoutes
from services.webrtc_gateway.sora.channels import Channels
from services.webrtc_gateway.sora.commands import ChannelCommands
from services.webrtc_gateway.sora.downlinks import Parts
from services.webrtc_gateway.sora.everywhere import ChannelsEverywhere
from services.webrtc_gateway.sora.everywhere import at_home as channels_at_home
from services.webrtc_gateway.sora.layer_commands import LayerCommands
from services.webrtc_gateway.sora.metrics import register_sora_metrics
from services.webrtc_gateway.sora.routes import SoraRoutes
from services.webrtc_gateway.sora.streams import ChannelStreams
from services.webrtc_gateway.sora.voices import MeshVoices
from services.webrtc_gateway.transport.dtls import DtlsIdentity
from services.webrtc_gateway.transport.hosts import resolve_hosts
from services.webrtc_gateway.transport.ice import SharedIceTransport
from services.webrtc_gateway.transport.ice_servers import IceServers
from services.webrtc_gateway.transport.tcp_transport import TcpTransport
from services.webrtc_gateway.web.http import Routes, build_app
from services.webrtc_gateway.web.origins import Origins
from services.webrtc_gateway.web.recordings import RecordingRoutes
from services.webrtc_gateway.web.status_feed import MeshStatusFeed
from shared.demand import Wants
from shared.door.connections import Connections
from shared.door.http_door import HttpDoor
from shared.gateways import SERVICE, Gateways
from shared.service import VERSION, Context
from shared.state import StateMirrors


async def build(context: Context[GatewaySettings]) -> None:
    """Connect the parts, door last: who can knock is answered."""
    settings = context.settings
    entry = await open_door(context, settings, settings.max_sessions)
    ice_servers = await _ice_servers(context, entry)
    bridged = parse_bridges(settings.bridges, settings.bridge_subjects)
    mirrors = await StateMirrors.open(context.bus)
    context.stack.push_async_callback(mirrors.close)
    wants = Wants(context.bus)
    context.stack.push_async_callback(wants.close)
    transport = await _transport(context)
    gateway = _viewers(context, mirrors, wants, transport)
    bridges = Bridges(context.bus, bridged, gateway.data_plane.counters)
    context.stack.push_async_callback(bridges.close)
    gateway.data_plane.add_user(bridges)
    feed = await MeshStatusFeed.open(context.bus, mirrors, gateway.counters.console_dropped)
    context.stack.push_async_callback(feed.close)
    gateways = Gateways(context.bus, lambda: mirrors.present(SERVICE))
    await _serve_commands(context, gateway, gateways)
    ingest = await _publishers(context, mirrors, transport, gateway)
    packagers = _packagers(context, mirrors, wants)
    _guard_sessions(entry, gateway, ingest)
    origins = Origins(settings.cors_origins)
    parts: list[Routes] = [
        WhipRoutes(ingest, ice_servers),
        CommandRoutes(
            context.bus,
            at_home={**at_home(gateways), **channels_at_home(ChannelsEverywhere(gateways))},
            audit=context.audit,
        ),
        PictureRoutes(context.bus),
        JobPictureRoutes(context.bus),
        RecordingRoutes(context.bus),
        HlsRoutes(packagers),
        await _sora(context, mirrors, transport, ingest, gateway, gateways, entry, origins, ice_servers),
    ]
    app = build_app(
        gateway,
        feed,
        origins,
        parts=parts,
        guard=entry.guard,
        hsts_seconds=settings.hsts_seconds,
        ice_servers=ice_servers,
    )
    await _open_http(context, app, entry)


def _everywhere(settings: GatewaySettings) -> bool:
    return ipaddress.ip_address(settings.bind).is_unspecified


async def _ice_servers(context: Context[GatewaySettings], entry: Door) -> IceServers:
    settings = context.settings
    servers = await asyncio.to_thread(
        IceServers,
        settings.ice_servers,
        username=settings.turn_username,
        credential_file=settings.turn_credential_file,
        secret_file=settings.turn_secret_file,
        credential_seconds=settings.turn_credential_seconds,
    )
    entry.watch.add("TURN credentials", servers.files, servers.read)
    return servers


async def _transport(context: Context[GatewaySettings]) -> SharedIceTransport:
    """The one UDP port, and the TCP port where there is one."""
    settings = context.settings
    bind = "" if _everywhere(settings) else settings.bind
    hosts = await resolve_hosts(settings.webrtc_hosts)
    transport = SharedIceTransport.open(settings.udp_port, hosts, bind, segments=settings.udp_segmentation)
    context.stack.callback(transport.close)
    if settings.tcp_port is not None:
        tcp = await TcpTransport.open(settings.tcp_port, transport)
        context.stack.callback(tcp.close)
        register_tcp_metrics(context.figures, tcp)
    return transport


def _viewers(
    context: Context[GatewaySettings], mirrors: StateMirrors, wants: Wants, transport: SharedIceTransport
) -> WhepGateway:
    settings = context.settings

    def substituted(stream: str, refused: NotViewable, served: str) -> None:
        detail = {"asked": refused.rendition, "served": served, "reason": refused.why}
        context.event(stream, "transcoded", detail=detail)

    def moved(stream: str, detail: dict[str, Any]) -> None:
        context.event(stream, "adapted", detail=detail)

    shares = Shares(settings.smaller_rendition, settings.smaller_edge, settings.smaller_bitrate)
    gateway = WhepGateway(
        BusPacketSource(context.bus, mirrors, wants, settings.shm_dir),
        transport,
        max_sessions=settings.max_sessions,
        on_substitute=substituted,
        show_addresses=settings.show_addresses,
        smaller=BusSmaller(context.bus, mirrors, shares) if settings.adapt else None,
        on_moved=moved,
    )
    context.stack.push_async_callback(gateway.close)
    register_metrics(context.figures, gateway)
    context.dropped = lambda: dropped_of(gateway)
    gateway.timings.register(REGISTRY)
    register_data_metrics(context.figures, gateway.data_plane.counters)
    return gateway


async def _serve_commands(context: Context[GatewaySettings], gateway: WhepGateway, gateways: Gateways) -> None:
    def kicked(stream: str, detail: dict[str, str]) -> None:
        context.event(stream, "kicked", detail=detail)

    endpoints = SessionCommands(gateway, kicked, context.node).endpoints(gateways)
    served = await context.bus.serve(SERVICE, VERSION, "The HTTP and WebRTC front door.", endpoints)
    context.stack.push_async_callback(served.close)


async def _publishers(
    context: Context[GatewaySettings], mirrors: StateMirrors, transport: SharedIceTransport, gateway: WhepGateway
) -> IngestGateway:
    settings = context.settings
    ingest = IngestGateway(
        IngestStreams(context.bus, mirrors, context.node),
        Claims(context.bus, context.node),
        transport,
        max_publishers=settings.max_publishers,
        max_bps=parse_bitrate(settings.publish_bitrate, "publish_bitrate"),
        data_plane=gateway.data_plane,
        on_event=lambda stream, name, detail: context.event(stream, name, detail=detail),
    )
    context.stack.push_async_callback(ingest.close)
    register_ingest_metrics(context.figures, ingest)
    endpoints = ingest.endpoints(context.node)
    served = await context.bus.serve(SERVICE, VERSION, "Which gateway publishes a stream.", endpoints)
    context.stack.push_async_callback(served.close)
    return ingest


def _packagers(context: Context[GatewaySettings], mirrors: StateMirrors, wants: Wants) -> Packagers:
    packagers = Packagers(HlsPacketSource(context.bus, mirrors, wants, context.settings.shm_dir))
    context.stack.push_async_callback(packagers.close)
    register_hls_metrics(context.figures, packagers)
    return packagers


def _guard_sessions(entry: Door, gateway: WhepGateway, ingest: IngestGateway) -> None:
    """A token that is taken back ends what was opened with it."""
    entry.guard.enders += [lambda _, session: gateway.delete(session), ingest.delete]
    entry.guard.owners.alive += [lambda _, session: gateway.exists(session), ingest.exists]


async def _sora(
    context: Context[GatewaySettings],
    mirrors: StateMirrors,
    transport: SharedIceTransport,
    ingest: IngestGateway,
    gateway: WhepGateway,
    gateways: Gateways,
    entry: Door,
    origins: Origins,
    ice_servers: IceServers,
) -> SoraRoutes:
    channels = Channels(
        Parts(transport, DtlsIdentity(), ingest, gateway, ChannelStreams(mirrors), ice_servers),
        on_event=lambda stream, name, detail: context.event(stream, name, detail=detail),
    )
    ingest.on_speaking = channels.speaks
    voices = MeshVoices(channels, ingest)
    context.stack.push_async_callback(voices.close)
    await voices.open(context.bus)
    layers = LayerCommands(gateway, channels, gateways, context.node)
    context.stack.push_async_callback(layers.close)
    publishers = PublisherCommands(ingest, gateways, context.node)
    endpoints = [
        *ChannelCommands(channels, context.node).endpoints(ChannelsEverywhere(gateways)),
        *layers.endpoints(),
        *publishers.endpoints(),
    ]
    served = await context.bus.serve(SERVICE, VERSION, "Channels of clients, and who publishes.", endpoints)
    context.stack.push_async_callback(served.close)
    mirrors.on_change(channels.look_again)
    sora = SoraRoutes(channels, entry.guard, origins, context.settings.publish_bitrate, context.settings.sora_redirects)
    register_sora_metrics(context.figures, channels, sora)
    return sora


async def _open_http(context: Context[GatewaySettings], app: web.Application, entry: Door) -> None:
    settings = context.settings

    def refused() -> None:
        entry.guard.refused["connections"] += 1

    connections = Connections(settings.connections_per_address, entry.guard.clients, refused)
    door = HttpDoor(app, settings.bind, settings.http_port, entry.context, connections)
    port = await door.start()
    context.stack.push_async_callback(door.close)
    shown = "127.0.0.1" if _everywhere(settings) else settings.bind
    context.http_url = f"{entry.scheme}://{shown}:{port}/"
