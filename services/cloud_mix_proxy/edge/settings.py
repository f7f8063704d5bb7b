"""Settings of the CloudMix API's port."""

from pathlib import Path
from typing import Annotated

from msgspec import Meta

from schemas.service_table import BY_NAME
from shared.settings import Network, Port, Settings


class EdgeSettings(Settings, frozen=True, kw_only=True):
    """Files are read again when they change."""

    http_port: Port = BY_NAME["cloud-mix-proxy"].http_port
    """Of the CloudMix API."""
    access_keys_file: Path | None = None
    """`name: <access key>:<secret key>` lines, for nobody else to read. Without any key only programs of this machine
    are answered, whatever they sign with."""
    access_key: str = ""
    """One key without a file; its tasks are those of the name `main`."""
    secret_key: str = ""
    requests_per_second: Annotated[float, Meta(ge=0, le=10_000, description="0: no limit")] = 10.0
    """Of one name, for each action: what the API's document says."""
    tls_certificate_file: Path | None = None
    tls_key_file: Path | None = None
    tls_client_ca_file: Path | None = None
    """With it, clients need a certificate of one of these authorities."""
    trusted_proxies: tuple[Network, ...] = ()
    """Whose X-Forwarded-For is believed; they must leave the header Host as it is, which is signed."""
    connections_per_address: Annotated[int, Meta(ge=0, le=100_000, description="0: no limit")] = 256
    """HTTP connections that are open at once from one address that is no trusted proxy."""
