"""Opens the RTSP server as the settings say."""

import ipaddress
import logging

from schemas.errors import Conflict
from schemas.service_table import BY_NAME
from services.publisher.metrics import register_rtsp_metrics
from services.publisher.rtsp.counters import RtspCounters
from services.publisher.rtsp.credentials import parse_users
from services.publisher.rtsp.feeds import Feeds
from services.publisher.rtsp.server import RtspOptions, RtspServer
from services.publisher.settings import PublisherSettings
from shared.demand import Wants
from shared.service import VERSION, Context
from shared.state import StateMirrors

log = logging.getLogger(__name__)

_USUAL_PORT = BY_NAME["publisher"].rtsp_port
_LOOPBACK = "127.0.0.1"


async def serve_rtsp(context: Context[PublisherSettings], mirrors: StateMirrors, wants: Wants) -> None:
    """Serve RTSP, unless it is off, or nobody asked for a port and the usual one is taken.

    Without users only this machine is served, whatever `bind` says, unless `rtsp_open` does.

    Raises:
        Conflict: a port that was asked for is taken.
        InvalidValue: the users cannot be read.
    """
    settings = context.settings
    if not settings.rtsp:
        return
    users = parse_users(settings.rtsp_users)
    bind = settings.bind
    if not ipaddress.ip_address(bind).is_loopback and not users and not settings.rtsp_open:
        log.warning(
            "RTSP is served to this machine only: for others give FRAMEMESH_PUBLISHER_RTSP_USERS_FILE with"
            " name:password, or set FRAMEMESH_PUBLISHER_RTSP_OPEN=1 to let everybody pull"
        )
        bind = _LOOPBACK
    options = RtspOptions(
        bind=bind,
        port=_USUAL_PORT if settings.rtsp_port is None else settings.rtsp_port,
        udp_port=settings.rtsp_udp_port,
        users=users,
        max_clients=settings.rtsp_max_clients,
        max_clients_per_address=settings.rtsp_max_clients_per_address,
        server=f"framemesh/{VERSION}",
    )
    counters = RtspCounters()
    server = RtspServer(options, Feeds(context.bus, mirrors, wants, settings.shm_dir, counters), counters)
    try:
        await server.start()
    except Conflict as error:
        if settings.rtsp_port is not None or settings.rtsp_udp_port:
            raise Conflict(f"{error.message}; set FRAMEMESH_PUBLISHER_RTSP_PORT or _RTSP_UDP_PORT") from None
        log.warning("no RTSP server: %s; set FRAMEMESH_PUBLISHER_RTSP_PORT", error.message)
        return
    context.stack.push_async_callback(server.close)
    register_rtsp_metrics(context.figures, counters)
    context.rtsp_url = server.url
