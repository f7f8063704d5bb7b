"""Ports of a mesh on one machine: the usual ones, or free ones when asked."""

import socket
from dataclasses import dataclass

from schemas.errors import Conflict

NATS_PORT = 4222
HTTP_PORT = 8889
UDP_PORT = 8189


@dataclass(frozen=True)
class Ports:
    nats: int
    http: int
    udp: int


def choose_ports(bind: str, *, automatic: bool, bundled_nats: bool, http: int, udp: int) -> Ports:
    """The wished ports where they are free; with `automatic` free ones instead of taken ones.

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
    )


def free_port(bind: str, kind: int = socket.SOCK_STREAM) -> int:
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind((bind, 0))
        return int(probe.getsockname()[1])


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
