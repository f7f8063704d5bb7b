"""`framemesh up`: bus and services started, watched, restarted, and nothing left behind at the end."""

import asyncio
import contextlib
import fcntl
import importlib.util
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator, Coroutine, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from schemas.errors import Conflict, InternalError, InvalidValue, MeshError, Unavailable, error_from_code
from schemas.mesh_file import MeshPlan
from schemas.resources import Presence
from services.launcher.bundled_nats import nats_server_program, write_configuration
from services.launcher.child import Child
from services.launcher.folders import allow, media_folder
from services.launcher.ports import HTTP_PORT, RTSP_PORT, UDP_PORT, Ports, choose_ports, free_port, port_turn
from shared.apply import Applied, apply_plan
from shared.bus import Bus
from shared.service import READY_FD_VARIABLE
from shared.settings import Settings, load_settings
from shared.urls import redact

log = logging.getLogger(__name__)

_ALWAYS = {
    "capture": "services.capture",
    "hw-encode": "services.hw_encode",
    "publisher": "services.publisher",
    "webrtc-gateway": "services.webrtc_gateway",
}
# Those that a mesh does without where their extra is not installed, and what of it nothing else brings.
_WHERE_INSTALLED = {
    "frame-extractor": ("services.frame_extractor", "obstore"),
    "cloud-mix-proxy": ("services.cloud_mix_proxy", "PIL"),
    "io-signal": ("services.io_signal", "re2"),
}
SERVICES = {
    **_ALWAYS,
    **{name: module for name, (module, needs) in _WHERE_INSTALLED.items() if importlib.util.find_spec(needs)},
}
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
        async with contextlib.AsyncExitStack() as stack:
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
            nats_url = f"nats://127.0.0.1:{ports.nats}" if own_nats else options.nats_url or settings.nats_url
            environment = _environment(options, settings, nats_url, ports)
            stack.callback(_sweep, settings.shm_dir)
            if own_nats:
                folder = settings.data_dir / "nats"
                stack.enter_context(_only_mesh(folder))
                await _start_nats(stack, folder, ports.nats)
            timeout_seconds = _OWN_NATS_SECONDS if own_nats else _OTHER_NATS_SECONDS
            bus = await Bus.connect(nats_url, name="launcher", timeout_seconds=timeout_seconds)
            stack.push_async_callback(bus.drain)
            children, present = await _start_services(stack, environment)
            await turn.aclose()
            console = present["webrtc-gateway"].http_url
            ready = Ready(
                console=console,
                whep=f"{console}whep/",
                rtsp=present["publisher"].rtsp_url,
                extraction=present["frame-extractor"].http_url,
                mixing=present["cloud-mix-proxy"].http_url if "cloud-mix-proxy" in present else "",
                nats=redact(nats_url)[0],
                metrics={service: presence.metrics_url for service, presence in present.items()},
                seconds=round(time.monotonic() - started, 2),
            )
            yield cls(ready, bus, children)


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
            code, text = child.refusal or (InternalError.code, child.last_lines[-1] if child.last_lines else "?")
            raise error_from_code(code, f"{service} could not start: {text}")
    missing = ", ".join(sorted(set(SERVICES) - set(present)))
    raise Unavailable(f"not ready within {_READY_TIMEOUT_SECONDS:g} s: {missing}")


async def _stop_all(children: list[Child]) -> None:
    """Consumers before producers would drop what is in flight; all at once each drains what it has."""
    await asyncio.gather(*(child.stop() for child in children))


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
            name = f"FRAMEMESH_{service.upper().replace('-', '_')}_METRICS_PORT"
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
        with contextlib.suppress(OSError), lock.open() as handle:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)  # refused while somebody lives by it
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
