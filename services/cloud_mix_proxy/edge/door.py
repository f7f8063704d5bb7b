"""The CloudMix API, listening: keys and TLS out of the settings, and the actions behind them."""

import logging
from typing import Any, Final

from services.cloud_mix_proxy.edge.actions import Tasks
from services.cloud_mix_proxy.edge.admission import Admission
from services.cloud_mix_proxy.edge.exchange import Exchange
from services.cloud_mix_proxy.edge.keys import AccessKeys, read_keys
from services.cloud_mix_proxy.edge.settings import EdgeSettings
from shared.door.service_door import ServiceDoor
from shared.service import Context

logger = logging.getLogger(__name__)

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
    door = ServiceDoor(context, settings)
    admission = Admission(None, door.clients, settings.requests_per_second)
    await _keep_keys(door, admission, settings)
    exchange = Exchange(tasks, admission, trusted=trusted, audit=context.audit)
    port = await door.open(exchange.app())
    context.figures.counter(
        "framemesh_cloud_mix_proxy_http_answers",
        "Requests of the CloudMix API answered, by action (none: of no known one) and HTTP status.",
        lambda: [
            ({"action": action, "status": status}, count) for (action, status), count in tuple(exchange.answers.items())
        ],
    )
    context.figures.counter(
        "framemesh_cloud_mix_proxy_signatures_refused",
        "Requests of the CloudMix API whose signature was no good, by code.",
        lambda: [({"code": code}, count) for code, count in tuple(admission.refused.items())],
    )
    return port


async def _keep_keys(door: ServiceDoor, admission: Admission, settings: EdgeSettings) -> None:
    path = settings.access_keys_file

    def read() -> None:
        admission.keys = read_keys(path, settings.access_key, settings.secret_key)

    if path is not None:
        await door.keep_read("access keys", path, read)
    elif settings.access_key or settings.secret_key:
        read()
    elif not door.local:
        # Shut, not open: whoever reaches the port could have this machine fetch videos and push them anywhere.
        admission.keys = AccessKeys()
        logger.warning("nobody can make CloudMix tasks at %s: set %sACCESS_KEYS_FILE", settings.bind, _PREFIX)
