"""The guard and TLS out of the settings, and what keeps them as their files are."""

import asyncio
import ipaddress
import logging
import ssl
from dataclasses import dataclass
from typing import Any

from schemas.errors import InvalidValue, MeshError
from services.webrtc_gateway.auth.cookies import Cookies, cookie_key
from services.webrtc_gateway.auth.guard import Guard
from services.webrtc_gateway.auth.metrics import register_door_metrics
from services.webrtc_gateway.auth.settings import DoorSettings
from services.webrtc_gateway.auth.token_file import read_tokens
from services.webrtc_gateway.auth.tokens import Tokens
from shared.door.clients import Clients
from shared.door.file_watch import FileWatch
from shared.door.tls import TlsDoor, tls_files, watched_door
from shared.service import Context
from shared.tokens import read_key

logger = logging.getLogger(__name__)

_PREFIX = "FRAMEMESH_WEBRTC_GATEWAY_"


@dataclass(frozen=True)
class Door:
    """Who is let in, and through what."""

    guard: Guard
    tls: TlsDoor | None
    watch: FileWatch
    """Looks whether files have changed."""

    @property
    def context(self) -> ssl.SSLContext | None:
        """For the listening socket."""
        return self.tls.context if self.tls else None

    @property
    def scheme(self) -> str:
        return "https" if self.tls else "http"


async def open_door(context: Context[Any], settings: DoorSettings, session_burst: int) -> Door:
    """Read the files of the settings, and again whenever they change.

    Raises:
        NotFound, BadRequest: a file is missing, malformed, or others may use it.
        InvalidValue: a setting lacks another one, or is none.
    """

    def tell(what: str, error: MeshError | None) -> None:
        name = "files-refused" if error else "files-reloaded"
        context.event(context.service, name, error=error.info if error else None, detail={"files": what})
        guard.end_withdrawn()

    watch = FileWatch(tell)
    tokens = await asyncio.to_thread(_tokens, settings, watch)
    tls = await asyncio.to_thread(_tls, settings, watch)
    if not tokens.configured and not ipaddress.ip_address(settings.bind).is_loopback:
        logger.warning(
            "whoever reaches %s may watch, publish and give commands: set %sTOKENS_FILE or %sTOKEN_KEY_FILE",
            settings.bind,
            _PREFIX,
            _PREFIX,
        )
    key = await asyncio.to_thread(cookie_key, settings.data_dir / "webrtc-gateway")
    try:
        clients = Clients(settings.trusted_proxies)
    except ValueError as error:
        raise InvalidValue(f"{_PREFIX}TRUSTED_PROXIES", ",".join(settings.trusted_proxies), str(error)) from None
    guard = Guard(
        tokens,
        Cookies(key),
        clients,
        sessions_per_second=settings.sessions_per_second,
        session_burst=session_burst,
        commands_per_second=settings.commands_per_second,
        failures_per_second=settings.failures_per_second,
    )
    register_door_metrics(context.figures, guard)
    context.spawn(watch.run(), "look for changed tokens and certificates")
    return Door(guard, tls, watch)


def _tokens(settings: DoorSettings, watch: FileWatch) -> Tokens:
    tokens = Tokens(audience=settings.token_audience)
    if settings.tokens_file is not None:
        tokens_file = settings.tokens_file

        def read_file() -> None:
            tokens.known = read_tokens(tokens_file)

        watch.add("tokens", (tokens_file,), read_file)
        read_file()
    if settings.token_key_file is not None:
        key_file = settings.token_key_file

        def read_token_key() -> None:
            tokens.key = read_key(key_file)

        watch.add("token key", (key_file,), read_token_key)
        read_token_key()
    return tokens


def _tls(settings: DoorSettings, watch: FileWatch) -> TlsDoor | None:
    files = tls_files(
        "webrtc-gateway", settings.tls_certificate_file, settings.tls_key_file, settings.tls_client_ca_file
    )
    return watched_door(files, watch)
