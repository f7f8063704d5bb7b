"""Settings of the gateway's door: tokens, TLS, limits."""

from pathlib import Path
from typing import Annotated

from msgspec import Meta

from shared.settings import Settings

# A network is judged by `auth.clients`; this only keeps words out.
Network = Annotated[
    str, Meta(pattern=r"^[0-9a-fA-F.:]+(/\d{1,3})?$(?!\n)", description="an address, or a network 10.0.0.0/8")
]
PerSecond = Annotated[float, Meta(ge=0, le=10_000, description="0: no limit")]


class DoorSettings(Settings, frozen=True, kw_only=True):
    """Files are read again when they change; they hold what no setting may hold itself."""

    tokens_file: Path | None = None
    """Tokens and what they are for, as YAML; see `auth.token_file`. With this or `token_key_file` the door is shut to
    whoever has no token."""
    token_key_file: Path | None = None
    """Checks signed tokens: a secret, or an Ed25519 key, public or private, as PEM."""
    token_audience: str = ""
    """What `aud` of a signed token must hold. Empty: it may be left out; when it is there it must hold `framemesh`."""
    tls_certificate_file: Path | None = None
    tls_key_file: Path | None = None
    tls_client_ca_file: Path | None = None
    """With it, clients need a certificate of one of these authorities."""
    hsts_seconds: Annotated[int, Meta(ge=0, le=63_072_000)] = 0
    """Browsers keep to HTTPS for so long; off, as an address that goes back to HTTP would be lost to them."""
    trusted_proxies: tuple[Network, ...] = ()
    """Whose X-Forwarded-For and X-Forwarded-Proto are believed."""
    sessions_per_second: PerSecond = 4.0
    """New sessions of one address or token, after a burst of `max_sessions`."""
    commands_per_second: PerSecond = 20.0
    """Commands and pictures likewise, after a burst of 60."""
    connections_per_address: Annotated[int, Meta(ge=0, le=100_000, description="0: no limit")] = 256
    """HTTP connections that are open at once from one address that is no trusted proxy. A browser has six."""
    failures_per_second: PerSecond = 0.5
    """Wrong tokens of one address likewise, after a burst of 10."""
