"""Ports of a mesh on one machine: the usual ones, or free ones when asked."""

import asyncio
import contextlib
import fcntl
import os
import random
import socket
import tempfile
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

from schemas.errors import Conflict, Unavailable
from schemas.service_table import BY_NAME

NATS_PORT = 4222
HTTP_PORT = BY_NAME["webrtc-gateway"].http_port
UDP_PORT = BY_NAME["webrtc-gateway"].udp_port
RTSP_PORT = BY_NAME["publisher"].rtsp_port
_FREE_PORTS = range(20000, 65536)  # well above the usual ones of services
_EPHEMERAL_PORTS = Path("/proc/sys/net/ipv4/ip_local_port_range")
_TRIES = 1000
_given: set[int] = set()
_TURN_SECONDS = 30.0  # a mesh that starts is ready or given up by then
_ASK_AGAIN_SECONDS = 0.05


@contextlib.asynccontextmanager
async def port_turn() -> AsyncIterator[None]:
    """Only one mesh of this user looks for free ports until its services have them: two would find the same.

    Raises:
        Unavailable: the folder for temporary files cannot be written.
    """
    path = Path(tempfile.gettempdir()) / f"framemesh-{os.getuid()}.ports.lock"
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise Unavailable(f"{path}: {error.strerror}; set TMPDIR") from None
    try:
        deadline = time.monotonic() + _TURN_SECONDS
        while True:
            with contextlib.suppress(BlockingIOError):
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            if time.monotonic() > deadline:  # who has it is stopped: the ports may do without it
                break
            await asyncio.sleep(_ASK_AGAIN_SECONDS)
        yield
    finally:
        os.close(handle)


@dataclass(frozen=True)
class Ports:
    nats: int
    http: int
    udp: int
    rtsp: int | None


def choose_ports(
    bind: str, *, automatic: bool, bundled_nats: bool, http: int, udp: int, rtsp: int | None = None
) -> Ports:
    """The wished ports where they are free; with `automatic` free ones instead of taken ones.

    `rtsp` None: not asked for; then the publisher takes the usual one, or serves no RTSP where that is taken.

    Raises:
        Conflict: a port is taken; names it, and how to choose another.
    """
    nats = NATS_PORT
    if bundled_nats:
        nats = _choose("127.0.0.1", NATS_PORT, socket.SOCK_STREAM, automatic, "NATS", "use that server with --nats URL")
    return Ports(
        nats=nats,
        http=_choose(bind, http, socket.SOCK_STREAM, automatic, "HTTP", "set FRAMEMESH_WEBRTC_GATEWAY_HTTP_PORT"),
        udp=_choose(bind, udp, socket.SOCK_DGRAM, automatic, "UDP", "set FRAMEMESH_WEBRTC_GATEWAY_UDP_PORT"),
        rtsp=_choose(bind, rtsp or 0, socket.SOCK_STREAM, automatic, "RTSP", "set FRAMEMESH_PUBLISHER_RTSP_PORT")
        if rtsp is not None
        else None,
    )


def free_port(bind: str, kind: int = socket.SOCK_STREAM) -> int:
    """A free port, never the same twice from this process.

    Not one of those the kernel hands out by itself where there are others: until its service binds it,
    another program's connection could get it.

    Raises:
        Conflict: none is free.
    """
    ephemeral = _ephemeral_ports()
    ports = [port for port in _FREE_PORTS if port not in _given]
    candidates = [port for port in ports if port not in ephemeral] or ports
    for port in random.sample(candidates, min(len(candidates), _TRIES)):
        with socket.socket(socket.AF_INET, kind) as probe:
            try:
                probe.bind((bind, port))
            except OSError:
                continue
        _given.add(port)
        return port
    raise Conflict(f"no free port on {bind} from {_FREE_PORTS.start} on; stop what listens there")


def _ephemeral_ports() -> range:
    try:
        first, last = map(int, _EPHEMERAL_PORTS.read_text().split())
    except (OSError, ValueError):
        return range(0)
    return range(first, last + 1)


def _choose(bind: str, wish: int, kind: int, automatic: bool, what: str, fix: str) -> int:
    if wish == 0:  # a concrete one: a service that is restarted must be found where it was
        return free_port(bind, kind)
    with socket.socket(socket.AF_INET, kind) as probe:
        if kind == socket.SOCK_STREAM:
            # As the services do: a port in TIME_WAIT after a restart counts as free.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((bind, wish))
        except OSError as error:
            if not automatic:
                raise Conflict(
                    f"{what} port {wish} on {bind}: {error.strerror}; {fix}, or let --auto-ports find a free one"
                ) from None
        else:
            return wish
    return free_port(bind, kind)
