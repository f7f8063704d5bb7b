"""The HTTP API, listening: keys, TLS and links out of the settings, and the routes."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol

from aiohttp import web

from services.frame_extractor.las.about import AboutRoutes
from services.frame_extractor.las.admission import Admission
from services.frame_extractor.las.body import MAX_BODY_BYTES
from services.frame_extractor.las.exchange import Exchange
from services.frame_extractor.las.keys import ApiKeys, read_api_keys
from services.frame_extractor.las.links import Links, link_key
from services.frame_extractor.las.pictures import Pictures, Store
from services.frame_extractor.las.settings import LasSettings
from services.frame_extractor.las.tasks import Jobs, TaskRoutes
from shared.door.quiet_logs import keep_tokens_out
from shared.door.service_door import ServiceDoor
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
    door = ServiceDoor(context, settings)
    admission = Admission(None, door.clients, settings.requests_per_minute, settings.parallel_requests)
    await _keep_keys(door, admission, settings)
    key_file = settings.link_key_file or settings.data_dir / "frame-extractor" / "link.key"
    links = Links(await asyncio.to_thread(link_key, key_file))
    pictures = Pictures(store, links, settings.link_seconds, door.clients, settings.public_url)
    exchange = Exchange()
    about = AboutRoutes(lambda: context.bus.connected)
    app = build_app(
        exchange, (TaskRoutes(jobs, admission, pictures, audit=context.audit), pictures, about, *parts(admission))
    )
    port = await door.open(app, exchange.turned_away)
    context.figures.counter(
        "framemesh_frame_extractor_http_answers",
        "HTTP requests answered, by status.",
        lambda: [({"status": status}, count) for status, count in tuple(exchange.answers.items())],
    )
    return port


def build_app(exchange: Exchange, parts: Sequence[Routes]) -> web.Application:
    """Everything that is served."""
    app = web.Application(client_max_size=MAX_BODY_BYTES, middlewares=[exchange.middleware()])
    app.on_response_prepare.append(exchange.add_headers)
    keep_tokens_out()
    for part in parts:
        part.add_to(app)
    return app


async def _keep_keys(door: ServiceDoor, admission: Admission, settings: LasSettings) -> None:
    path = settings.api_keys_file
    if path is not None:

        def read() -> None:
            admission.keys = read_api_keys(path)

        await door.keep_read("API keys", path, read)
    elif not door.local:
        # Shut, not open: whoever reaches the port could have this machine fetch videos and write pictures.
        admission.keys = ApiKeys()
        logger.warning("nobody can submit tasks at %s: set %sAPI_KEYS_FILE", settings.bind, _PREFIX)
