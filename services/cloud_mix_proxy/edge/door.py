"""The CloudMix API, listening: keys and TLS out of the settings, and the actions behind them."""

import asyncio
import ipaddress
import logging
from typing import Any, Final

from schemas.errors import InvalidValue, MeshError
from services.cloud_mix_proxy.edge.actions import Tasks
from services.cloud_mix_proxy.edge.admission import Admission
from services.cloud_mix_proxy.edge.exchange import Exchange
from services.cloud_mix_proxy.edge.keys import AccessKeys, read_keys
from services.cloud_mix_proxy.edge.settings import EdgeSettings
from shared.door.clients import Clients
from shared.door.connections import Connections
from shared.door.file_watch import FileWatch
from shared.door.http_door import HttpDoor
from shared.door.tls import tls_files, watched_door
from shared.service import Context

logger = logging.getLogger(__name__)

SERVICE: Final = "cloud-mix-proxy"
_PREFIX: Final = "FRAMEMESH_CLOUD_MIX_PROXY_"


async def serve_edge(context: Context[Any], settings: EdgeSettings, tasks: Tasks, *, trusted: bool = False) -> int:
    """Serve the API for the life of the service; returns the port.

    Args:
        trusted: whoever has a key may name files, cameras and streams of the mesh.

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
    admission = Admission(None, clients, settings.requests_per_second)
    await asyncio.to_thread(_watch_keys, admission, settings, watch)
    files = tls_files(SERVICE, settings.tls_certificate_file, settings.tls_key_file, settings.tls_client_ca_file)
    tls = await asyncio.to_thread(watched_door, files, watch)
    exchange = Exchange(tasks, admission, trusted=trusted)
    connections = Connections(settings.connections_per_address, clients)
    door = HttpDoor(exchange.app(), settings.bind, settings.http_port, tls.context if tls else None, connections)
    port = await door.start()
    context.stack.push_async_callback(door.close)
    context.spawn(watch.run(), "look for changed access keys and certificates")
    context.figures.counter(
        "framemesh_cloud_mix_proxy_http_answers",
        "Requests of the CloudMix API answered, by action (none: of no known one) and HTTP status.",
        lambda: [({"action": action, "status": status}, count) for (action, status), count in exchange.answers.items()],
    )
    context.figures.counter(
        "framemesh_cloud_mix_proxy_signatures_refused",
        "Requests of the CloudMix API whose signature was no good, by code.",
        lambda: [({"code": code}, count) for code, count in admission.refused.items()],
    )
    address = ipaddress.ip_address(settings.bind)
    shown = "127.0.0.1" if address.is_unspecified else f"[{address}]" if address.version == 6 else str(address)
    context.http_url = f"{'https' if tls else 'http'}://{shown}:{port}/"
    return port


def _watch_keys(admission: Admission, settings: EdgeSettings, watch: FileWatch) -> None:
    path = settings.access_keys_file
    if path is not None or settings.access_key or settings.secret_key:

        def read() -> None:
            admission.keys = read_keys(path, settings.access_key, settings.secret_key)

        if path is not None:
            watch.add("access keys", (path,), read)
        read()
    elif not ipaddress.ip_address(settings.bind).is_loopback:
        # Shut, not open: whoever reaches the port could have this machine fetch videos and push them anywhere.
        admission.keys = AccessKeys()
        logger.warning("nobody can make CloudMix tasks at %s: set %sACCESS_KEYS_FILE", settings.bind, _PREFIX)
