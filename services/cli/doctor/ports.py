"""The ports of the mesh: free, held by it, or held by somebody else."""

import socket
from collections.abc import Iterator
from typing import NamedTuple

from schemas.service_table import SERVICE_TABLE, ServiceEntry
from services.cli.doctor.finding import Finding
from services.cli.doctor.machine import Machine
from services.cli.doctor.sockets import Kind, holder_of
from services.launcher.ports import NATS_PORT

_KINDS: dict[Kind, int] = {"tcp": socket.SOCK_STREAM, "udp": socket.SOCK_DGRAM}
_MAX_PORT = 65_535
_PUBLISHES = "docker-proxy"  # Docker's, for each port of a container


class _Wanted(NamedTuple):
    who: str
    what: str
    port: int
    kind: Kind
    setting: str


def ports(machine: Machine) -> Iterator[Finding]:
    wanted = [one for entry in machine.services for one in _of(entry, machine)]
    if machine.services == SERVICE_TABLE:
        wanted.append(_Wanted("nats-server", "NATS", NATS_PORT, "tcp", "FRAMEMESH_NATS_URL"))
    free: list[_Wanted] = []
    for one in wanted:
        if one.port > _MAX_PORT:
            yield Finding("ports", one.what, "wrong", f"{one.setting} is {one.port}", f"export {one.setting}=0")
        elif _is_free(machine.settings.bind, one):
            free.append(one)
        else:
            yield _taken(one)
    if free:
        names = [f"{one.port}/udp" if one.kind == "udp" else str(one.port) for one in sorted(free, key=_number)]
        yield Finding("ports", "free", "ok", ", ".join(names))


def _number(wanted: _Wanted) -> int:
    return wanted.port


def _of(entry: ServiceEntry, machine: Machine) -> Iterator[_Wanted]:
    prefix = entry.environment_prefix
    for what, name, default, kind in (
        ("metrics", "METRICS_PORT", entry.metrics_port, "tcp"),
        ("HTTP", "HTTP_PORT", entry.http_port, "tcp"),
        ("WebRTC", "UDP_PORT", entry.udp_port, "udp"),
        ("RTSP", "RTSP_PORT", entry.rtsp_port, "tcp"),
    ):
        if default:
            setting = f"{prefix}{name}"
            text = machine.environ.get(setting, "").strip()
            port = int(text) if text.isdecimal() else default
            if port:  # 0 takes any free one
                yield _Wanted(entry.name, f"{entry.name} {what}", port, "udp" if kind == "udp" else "tcp", setting)


def _is_free(bind: str, wanted: _Wanted) -> bool:
    family = socket.AF_INET6 if ":" in bind else socket.AF_INET
    with socket.socket(family, _KINDS[wanted.kind]) as probe:
        if wanted.kind == "tcp":  # as the services do: a port in TIME_WAIT after a restart counts as free
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((bind, wanted.port))
        except OSError:
            return False
    return True


def _taken(one: _Wanted) -> Finding:
    holder = holder_of(one.port, one.kind)
    where = f"{one.port}/{one.kind} is held by {holder.program}" + (f" (process {holder.pid})" if holder.pid else "")
    if holder.program == _PUBLISHES:  # to end it would take the container's port away
        look = f"docker ps --filter publish={one.port}   # framemesh's own? then all is well"
        return Finding("ports", one.what, "warning", f"{where}: a container has it", look)
    own = (f"services.{one.who.replace('-', '_')}", one.who)
    if holder.program in own:
        return Finding("ports", one.what, "ok", where)
    stop = f"kill {holder.pid}" if holder.pid else f"sudo ss -lnp{one.kind[0]} 'sport = :{one.port}'"
    other = "use that server: framemesh up --nats URL" if one.who == "nats-server" else f"export {one.setting}=0"
    return Finding("ports", one.what, "wrong" if holder.pid else "warning", where, f"{other}; or {stop}")
