"""A nats-server as a hub that edge hosts connect to, and one as the leaf of an edge host: what their configurations say
besides that of a server of its own.

Hub and leaf have a JetStream each, with a domain of its own, so that each goes on without the other; see
`schemas.placements` for what lives where. Everything else crosses the link where somebody on the other side has
subscribed to it, but for what is of use on its own host only.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import get_args
from urllib.parse import urlsplit

from schemas.channel import Party
from schemas.errors import InvalidValue, MeshError
from schemas.ids import check_id
from schemas.placements import HUB_DOMAIN, leaf_domain
from schemas.subjects import PREFIX, same_host
from services.launcher.nats_text import quoted

LEAF_PORT = 7422
SEED_VARIABLE = "FRAMEMESH_LEAF_SEED"
LEAF_PARTY = leaf_domain("")
"""How the names of leaves among the hub's users begin."""
_ADDRESS = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9.-]+)(?::(\d{1,5}))?")
_MAX_PORT = 65_535
_SCHEMES = ("nats-leaf", "tls", "nats", "ws", "wss")
# A link that is dead is known as such after two pings, on both sides.
_PING_SECONDS = 2
_MAX_PINGS_OUT = 2
_RECONNECT_SECONDS = 1
# Of the hub's JetStream: to open buckets and queues, to follow, to read and to write; nothing that deletes or rewrites.
_HUB_CALLS = (
    "INFO",
    "STREAM.INFO.*",
    "STREAM.MSG.GET.*",
    "CONSUMER.CREATE.>",
    "CONSUMER.DURABLE.CREATE.>",
    "CONSUMER.INFO.>",
    "CONSUMER.DELETE.>",
    "CONSUMER.MSG.NEXT.>",
    "$KV.>",
)
_WRITE_SECONDS = 10  # a link that carries less than is sent: longer than what waits, shorter than a viewer's patience


@dataclass(frozen=True)
class LeafTls:
    """What one side of the link shows to the other, and takes from it. Paths, PEM."""

    ca: Path
    certificate: Path
    key: Path


@dataclass(frozen=True)
class HubServer:
    """A server that leaves connect to."""

    listen: str = f"0.0.0.0:{LEAF_PORT}"
    tls: LeafTls | None = None
    """None: a link that is not protected, as within one machine or a tunnel."""


@dataclass(frozen=True)
class LeafServer:
    """The server of an edge host."""

    node: str
    hubs: tuple[str, ...]
    """URLs of the hub's servers: `nats-leaf://hub.local:7422`."""
    with_seed: bool = False
    """It shows the hub that it is user `leaf-<node>`, with the seed in its environment: a configuration holds none."""
    tls: LeafTls | None = None


def hub_lines(hub: HubServer) -> tuple[str, str]:
    """(JetStream domain, what nats.conf says besides) of a server with leaves; one of a cluster too.

    Raises:
        InvalidValue: an address that is none.
        BadRequest: a path that cannot be written.
    """
    lines = [
        *_pings(),
        "leafnodes {",
        f'  listen: "{_address("--leaves", hub.listen)}"',
        f'  write_deadline: "{_WRITE_SECONDS}s"',
        *_link(),
        *_tls(hub.tls, verify=True),
        "}",
    ]
    return HUB_DOMAIN, "\n".join([*lines, ""])


def leaf_lines(leaf: LeafServer) -> tuple[str, str]:
    """(JetStream domain, what nats.conf says besides) of an edge host's server.

    Raises:
        InvalidValue: a node or a URL that is none.
        BadRequest: a path that cannot be written.
    """
    try:
        check_id(leaf.node, "node")
    except MeshError:
        raise InvalidValue("--node", leaf.node, "give the name of this host in the mesh, for example edge1") from None
    if not leaf.hubs:
        raise InvalidValue("--hub", "", f"name the hub: nats-leaf://hub.local:{LEAF_PORT}")
    urls = ", ".join(f'"{_hub_url(url)}"' for url in leaf.hubs)
    denied = ", ".join(f'"{subject}"' for subject in same_host())
    lines = [
        f'server_name: "{leaf_domain(leaf.node)}"',
        *_pings(),
        "leafnodes {",
        f'  reconnect: "{_RECONNECT_SECONDS}s"',
        f'  write_deadline: "{_WRITE_SECONDS}s"',
        "  remotes: [",
        "    {",
        f"      urls: [{urls}]",
        *([f"      nkey: ${SEED_VARIABLE}"] if leaf.with_seed else []),
        *(f"    {line}" for line in (*_link(), *_tls(leaf.tls, verify=False))),
        # Whoever asks for them over there gets nothing, and costs the link nothing.
        f"      deny_imports: [{denied}]",
        f"      deny_exports: [{denied}]",
        "    }",
        "  ]",
        "}",
    ]
    return leaf_domain(leaf.node), "\n".join([*lines, ""])


def leaf_permissions() -> dict[str, dict[str, list[str]]]:
    """Of a leaf's user on the hub, which hold whatever the leaf itself says: what the mesh needs of an edge host.

    It may read and write the hub's state, as the hub's own services may, but take nothing of it away as a whole; and of
    other hosts it has what they tell the hub, never their stores.
    """
    inboxes = [f"{prefix}.>" for prefix in ("_INBOX", *(f"_INBOX_{party}" for party in get_args(Party)))]
    both = [f"{PREFIX}.>", "$SRV.>", *inboxes]
    hub = [f"$JS.{HUB_DOMAIN}.API.{call}" for call in _HUB_CALLS]
    return {
        "publish": {"allow": [*both, "$JS.ACK.>", "$JS.FC.>", *hub], "deny": list(same_host())},
        "subscribe": {"allow": both, "deny": list(same_host())},
    }


def _pings() -> Iterable[str]:
    return f'ping_interval: "{_PING_SECONDS}s"', f"ping_max: {_MAX_PINGS_OUT}"


def _link() -> Iterable[str]:
    # What crosses is encoded video.
    return ("  compression: off",)


def _tls(tls: LeafTls | None, *, verify: bool) -> Iterable[str]:
    if tls is None:
        return ()
    lines = [
        "  tls {",
        f"    ca_file: {quoted(tls.ca)}",
        f"    cert_file: {quoted(tls.certificate)}",
        f"    key_file: {quoted(tls.key)}",
        "    timeout: 5",
    ]
    return [*lines, *(["    verify: true"] if verify else []), "  }"]


def _address(option: str, address: str) -> str:
    """With the usual port where it has none."""
    found = _ADDRESS.fullmatch(address)
    if not found or (found[2] and not 0 < int(found[2]) <= _MAX_PORT):
        raise InvalidValue(option, address, f"give host or host:port, for example 0.0.0.0:{LEAF_PORT}")
    return f"{found[1]}:{found[2] or LEAF_PORT}"


def _hub_url(text: str) -> str:
    fix = f"give nats-leaf://host:{LEAF_PORT}, without user and password: they belong in a file"
    url = urlsplit(text if "://" in text else f"nats-leaf://{text}")
    if url.scheme not in _SCHEMES or "@" in url.netloc or url.path not in ("", "/") or url.query or url.fragment:
        shown = f"{url.scheme}://{url.netloc.rpartition('@')[2]}"
        raise InvalidValue("--hub", shown, fix)
    return f"{url.scheme}://{_address('--hub', url.netloc)}"
