"""A nats-server as one of a cluster: what its configuration says besides that of a server of its own.

Three servers on three hosts keep the mesh's state together and go on when one of them is lost. Routes between servers
may do everything, so a certificate of the mesh's CA is not enough for one: every party has such a certificate. Only the
keys that are named here are taken, those of the servers themselves.
"""

import re
from dataclasses import dataclass
from pathlib import Path

from schemas.errors import BadRequest, InvalidValue, NotFound, Unavailable
from services.launcher.nats_text import quoted

CLUSTER_NAME = "framemesh"
ROUTE_PORT = 6222
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
_ADDRESS = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9.-]+)(:(\d{1,5}))?")
_FINGERPRINT = re.compile(r"[0-9a-f]{64}")
_MAX_PORT = 65_535
MOST_COPIES = 5  # of a bucket that JetStream makes, FRAMEMESH_NATS_REPLICAS at most
_ROUTE_PING_SECONDS = 2
_MAX_OUTSTANDING_PINGS = 2
_LEAST_SERVERS = 3


@dataclass(frozen=True)
class RouteTls:
    """What a server shows to the others, and takes from them. Paths, PEM, as the server finds them."""

    ca: Path
    certificate: Path
    """Of servers: it is shown by the one that calls and by the one that is called."""
    key: Path
    keys: tuple[str, ...]
    """`key_fingerprint` of the certificates of all servers, which may have one together, and of one that is to come."""


@dataclass(frozen=True)
class ClusterServer:
    """One server of a cluster."""

    name: str
    """Of this server: it stays the same for as long as its folder."""
    routes: tuple[str, ...]
    """`host:port` of all servers; its own may be among them."""
    listen: str = f"0.0.0.0:{ROUTE_PORT}"
    tls: RouteTls | None = None
    """None: routes that are not protected, as between the servers of a test on one machine."""
    cluster: str = CLUSTER_NAME


def cluster_lines(server: ClusterServer) -> str:
    """`server_name` and the `cluster` block of nats.conf.

    Raises:
        InvalidValue: a name or an address that is none, or too few routes.
        BadRequest, NotFound, Unavailable: a certificate that cannot be read.
    """
    _check_name("--name", server.name)
    _check_name("--cluster", server.cluster)
    routes = list(dict.fromkeys(_address("--route", route) for route in server.routes))
    if len(routes) < _LEAST_SERVERS:
        raise InvalidValue(
            "--route", ", ".join(routes), "name all servers of the cluster, three at least: two cannot lose one"
        )
    listen = _address("--listen-routes", server.listen)
    lines = [
        f'server_name: "{server.name}"',
        "cluster {",
        f'  name: "{server.cluster}"',
        f'  listen: "{listen}"',
        # Clients have the list of the servers, by names that they know and that are in the certificates.
        "  no_advertise: true",
        # A server that is cut off says no goodbye, and what is meant for it is lost: given up after about 6 s, as
        # clients give up theirs. nats-server's own two minutes leave commands unanswered for that long.
        f'  ping_interval: "{_ROUTE_PING_SECONDS}s"',
        f"  ping_max: {_MAX_OUTSTANDING_PINGS}",
        "  routes: [",
        *(f'    "nats-route://{route}"' for route in routes),
        "  ]",
    ]
    if server.tls is not None:
        lines += ["  " + line for line in _tls_lines(server.tls)]
    return "\n".join([*lines, "}", ""])


def _tls_lines(tls: RouteTls) -> list[str]:
    if not tls.keys or not all(_FINGERPRINT.fullmatch(key) for key in tls.keys):
        raise InvalidValue("keys", ", ".join(tls.keys), "give the SHA-256 of the servers' public keys, in hexadecimal")
    return [
        "tls {",
        f"  ca_file: {quoted(tls.ca)}",
        f"  cert_file: {quoted(tls.certificate)}",
        f"  key_file: {quoted(tls.key)}",
        "  verify: true",
        f"  pinned_certs: [{', '.join(quoted(key) for key in dict.fromkeys(tls.keys))}]",
        "  timeout: 5",
        "}",
    ]


def key_fingerprint(certificate: Path) -> str:
    """SHA-256 of the public key in a PEM certificate, in hexadecimal: it stays when the certificate is renewed.

    Raises:
        NotFound: there is no such file.
        BadRequest: it is no certificate.
        Unavailable: the extra that reads certificates is not installed.
    """
    try:
        from cryptography import x509
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
    except ImportError as error:
        raise Unavailable(f"{error}; pip install 'framemesh[launcher]'") from None
    try:
        found = x509.load_pem_x509_certificate(certificate.read_bytes())
    except OSError as error:
        raise NotFound(f"{certificate}: {error.strerror}; make it with `framemesh secrets init`") from None
    except ValueError:
        raise BadRequest(f"{certificate} is no certificate in PEM; make it with `framemesh secrets init`") from None
    digest = hashes.Hash(hashes.SHA256())
    digest.update(found.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))
    return digest.finalize().hex()


def _check_name(option: str, name: str) -> None:
    if not _NAME.fullmatch(name):
        raise InvalidValue(option, name, "give small letters, digits and -, for example n1")


def _address(option: str, address: str) -> str:
    """With the usual port where it has none."""
    if "@" in address:  # not shown: there may be a password before it
        raise InvalidValue(option, "***@…", "routes have no users; servers know each other by their keys")
    found = _ADDRESS.fullmatch(address.removeprefix("nats-route://").removeprefix("nats://"))
    if not found or (found[3] and not 0 < int(found[3]) <= _MAX_PORT):
        raise InvalidValue(option, address, f"give host or host:port, for example n1.local:{ROUTE_PORT}")
    return f"{found[1]}:{found[3] or ROUTE_PORT}"
