"""The HTTP API, listening: keys, TLS and links out of the settings, and the routes."""

import asyncio
import ipaddress
import logging
from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol

from aiohttp import web

from schemas.errors import InvalidValue, MeshError
from services.frame_extractor.las.about import AboutRoutes
from services.frame_extractor.las.admission import Admission
from services.frame_extractor.las.body import MAX_BODY_BYTES
from services.frame_extractor.las.exchange import Exchange
from services.frame_extractor.las.keys import ApiKeys, read_api_keys
from services.frame_extractor.las.links import Links, link_key
from services.frame_extractor.las.pictures import Pictures, Store
from services.frame_extractor.las.settings import LasSettings
from services.frame_extractor.las.tasks import Jobs, TaskRoutes
from shared.door.clients import Clients
from shared.door.connections import Connections
from shared.door.file_watch import FileWatch
from shared.door.http_door import HttpDoor
from shared.door.quiet_logs import keep_tokens_out
from shared.door.tls import TlsDoor, tls_files, watched_door
from shared.service import Context

logger = logging.getLogger(__name__)

_PREFIX: Final = "FRAMEMESH_FRAME_EXTRACTOR_"


class Routes(Protocol):
    """One part of what is served."""

    def add_to(self, app: web.Application) -> None: ...


async def serve_las(
    context: Context[Any],
    settings: LasSettings,
    jobs: Jobs,
    store: Store,
    parts: Callable[[Admission], Sequence[Routes]] = lambda _: (),
) -> int:
    """Serve the API for the life of the service, and `parts` on the same port; returns the port.

    Raises:
        NotFound, BadRequest: a file of the settings is missing, malformed, or others may use it.
        InvalidValue: a setting lacks another one, or is none.
        Conflict: the port is taken.
    """

    def tell(what: str, error: MeshError | None) -> None:
        name = "files-refused" if error else "files-reloaded"
        context.event(context.service, name, error=error.info if error else None, detail={"files": what})

    watch = FileWatch(tell)
    try:
        clients = Clients(settings.trusted_proxies)
    except ValueError as error:
        raise InvalidValue(f"{_PREFIX}TRUSTED_PROXIES", ",".join(settings.trusted_proxies), str(error)) from None
    admission = Admission(None, clients, settings.requests_per_minute, settings.parallel_requests)
    await asyncio.to_thread(_watch_keys, admission, settings, watch)
    tls = await asyncio.to_thread(_tls, settings, watch)
    key_file = settings.link_key_file or settings.data_dir / "frame-extractor" / "link.key"
    links = Links(await asyncio.to_thread(link_key, key_file))
    pictures = Pictures(store, links, settings.link_seconds, clients, settings.public_url)
    exchange = Exchange()
    about = AboutRoutes(lambda: context.bus.connected)
    app = build_app(exchange, (TaskRoutes(jobs, admission, pictures), pictures, about, *parts(admission)))
    connections = Connections(settings.connections_per_address, clients, exchange.turned_away)
    door = HttpDoor(app, settings.bind, settings.http_port, tls.context if tls else None, connections)
    port = await door.start()
    context.stack.push_async_callback(door.close)
    context.spawn(watch.run(), "look for changed API keys and certificates")
    context.figures.counter(
        "framemesh_frame_extractor_http_answers",
        "HTTP requests answered, by status.",
        lambda: [({"status": status}, count) for status, count in exchange.answers.items()],
    )
    address = ipaddress.ip_address(settings.bind)
    shown = "127.0.0.1" if address.is_unspecified else f"[{address}]" if address.version == 6 else str(address)
    context.http_url = f"{'https' if tls else 'http'}://{shown}:{port}/"
    return port


def build_app(exchange: Exchange, parts: Sequence[Routes]) -> web.Application:
    """Everything that is served."""
    app = web.Application(client_max_size=MAX_BODY_BYTES, middlewares=[exchange.middleware()])
    app.on_response_prepare.append(exchange.add_headers)
    keep_tokens_out()
    for part in parts:
        part.add_to(app)
    return app


def _watch_keys(admission: Admission, settings: LasSettings, watch: FileWatch) -> None:
    if settings.api_keys_file is not None:
        path = settings.api_keys_file

        def read() -> None:
            admission.keys = read_api_keys(path)

        watch.add("API keys", (path,), read)
        read()
    elif not ipaddress.ip_address(settings.bind).is_loopback:
        # Shut, not open: whoever reaches the port could have this machine fetch videos and write pictures.
        admission.keys = ApiKeys()
        logger.warning("nobody can submit tasks at %s: set %sAPI_KEYS_FILE", settings.bind, _PREFIX)


def _tls(settings: LasSettings, watch: FileWatch) -> TlsDoor | None:
    files = tls_files(
        "frame-extractor", settings.tls_certificate_file, settings.tls_key_file, settings.tls_client_ca_file
    )
    return watched_door(files, watch)
