"""The HTTP port of a service, out of its settings: who is at the other end, keys and certificates that change, TLS."""

import asyncio
import ipaddress
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from aiohttp import web

from schemas.errors import InvalidValue, MeshError
from shared.door.clients import Clients
from shared.door.connections import Connections
from shared.door.file_watch import FileWatch
from shared.door.http_door import HttpDoor
from shared.door.tls import tls_files, watched_door
from shared.service import Context
from shared.settings import PREFIX


class DoorSettings(Protocol):
    """What the settings of such a service have."""

    @property
    def bind(self) -> str: ...
    @property
    def http_port(self) -> int: ...
    @property
    def tls_certificate_file(self) -> Path | None: ...
    @property
    def tls_key_file(self) -> Path | None: ...
    @property
    def tls_client_ca_file(self) -> Path | None: ...
    @property
    def trusted_proxies(self) -> tuple[str, ...]: ...
    @property
    def connections_per_address(self) -> int: ...


class ServiceDoor:
    """First made, for what is behind it needs to know the clients; then given its keys; then opened."""

    def __init__(self, context: Context[Any], settings: DoorSettings) -> None:
        """Raises: InvalidValue: a trusted proxy is no network."""
        self._context, self._settings = context, settings
        self._watch = FileWatch(self._tell)
        try:
            self.clients = Clients(settings.trusted_proxies)
        except ValueError as error:
            setting = f"{PREFIX}{context.service.upper().replace('-', '_')}_TRUSTED_PROXIES"
            raise InvalidValue(setting, ",".join(settings.trusted_proxies), str(error)) from None

    async def keep_read(self, what: str, path: Path, read: Callable[[], None]) -> None:
        """Have `read`, which swaps what it has read in one assignment, called now and whenever the file changes.

        Raises:
            MeshError: what `read` raises now; what it raises later leaves things as they were, and is an event.
        """

        def begin() -> None:
            self._watch.add(what, (path,), read)
            read()

        await asyncio.to_thread(begin)

    @property
    def local(self) -> bool:
        """Whether only this machine reaches the port."""
        return ipaddress.ip_address(self._settings.bind).is_loopback

    async def open(self, app: web.Application, on_refused: Callable[[], None] = lambda: None) -> int:
        """Listen for the life of the service; the port.

        Args:
            on_refused: told of each connection beyond those that its address may have.

        Raises:
            NotFound, BadRequest: a file of TLS is missing, malformed, or others may use it.
            InvalidValue: one is given without those that it needs.
            Conflict: the port is taken.
        """
        context, settings = self._context, self._settings
        files = tls_files(
            context.service, settings.tls_certificate_file, settings.tls_key_file, settings.tls_client_ca_file
        )
        tls = await asyncio.to_thread(watched_door, files, self._watch)
        connections = Connections(settings.connections_per_address, self.clients, on_refused)
        door = HttpDoor(app, settings.bind, settings.http_port, tls.context if tls else None, connections)
        port = await door.start()
        context.stack.push_async_callback(door.close)
        context.spawn(self._watch.run(), "look for changed keys and certificates")
        address = ipaddress.ip_address(settings.bind)
        shown = "127.0.0.1" if address.is_unspecified else f"[{address}]" if address.version == 6 else str(address)
        context.http_url = f"{'https' if tls else 'http'}://{shown}:{port}/"
        return port

    def _tell(self, what: str, error: MeshError | None) -> None:
        name = "files-refused" if error else "files-reloaded"
        self._context.event(self._context.service, name, error=error.info if error else None, detail={"files": what})
