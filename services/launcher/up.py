"""`framemesh up`: bus and services started, watched, restarted, and nothing left behind at the end."""

import asyncio
import contextlib
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote, urlsplit

import msgspec

from schemas.errors import InternalError, MeshError, Unavailable
from schemas.mesh_file import MeshPlan
from schemas.resources import Presence
from services.launcher.bundled_nats import nats_server_program, write_configuration
from services.launcher.child import Child
from services.launcher.ports import HTTP_PORT, UDP_PORT, choose_ports, free_port
from shared.apply import Applied, apply_plan
from shared.bus import Bus
from shared.packet_ring import sweep as sweep_packet_rings
from shared.ring import sweep as sweep_frame_rings
from shared.service import READY_FD_VARIABLE
from shared.settings import Settings, load_settings

log = logging.getLogger(__name__)

SERVICES = {
    "capture": "services.capture",
    "hw-encode": "services.hw_encode",
    "publisher": "services.publisher",
    "webrtc-gateway": "services.webrtc_gateway",
}
_READY_TIMEOUT_SECONDS = 30.0
_NATS_TIMEOUT_SECONDS = 10.0


@dataclass(frozen=True)
class UpOptions:
    """What `framemesh up` was asked for."""

    plan: MeshPlan = field(default_factory=MeshPlan)
    nats_url: str = ""
    """An existing server; empty: the bundled one."""
    auto_ports: bool = False
    verbose: bool = False


class Ready(msgspec.Struct, frozen=True, kw_only=True):
    """The one line that `up --json` prints when every service is ready."""

    ready: bool = True
    console: str
    whep: str
    nats: str
    metrics: dict[str, str]
    seconds: float
    """From start to ready."""


class Mesh:
    """A mesh on this machine; use as `async with Mesh.up(options) as mesh`."""

    def __init__(self, ready: Ready, bus: Bus, children: dict[str, Child]) -> None:
        self.ready = ready
        self.bus = bus
        self.children = children

    def apply(self, plan: MeshPlan) -> AsyncIterator[Applied]:
        return apply_plan(self.bus, plan)

    @classmethod
    @contextlib.asynccontextmanager
    async def up(cls, options: UpOptions) -> AsyncIterator["Mesh"]:
        """Start everything; on exit end everything, in reverse order.

        Raises:
            Conflict: a port is taken.
            MeshError: a service cannot start; says why in its own words.
        """
        started = time.monotonic()
        settings = load_settings(Settings, "launcher")
        own_nats = not (options.nats_url or "FRAMEMESH_NATS_URL" in os.environ)
        ports = choose_ports(
            settings.bind,
            automatic=options.auto_ports,
            bundled_nats=own_nats,
            http=_port("FRAMEMESH_WEBRTC_GATEWAY_HTTP_PORT", HTTP_PORT),
            udp=_port("FRAMEMESH_WEBRTC_GATEWAY_UDP_PORT", UDP_PORT),
        )
        nats_url = f"nats://127.0.0.1:{ports.nats}" if own_nats else options.nats_url or settings.nats_url
        environment = _environment(options, settings, nats_url, ports.http, ports.udp)
        async with contextlib.AsyncExitStack() as stack:
            stack.callback(_sweep, settings.shm_dir)
            if own_nats:
                await _start_nats(stack, settings.data_dir / "nats", ports.nats)
            bus = await Bus.connect(nats_url, name="launcher", timeout_seconds=_NATS_TIMEOUT_SECONDS)
            stack.push_async_callback(bus.drain)
            children, present = await _start_services(stack, environment)
            console = present["webrtc-gateway"].http_url
            ready = Ready(
                console=console,
                whep=f"{console}whep/",
                nats=nats_url,
                metrics={service: presence.metrics_url for service, presence in present.items()},
                seconds=round(time.monotonic() - started, 2),
            )
            yield cls(ready, bus, children)


async def _start_nats(stack: contextlib.AsyncExitStack, folder: Path, port: int) -> None:
    configuration = write_configuration(folder, "127.0.0.1", port)
    server = Child(
        "nats-server", [nats_server_program(), "-c", str(configuration), "-l", str(folder / "nats.log")], os.environ
    )
    server.start()
    stack.push_async_callback(server.stop)


async def _start_services(
    stack: contextlib.AsyncExitStack, environment: dict[str, str]
) -> tuple[dict[str, Child], dict[str, Presence]]:
    """Start all at once, wait for all."""
    present: dict[str, Presence] = {}
    all_ready = asyncio.Event()

    def ready(line: bytes) -> None:
        presence = msgspec.json.decode(line, type=Presence)
        present[presence.service] = presence
        if len(present) == len(SERVICES):
            all_ready.set()

    children = {}
    for service, module in SERVICES.items():
        command = [sys.executable, "-m", module]
        children[service] = Child(service, command, environment, ready_variable=READY_FD_VARIABLE, on_ready=ready)
    for child in children.values():
        child.start()
    stack.push_async_callback(_stop_all, list(children.values()))
    waiting: asyncio.Future[object] = asyncio.ensure_future(all_ready.wait())
    failures: list[asyncio.Future[object]] = [child.exited_at_start for child in children.values()]
    done, _ = await asyncio.wait(
        {waiting, *failures}, timeout=_READY_TIMEOUT_SECONDS, return_when=asyncio.FIRST_COMPLETED
    )
    if waiting in done:
        return children, present
    waiting.cancel()
    for service, child in children.items():
        if child.exited_at_start.done():
            raise InternalError(f"{service} could not start: {child.last_lines[-1] if child.last_lines else '?'}")
    missing = ", ".join(sorted(set(SERVICES) - set(present)))
    raise Unavailable(f"not ready within {_READY_TIMEOUT_SECONDS:g} s: {missing}")


async def _stop_all(children: list[Child]) -> None:
    """Consumers before producers would drop what is in flight; all at once each drains what it has."""
    await asyncio.gather(*(child.stop() for child in children))


def _environment(
    options: UpOptions, settings: Settings, nats_url: str, http_port: int, udp_port: int
) -> dict[str, str]:
    """What the services are started with; whatever the user has set stays."""
    environment = {
        **os.environ,
        "FRAMEMESH_NATS_URL": nats_url,
        "FRAMEMESH_WEBRTC_GATEWAY_HTTP_PORT": str(http_port),
        "FRAMEMESH_WEBRTC_GATEWAY_UDP_PORT": str(udp_port),
        "PYTHONUNBUFFERED": "1",
    }
    environment.setdefault("FRAMEMESH_LOG", "info" if options.verbose else "warning")
    media = settings.data_dir / "media"
    sources = [media, Path.cwd(), *_source_folders(options.plan)]
    environment.setdefault("FRAMEMESH_CAPTURE_FILE_ROOTS", ",".join(map(str, dict.fromkeys(sources))))
    environment.setdefault(
        "FRAMEMESH_PUBLISHER_FILE_ROOTS", ",".join(map(str, [media, *_output_folders(options.plan)]))
    )
    if options.auto_ports:
        # Concrete free ports, not 0: a service that is restarted must be found where it was.
        for service in SERVICES:
            name = f"FRAMEMESH_{service.upper().replace('-', '_')}_METRICS_PORT"
            environment.setdefault(name, str(free_port(settings.bind, socket.SOCK_STREAM)))
    return environment


def _source_folders(plan: MeshPlan) -> list[Path]:
    """Whoever writes a file into mesh.yaml or the command line may have it played: its folder is allowed."""
    return [
        Path(unquote(urlsplit(stream.source).path)).parent
        for stream in plan.streams
        if stream.source.startswith("file:///")
    ]


def _output_folders(plan: MeshPlan) -> list[Path]:
    """Likewise the folders of absolute recording paths, up to the first part with a placeholder."""
    folders = []
    for output in plan.outputs:
        if output.to.startswith("file:///"):
            literal = unquote(urlsplit(output.to).path).split("{", 1)[0]
            folders.append(Path(literal).parent if not literal.endswith("/") else Path(literal))
    return folders


def _port(variable: str, default: int) -> int:
    text = os.environ.get(variable, "")
    return int(text) if text.isdigit() else default


def _sweep(folder: Path) -> None:
    """Every service has ended: whatever is left in shared memory belongs to nobody."""
    for sweep in (sweep_frame_rings, sweep_packet_rings):
        with contextlib.suppress(OSError):
            sweep(folder)
    for lock in folder.glob(".*.lock"):
        lock.unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        folder.rmdir()


async def wait_for_signal() -> None:
    """Until Ctrl-C or SIGTERM."""
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopping.set)
    await stopping.wait()


__all__ = ["Mesh", "MeshError", "Ready", "UpOptions", "wait_for_signal"]
