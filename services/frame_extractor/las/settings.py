"""Settings of the HTTP API."""

from pathlib import Path
from typing import Annotated

from msgspec import Meta

from schemas.service_table import BY_NAME
from services.frame_extractor.storage.settings import StorageSettings
from shared.settings import Network, Port

HttpUrl = Annotated[str, Meta(pattern=r"^(https?://[^/?#@\s]+(/[^?#\s]*)?)?$(?!\n)", description="https://host[:port]")]


class LasSettings(StorageSettings, frozen=True, kw_only=True):
    """Files are read again when they change."""

    http_port: Port = BY_NAME["frame-extractor"].http_port
    api_keys_file: Path | None = None
    """`name: key` lines, for nobody else to read. Without it only programs of this machine are answered, with any
    key."""
    live_keys: tuple[str, ...] = ()
    """Names of keys that may look at live streams (`GET /frame`); who submits jobs may not for that alone."""
    requests_per_minute: Annotated[int, Meta(ge=1, le=1_000_000)] = 600
    """Of one key."""
    parallel_requests: Annotated[int, Meta(ge=1, le=10_000)] = 10
    """Of one key, at once."""
    link_seconds: Annotated[int, Meta(ge=1, le=7 * 86_400)] = 86_400
    """How long an `http_url` can be fetched; each poll gives new ones. Object stores sign for a week at most."""
    link_key_file: Path | None = None
    """Signs links; made where there is none. None: in the data folder. Extractors behind one address share it."""
    public_url: HttpUrl = ""
    """How clients reach this port, `https://frames.example`; empty: as they say themselves."""
    tls_certificate_file: Path | None = None
    tls_key_file: Path | None = None
    tls_client_ca_file: Path | None = None
    """With it, clients need a certificate of one of these authorities."""
    trusted_proxies: tuple[Network, ...] = ()
    """Whose X-Forwarded-For and X-Forwarded-Proto are believed."""
    connections_per_address: Annotated[int, Meta(ge=0, le=100_000, description="0: no limit")] = 256
    """HTTP connections that are open at once from one address that is no trusted proxy."""
