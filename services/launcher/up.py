"""`framemesh up`: bus and services started, watched, restarted, and nothing left behind at the end."""

import asyncio
import contextlib
import fcntl
import logging
import os
import signal
import socket
import time
from collections.abc import AsyncIterator, Coroutine, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from schemas.errors import BadRequest, Conflict, InvalidValue, MeshError, Unavailable
from schemas.mesh_file import MeshPlan
from schemas.service_table import BY_NAME
from services.launcher.bundled_nats import nats_server_program, write_configuration
from services.launcher.child import Child
from services.launcher.fleet.processes import SERVICES, ProcessFleet
from services.launcher.fleet.service import FleetService
from services.launcher.folders import allow, media_folder
from services.launcher.forked import ForkServer
from services.launcher.lock import access_environment, mesh_secrets, set_up
from services.launcher.ports import HTTP_PORT, RTSP_PORT, UDP_PORT, Ports, choose_ports, free_port, port_turn
from services.launcher.secret_folder import SecretFolder
from services.launcher.starting import executed
from shared.apply import Applied, apply_plan
from shared.audit import Audit
from shared.bus import Bus, shown_servers
from shared.kernel_locks import is_locked
from shared.settings import Settings, load_settings

log = logging.getLogger(__name__)

_READY_TIMEOUT_SECONDS = 30.0
_OWN_NATS_SECONDS = 10.0  # a store of millions of events takes a while to open
_OTHER_NATS_SECONDS = 3.0  # whoever names a server waits at the keyboard; services started by hand wait for ever
_MAX_PORT = 65_535


@dataclass(frozen=True)
class UpOptions:
    """What `framemesh up` was asked for."""

    plan: MeshPlan = field(default_factory=MeshPlan)
    nats_url: str = ""
    """An existing server; empty: the bundled one."""
    auto_ports: bool = False
    secure: bool = False
    """Lock the bundled server: TLS, and a user for each service."""
    verbose: bool = False


class Ready(msgspec.Struct, frozen=True, kw_only=True):
    """The one line that `up --json` prints when every service is ready."""

    ready: bool = True
    console: str
    whep: str
    rtsp: str = ""
    """Empty: not served."""
    extraction: str = ""
    """Where programs submit videos to have pictures taken out of them; see `openapi.json` there."""
    mixing: str = ""
    """Where programs ask for CloudMix tasks; empty: not served."""
    nats: str
    secrets: str = ""
    """Of a locked mesh: the folder for `framemesh secrets env FOLDER cli`, who operates it."""
    metrics: dict[str, str]
    seconds: float
    """From start to ready."""


class Mesh:
    """A mesh on this machine; use as `async with Mesh.up(options) as mesh`."""

    def __init__(self, ready: Ready, bus: Bus) -> None:
        self.ready = ready
        self.bus = bus

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
        if options.secure and not own_nats:
            raise BadRequest("--secure locks the bundled server; leave out --nats and FRAMEMESH_NATS_URL")
        async with contextlib.AsyncExitStack() as stack:
            fork_server = ForkServer()
            stack.push_async_callback(fork_server.close)
            fork_server.start()  # first: it imports while the bus starts
            turn = await stack.enter_async_context(contextlib.AsyncExitStack())
            if options.auto_ports:
                await turn.enter_async_context(port_turn())
            ports = choose_ports(
                settings.bind,
                automatic=options.auto_ports,
                bundled_nats=own_nats,
                http=_port("FRAMEMESH_WEBRTC_GATEWAY_HTTP_PORT", HTTP_PORT),
                udp=_port("FRAMEMESH_WEBRTC_GATEWAY_UDP_PORT", UDP_PORT),
                rtsp=_rtsp_port(options),
            )
            scheme = "tls" if options.secure else "nats"
            nats_url = f"{scheme}://127.0.0.1:{ports.nats}" if own_nats else options.nats_url or settings.nats_url
            environment = _environment(options, settings, nats_url, ports)
            stack.callback(_sweep, settings.shm_dir)
            access, secrets = settings.bus_access(), None
            if own_nats:
                folder = settings.data_dir / "nats"
                stack.enter_context(_only_mesh(folder))
                secrets = await asyncio.to_thread(mesh_secrets, settings.data_dir) if options.secure else None
                await _start_nats(stack, folder, ports.nats, secrets)
                if secrets is not None:
                    await set_up(nats_url, secrets, settings, _OWN_NATS_SECONDS)
                    environment |= access_environment(secrets, SERVICES)
                    access = secrets.access("cli")
            timeout_seconds = _OWN_NATS_SECONDS if own_nats else _OTHER_NATS_SECONDS
            bus = await Bus.connect(nats_url, name="launcher", access=access, timeout_seconds=timeout_seconds)
            stack.push_async_callback(bus.drain)
            fleet = ProcessFleet(settings.node, settings.bind, environment, fork_server.service)
            stack.push_async_callback(fleet.close)
            present = await fleet.up(_READY_TIMEOUT_SECONDS)
            await turn.aclose()
            await _serve_fleet(stack, fleet, bus, settings, nats_url, secrets)
            console = present["webrtc-gateway"].http_url
            ready = Ready(
                console=console,
                whep=f"{console}whep/",
                rtsp=present["publisher"].rtsp_url,
                extraction=present["frame-extractor"].http_url,
                mixing=present["cloud-mix-proxy"].http_url if "cloud-mix-proxy" in present else "",
                nats=shown_servers(nats_url),
                secrets=str(secrets.path) if secrets else "",
                metrics={service: presence.metrics_url for service, presence in present.items()},
                seconds=round(time.monotonic() - started, 2),
            )
            yield cls(ready, bus)


@contextlib.contextmanager
def _only_mesh(folder: Path) -> Iterator[None]:
    """Two servers on one JetStream folder would destroy each other's state; the kernel frees the lock of a dead one.

    Raises:
        Conflict: another mesh has it.
        Unavailable: the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o750)
        handle = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
    except OSError as error:
        raise Unavailable(f"folder {folder}: {error.strerror}; set FRAMEMESH_DATA_DIR") from None
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise Conflict(
                f"a mesh already runs here with data folder {folder.parent}; stop it, "
                "or give this one its own FRAMEMESH_DATA_DIR and FRAMEMESH_SHM_DIR"
            ) from None
        yield
    finally:
        os.close(handle)


async def _start_nats(stack: contextlib.AsyncExitStack, folder: Path, port: int, secrets: SecretFolder | None) -> None:
    configuration = await asyncio.to_thread(write_configuration, folder, "127.0.0.1", port, secrets)
    program = executed(nats_server_program(), "-c", str(configuration), "-l", str(folder / "nats.log"))
    server = Child("nats-server", program, os.environ)
    server.start()
    stack.push_async_callback(server.stop)


async def _serve_fleet(
    stack: contextlib.AsyncExitStack,
    fleet: ProcessFleet,
    bus: Bus,
    settings: Settings,
    nats_url: str,
    secrets: SecretFolder | None,
) -> None:
    """Answer for the processes of this node; with a name of its own on the bus where its access is set."""
    own = load_settings(Settings, "fleet")
    access = secrets.access("fleet") if secrets else own.bus_access()
    if own.nats_url != settings.nats_url:
        nats_url = own.nats_url
    elif access == settings.bus_access():
        nats_url = ""
    if nats_url:
        bus = await Bus.connect(nats_url, name="fleet", access=access, timeout_seconds=_OTHER_NATS_SECONDS)
        stack.push_async_callback(bus.drain)
    audit = Audit(bus, "fleet", own)
    stack.push_async_callback(audit.close)
    served = await FleetService.serve(bus, settings.node, fleet)
    stack.push_async_callback(served.close)


def _environment(options: UpOptions, settings: Settings, nats_url: str, ports: Ports) -> dict[str, str]:
    """What the services are started with; whatever the user has set stays."""
    environment = {
        **os.environ,
        "FRAMEMESH_NATS_URL": nats_url,
        "FRAMEMESH_WEBRTC_GATEWAY_HTTP_PORT": str(ports.http),
        "FRAMEMESH_WEBRTC_GATEWAY_UDP_PORT": str(ports.udp),
        "PYTHONUNBUFFERED": "1",
    }
    if ports.rtsp is not None:
        environment["FRAMEMESH_PUBLISHER_RTSP_PORT"] = str(ports.rtsp)
    environment.setdefault("FRAMEMESH_LOG", "info" if options.verbose else "warning")
    media = str(media_folder(settings.data_dir))
    folders = allow(settings.data_dir, options.plan)
    sources = dict.fromkeys((media, str(Path.cwd()), *folders.sources))
    environment.setdefault("FRAMEMESH_CAPTURE_FILE_ROOTS", ",".join(sources))
    environment.setdefault("FRAMEMESH_FRAME_EXTRACTOR_FILE_ROOTS", ",".join(sources))
    environment.setdefault("FRAMEMESH_CLOUD_MIX_PROXY_FILE_ROOTS", ",".join(sources))
    environment.setdefault("FRAMEMESH_PUBLISHER_FILE_ROOTS", ",".join(dict.fromkeys((media, *folders.recordings))))
    if options.auto_ports:
        # Concrete free ports, not 0: a service that is restarted must be found where it was.
        for service in SERVICES:
            name = f"{BY_NAME[service].environment_prefix}METRICS_PORT"
            environment.setdefault(name, str(free_port(settings.bind, socket.SOCK_STREAM)))
        for service in ("FRAME_EXTRACTOR", "CLOUD_MIX_PROXY"):
            port = free_port(settings.bind, socket.SOCK_STREAM)
            environment.setdefault(f"FRAMEMESH_{service}_HTTP_PORT", str(port))
    return environment


def _rtsp_port(options: UpOptions) -> int | None:
    """None: nobody asks for one, and no mesh shall fail for it."""
    variable = "FRAMEMESH_PUBLISHER_RTSP_PORT"
    asked = options.auto_ports or os.environ.get(variable, "").strip()
    return _port(variable, RTSP_PORT) if asked else None


def _port(variable: str, default: int) -> int:
    text = os.environ.get(variable, "").strip()
    if not text:
        return default
    if not text.isdecimal() or int(text) > _MAX_PORT:
        raise InvalidValue(variable, text, f"give a port from 0 to {_MAX_PORT}")
    return int(text)


def _sweep(folder: Path) -> None:
    """Every service has ended: what is left in shared memory belongs to nobody, or to services started by hand."""
    if folder.is_dir() and any(path.suffix != ".lock" for path in folder.iterdir()):
        # Here, because a start would wait for what almost no end needs.
        from shared.packet_ring import sweep as sweep_packet_rings
        from shared.ring import sweep as sweep_frame_rings

        for sweep in (sweep_frame_rings, sweep_packet_rings):
            with contextlib.suppress(OSError):
                sweep(folder)
    for lock in folder.glob(".*.lock"):
        with contextlib.suppress(OSError), lock.open("r+b") as handle:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)  # refused while somebody lives by it
            if not is_locked(handle.fileno()):  # nor by a byte of it
                lock.unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        folder.rmdir()


async def until_signal(work: Coroutine[Any, Any, None]) -> None:
    """Run `work` until it ends or, from its first moment on, Ctrl-C, SIGTERM or a closed terminal cancels it."""
    task = asyncio.create_task(work)
    loop = asyncio.get_running_loop()
    stopped = False

    def stop() -> None:
        nonlocal stopped
        if not stopped:  # once: a second Ctrl-C must not cut the orderly end short
            stopped = True
            task.cancel()

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, stop)
    try:
        await task
    except asyncio.CancelledError:
        if not stopped:
            raise


__all__ = ["Mesh", "MeshError", "Ready", "UpOptions", "until_signal"]
