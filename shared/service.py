"""The life of a service process: settings, logs, metrics, bus, its own parts, ready, signals, drain.

A service's `__main__` calls `run_service` with a function that builds its parts; everything put on the context's
stack is undone in reverse order at the end, also when building fails half-way.
"""

import asyncio
import contextlib
import fcntl
import logging
import os
import secrets
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any, Generic, TypeVar

import msgspec

from schemas.errors import Conflict, MeshError, Unavailable
from schemas.events import Event
from schemas.resources import Presence
from schemas.subjects import PRESENCE_BUCKET, SERVICES, presence_key
from shared.bus import Bus
from shared.logs import setup_logging
from shared.metrics import Figures, Health, MetricsServer
from shared.parent import end_with_parent
from shared.process_figures import ProcessWatch
from shared.settings import PREFIX, Settings, load_settings
from shared.shm_folder import ensure_folder
from shared.state import PRESENCE_TTL_SECONDS
from shared.tasks import end_tasks, set_within
from shared.urls import redact

log = logging.getLogger(__name__)

VERSION = version("framemesh")
_PRESENCE_REFRESH_SECONDS = 3.0
_STOP_TIMEOUT_SECONDS = 8.0  # compose grants 10 s before it kills
_FIRST_METRICS_PORT = 9101
READY_FD_VARIABLE = "FRAMEMESH_READY_FD"
RESTARTS_VARIABLE = "FRAMEMESH_RESTARTS"
EXIT_CANNOT_START = 2

SettingsT = TypeVar("SettingsT", bound=Settings)


@dataclass
class Context(Generic[SettingsT]):
    """What a service's parts are built from."""

    service: str
    settings: SettingsT
    bus: Bus
    stack: AsyncExitStack
    health: Health
    figures: Figures
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    http_url: str = ""
    """Set by services that have an HTTP door; shown in presence and by `up`."""
    rtsp_url: str = ""
    """Where streams can be pulled, of publishers; shown likewise."""
    dropped: Callable[[], dict[str, int]] = dict
    """What was left out so far, by reason; shown in presence."""
    failed: bool = False
    _tasks: set[asyncio.Task[Any]] = field(default_factory=set)

    @property
    def node(self) -> str:
        return self.settings.node

    def spawn(self, work: Coroutine[Any, Any, Any], name: str) -> asyncio.Task[Any]:
        """Run `work` in the background for the life of the service. Should it fail, the service says so and ends,
        to be started afresh: half a service is worse than none."""
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if task.cancelled() or (error := task.exception()) is None:
            return
        log.error("background task %s failed", task.get_name(), exc_info=error)
        self.health.problem = f"task {task.get_name()} failed"
        self.failed = True
        self.event(self.service, "task-failed", detail={"task": task.get_name()})
        self.stopping.set()

    def bus_closed(self) -> None:
        """The bus will not come back: the service ends, to be started afresh with what its credentials are then."""
        self.health.problem = "the bus has closed the connection for good"
        self.failed = True
        self.stopping.set()

    def event(self, resource: str, name: str, **fields: Any) -> None:
        """Post an event about one of this service's resources."""
        self.bus.post_event(
            Event(service=self.service, id=resource, event=name, node=self.node, at_ns=time.time_ns(), **fields)
        )

    async def cancel_tasks(self) -> None:
        await end_tasks(*self._tasks)


def run_service(
    service: str,
    settings_type: type[SettingsT],
    build: Callable[[Context[SettingsT]], Awaitable[None]],
    loop_factory: Callable[[], asyncio.AbstractEventLoop] | None = None,
) -> None:
    """Run a service until it is told to stop; does not return.

    `loop_factory` makes its event loop; None: asyncio's own.

    Exits with 0 after SIGTERM or SIGINT, 1 after an internal failure, 2 with one clear line when it cannot start.
    """
    try:
        settings = load_settings(settings_type, service)
        setup_logging(service, settings.log)
        if READY_FD_VARIABLE in os.environ:  # a launcher started us
            end_with_parent()
        # Never closed: that would wait for threads that hang, in a driver or a network file system.
        code = asyncio.Runner(loop_factory=loop_factory).run(_run(service, settings, build))
    except MeshError as error:
        print(f"{service}: error {error.code}: {error.message}", file=sys.stderr, flush=True)  # noqa: T201
        code = EXIT_CANNOT_START
    except KeyboardInterrupt:
        code = 0
    # Not sys.exit: a media thread stuck in a driver must not keep a finished process alive.
    logging.shutdown()
    sys.stderr.flush()
    os._exit(code)


async def _run(service: str, settings: SettingsT, build: Callable[[Context[SettingsT]], Awaitable[None]]) -> int:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    health = Health()
    async with AsyncExitStack() as stack:
        stack.enter_context(_only_one(service, settings))
        own = f"{PREFIX}{service.upper().replace('-', '_')}_METRICS_PORT"
        metrics = MetricsServer(settings.bind, settings.metrics_port or _default_port(service), own, health)
        stack.callback(metrics.close)
        bus = await _connect(service, settings, stopping)
        if bus is None:
            return 0
        stack.push_async_callback(bus.drain)
        await bus.ensure_events()
        context = Context(service, settings, bus, stack, health, Figures(), stopping)
        bus.on_closed(context.bus_closed)
        _bus_figures(context)
        inner = await stack.enter_async_context(AsyncExitStack())
        context.stack = inner
        inner.push_async_callback(context.cancel_tasks)
        await build(context)
        presence = Presence(
            service=service,
            node=settings.node,
            instance=secrets.token_hex(4),
            version=VERSION,
            pid=os.getpid(),
            started_ns=time.time_ns(),
            metrics_url=metrics.url,
            http_url=context.http_url,
            rtsp_url=context.rtsp_url,
            shm_domain=str(settings.shm_dir),
            restarts=_restarts(),
        )
        context.spawn(_be_present(context, presence), "presence")
        health.ready = True
        _tell_ready(presence)
        log.info("ready on node %s, metrics at %s", settings.node, metrics.url)
        await stopping.wait()
        health.ready = False
        log.info("stopping")
        try:
            async with asyncio.timeout(_STOP_TIMEOUT_SECONDS):
                await inner.aclose()
        except TimeoutError:
            log.error("not everything stopped within %s s", _STOP_TIMEOUT_SECONDS)
        return 1 if context.failed else 0


async def _connect(service: str, settings: Settings, stopping: asyncio.Event) -> Bus | None:
    """The bus, however long that takes; None when told to stop first."""
    connecting = asyncio.create_task(
        Bus.connect(
            settings.nats_url,
            name=f"{service}@{settings.node}",
            credentials_file=settings.nats_credentials or None,
        )
    )
    stopped = asyncio.create_task(stopping.wait())
    done, _ = await asyncio.wait({connecting, stopped}, timeout=2, return_when=asyncio.FIRST_COMPLETED)
    if not done:
        log.warning("no NATS server yet at %s, waiting", redact(settings.nats_url)[0])
        done, _ = await asyncio.wait({connecting, stopped}, return_when=asyncio.FIRST_COMPLETED)
    if connecting in done:
        stopped.cancel()
        return connecting.result()
    await end_tasks(connecting)
    return None


async def _be_present(context: Context[Any], presence: Presence) -> None:
    """Keep the presence key fresh and the health's tick going."""
    key = presence_key(context.service, context.node)
    watch = ProcessWatch()
    poke = asyncio.Event()
    forget = context.bus.on_reconnect(poke.set)
    next_put = 0.0
    try:
        while True:
            context.health.tick()
            back = poke.is_set()
            poke.clear()  # also where the bus has gone again: it says so when it is back
            if context.bus.connected and (back or time.monotonic() >= next_put):
                try:
                    bucket = await context.bus.bucket(PRESENCE_BUCKET, ttl_seconds=PRESENCE_TTL_SECONDS, memory=True)
                    cpu_percent, rss_bytes = watch.look()
                    now = msgspec.structs.replace(
                        presence,
                        process_cpu_percent=cpu_percent,
                        rss_bytes=rss_bytes,
                        dropped=context.dropped(),
                    )
                    await bucket.put(key, msgspec.json.encode(now))
                    next_put = time.monotonic() + _PRESENCE_REFRESH_SECONDS
                except MeshError as error:
                    log.debug("presence: %s", error)
            await set_within(poke, 1.0)
    finally:
        forget()
        # Best effort: the key lapses by itself.
        with contextlib.suppress(MeshError, TimeoutError):
            async with asyncio.timeout(1 if context.bus.connected else 0):
                bucket = await context.bus.bucket(PRESENCE_BUCKET, ttl_seconds=PRESENCE_TTL_SECONDS, memory=True)
                await bucket.delete(key)


@contextlib.contextmanager
def _only_one(service: str, settings: Settings) -> Any:
    """One process per service and node owns the node's resources; the kernel frees the lock of a dead one."""
    folder = settings.shm_dir
    try:
        ensure_folder(folder)
        handle = os.open(folder / f".{service}.{settings.node}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
    except OSError as error:
        raise Unavailable(f"shared-memory folder {folder}: {error.strerror}; set FRAMEMESH_SHM_DIR") from None
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise Conflict(
                f"{service} already runs on node {settings.node}; stop it, or give this one another FRAMEMESH_NODE"
            ) from None
        yield
    finally:
        os.close(handle)


def _default_port(service: str) -> int:
    return _FIRST_METRICS_PORT + SERVICES.index(service)


def _tell_ready(presence: Presence) -> None:
    """Tell the launcher, through the pipe it gave us, that we are ready and where."""
    number = os.environ.get(READY_FD_VARIABLE)
    if number is None:
        return
    with contextlib.suppress(OSError, ValueError):
        os.write(int(number), msgspec.json.encode(presence) + b"\n")
        os.close(int(number))


def _restarts() -> int:
    """What the launcher says, which alone knows."""
    text = os.environ.get(RESTARTS_VARIABLE, "0")
    return int(text) if text.isdecimal() else 0


def _bus_figures(context: Context[Any]) -> None:
    stats, figures = context.bus.stats, context.figures
    figures.counter(
        "framemesh_bus_dropped_messages",
        "Messages not published, by reason.",
        lambda: [
            ({"reason": "disconnected"}, stats.dropped_disconnected),
            ({"reason": "outbox_full"}, stats.dropped_full),
            ({"reason": "error"}, stats.dropped_error),
        ],
    )
    figures.counter("framemesh_bus_posted_messages", "Messages published.", lambda: [({}, stats.posted)])
    figures.counter(
        "framemesh_bus_unreadable_messages",
        "Messages received that were not what their subject promises.",
        lambda: [({}, stats.unreadable)],
    )
    figures.counter("framemesh_bus_reconnects", "Times the bus was found again.", lambda: [({}, stats.reconnects)])
    figures.gauge("framemesh_bus_connected", "1 while the bus is there.", lambda: [({}, float(context.bus.connected))])
    figures.gauge(
        "framemesh_info", "Which version runs where.", lambda: [({"node": context.node, "version": VERSION}, 1)]
    )
