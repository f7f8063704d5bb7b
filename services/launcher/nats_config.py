"""The configuration of a mesh's NATS server: open on loopback, or locked, with a user for each party.

Locked means: TLS 1.3 with certificates of the mesh's own CA on both sides, and an nkey that says which party it is. The
certificate keeps strangers away from everything behind the handshake; who a party is and what it may is the nkey's,
which is taken back by one line and a reload, where a certificate would need a list of revoked ones.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from schemas.channel import Party
from schemas.errors import InvalidValue
from services.launcher.nats_leaf import LEAF_PARTY, leaf_permissions
from services.launcher.nats_text import quoted
from services.launcher.secret_folder import CA_FILE, CERTIFICATE_FILE, KEY_FILE

MESH_ACCOUNT, SYSTEM_ACCOUNT = "MESH", "SYS"
MONITOR = "monitor"
"""User of the system account, for who watches the server; no party of the mesh."""
MAX_PAYLOAD_BYTES = 8 << 20  # most key frames in one message; larger ones go in parts
_MAX_PENDING_BYTES = 64 << 20  # of one client that is slow, before it is cut off: some seconds of every picture
_MAX_CONNECTIONS = 1024  # a service has one; thousands are somebody's mistake
_MAX_SUBSCRIPTIONS = 20_000  # of one connection: hw-encode has some twenty for each rendition
_MAX_CONTROL_LINE_BYTES = 4096  # the longest subject of the mesh has some hundred
_MAX_MEMORY_BYTES = 256 << 20
_MAX_FILE_BYTES = 4 << 30  # JetStream counts what each bucket and stream may grow to, and does not take that yet
_MAX_STREAMS, _MAX_CONSUMERS = 64, 4096  # the mesh has some fifteen; each watch of a bucket is a consumer
_AUTH_SECONDS = 5  # a small host that starts everything at once
# No subject of NATS itself (`$`, `_`), nor what would end the text that it stands in.
_ALSO = re.compile(r"(?P<party>[a-z-]+):(?P<what>publish|subscribe):(?P<subject>[A-Za-z0-9*>][A-Za-z0-9*>._-]*)")
_PLAIN_HOSTS = ("127.0.0.1", "::1", "localhost")


@dataclass(frozen=True)
class Standalone:
    """A server of its own."""

    host: str = "127.0.0.1"
    port: int = 4222
    name: str = "framemesh"
    """Empty: another block says it."""
    store_dir: Path = Path("/data/nats/jetstream")
    domain: str = ""
    """Of its JetStream, where it is a hub or a leaf."""
    monitor: str = ""
    """`host:port` of its HTTP monitoring, which is plain and asks nobody who he is; empty: none."""
    secrets_at: Path | None = None
    """Where the server finds its certificate and key; None: it is open, and so of loopback only."""
    public_keys: Mapping[str, str] | None = None
    """By party; with `secrets_at`."""
    also: tuple[str, ...] = ()
    """More than the mesh needs, of subjects of its users' own: `webrtc-gateway:publish:plc.>`."""
    copies: int = 1
    """How many servers of a cluster keep each bucket: an account's limits are for all of them together."""


def standalone_lines(server: Standalone) -> str:
    """All of nats.conf.

    Raises:
        InvalidValue: an open server, or its monitoring, that others could reach.
    """
    if server.secrets_at is None and server.host not in _PLAIN_HOSTS:
        raise InvalidValue("--listen", server.host, "an open server listens on loopback only; give it --secrets FOLDER")
    if server.monitor and server.monitor.rpartition(":")[0].strip("[]") not in _PLAIN_HOSTS:
        raise InvalidValue("--monitor", server.monitor, "it is plain and open to all: 127.0.0.1:8222 is for loopback")
    lines = [
        f"listen: {quoted(f'{server.host}:{server.port}')}",
        *([f"server_name: {quoted(server.name)}"] if server.name else []),
        *([f"http: {quoted(server.monitor)}"] if server.monitor else []),
        f"max_payload: {MAX_PAYLOAD_BYTES}",
        f"max_pending: {_MAX_PENDING_BYTES}",
        f"max_connections: {_MAX_CONNECTIONS}",
        f"max_subscriptions: {_MAX_SUBSCRIPTIONS}",
        f"max_control_line: {_MAX_CONTROL_LINE_BYTES}",
        'write_deadline: "2s"',
        "jetstream {",
        f"  store_dir: {quoted(server.store_dir)}",
        f"  max_memory_store: {_MAX_MEMORY_BYTES}",
        f"  max_file_store: {_MAX_FILE_BYTES}",
        '  sync_interval: "1s"',
        *([f"  domain: {quoted(server.domain)}"] if server.domain else []),
        "}",
    ]
    if server.secrets_at is not None:
        lines += tls_lines(server.secrets_at)
        lines += authorization_lines(server.public_keys or {}, server.copies, server.also)
    return "\n".join([*lines, ""])


def tls_lines(secrets_at: Path) -> list[str]:
    """The `tls` block: who has no certificate of the mesh's CA gets no further."""
    return [
        "tls {",
        f"  cert_file: {quoted(secrets_at / CERTIFICATE_FILE)}",
        f"  key_file: {quoted(secrets_at / KEY_FILE)}",
        f"  ca_file: {quoted(secrets_at / CA_FILE)}",
        "  verify: true",
        '  min_version: "1.3"',
        f"  timeout: {_AUTH_SECONDS}",
        "}",
    ]


def authorization_lines(public_keys: Mapping[str, str], copies: int = 1, also: Sequence[str] = ()) -> list[str]:
    """The accounts, with the users whose keys there are and what each may.

    Raises:
        InvalidValue: one of `also` is none, or a subject of the mesh or of NATS itself.
    """
    from shared.permissions import PARTIES, grants  # the whole channel table, which an open server does without

    allowed = grants()
    for one in also:
        found = _ALSO.fullmatch(one)
        if not found or found["party"] not in allowed or found["subject"].split(".")[0] in ("mesh", "*", ">"):
            fix = "give PARTY:publish:SUBJECT or PARTY:subscribe:SUBJECT, of subjects that are not the mesh's"
            raise InvalidValue("--also", one, fix)
        grant = allowed[cast(Party, found["party"])]
        (grant.publish if found["what"] == "publish" else grant.subscribe).add(found["subject"])
    lines = [
        f"system_account: {SYSTEM_ACCOUNT}",
        f"authorization {{ timeout: {_AUTH_SECONDS} }}",
        "accounts {",
        f"  {MESH_ACCOUNT} {{",
        "    jetstream {",
        f"      max_mem: {copies * _MAX_MEMORY_BYTES}",
        f"      max_file: {copies * _MAX_FILE_BYTES}",
        f"      max_streams: {_MAX_STREAMS}",
        f"      max_consumers: {_MAX_CONSUMERS}",
        "    }",
        "    users: [",
    ]
    blocks: dict[str, Any] = {party: allowed[party].as_permissions() for party in PARTIES}
    blocks |= {name: leaf_permissions() for name in sorted(public_keys) if name.startswith(LEAF_PARTY)}
    for party, block in blocks.items():
        if party in public_keys:
            permissions = json.dumps(block, indent=1).replace("\n", "\n       ")
            lines += [
                f"      # {party}",
                f"      {{ nkey: {public_keys[party]}, permissions: {permissions} }}",
            ]
    lines += ["    ]", "  }", f"  {SYSTEM_ACCOUNT} {{"]
    if MONITOR in public_keys:
        lines += ["    users: [", f"      {{ nkey: {public_keys[MONITOR]} }}", "    ]"]
    return [*lines, "  }", "}"]
