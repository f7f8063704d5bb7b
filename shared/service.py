"""The life of a service process: settings, logs, metrics, bus, its own parts, ready, signals, drain.

A service's `__main__` calls `run_service` with a function that builds its parts; everything put on the context's
stack is undone in reverse order at the end, also when building fails half-way.
"""

import asyncio
import contextlib
import logging
import os
import secrets
import signal
import socket
import sys
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any, Generic, TypeVar

import msgspec

from schemas.errors import MeshError, NotFound
from schemas.events import Event
from schemas.resources import Presence
from schemas.service_table import BY_NAME
from schemas.subjects import PRESENCE_BUCKET, presence_key
from shared import notify
from shared.audit import Audit
from shared.bus import Bus, shown_servers
from shared.leaf.keeper import check_node, keep_in_step
from shared.logs import setup_logging
from shared.metrics import Figures, Health, MetricsServer
from shared.migration import Migration, migrate
from shared.place import Place
from shared.process_figures import ProcessWatch
from shared.service_figures import register_service
from shared.settings import PREFIX, Settings, load_settings
from shared.share import Share
from shared.tasks import end_tasks, set_within, tell_untold

log = logging.getLogger(__name__)

VERSION = version("framemesh")
_PRESENCE_REFRESH_SECONDS = 3.0
_TICK_SECONDS = 1.0  # a health that has not heard of its event loop for ten of them is ill
_STOP_TIMEOUT_SECONDS = 8.0  # compose grants 10 s before it kills
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
    audit: Audit | None = None
    """For commands that come over doors of its own; None: nobody keeps one, as in tests of its parts."""
    http_url: str = ""
    """Set by services that have an HTTP door; shown in presence and by `up`."""
    rtsp_url: str = ""
    """Where streams can be pulled, of publishers; shown likewise."""
    states: dict[tuple[str, str], tuple[str, str]] = field(default_factory=dict)
    """Of the resources that this service keeps going: kind and id, and the stream they belong to and their state."""
    dropped: Callable[[], dict[str, int]] = dict
    """What was left out so far, by reason; shown in presence."""
    share: Share | None = None
    """Which part of the node's work is this instance's; None: all, there are no others."""
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
    migrations: Sequence[Migration] = (),
) -> None:
    """Run a service until it is told to stop; does not return.

    `loop_factory` makes its event loop; None: asyncio's own. `migrations`: what brings records of earlier versions up
    to date.

    Exits with 0 after SIGTERM or SIGINT, 1 after an internal failure, 2 with one clear line when it cannot start.
    """
    try:
        settings = load_settings(settings_type, service)
        setup_logging(service, settings.log)
        # Never closed: that would wait for threads that hang, in a driver or a network file system.
        code = asyncio.Runner(loop_factory=loop_factory).run(_run(service, settings, build, migrations))
    except MeshError as error:
        print(f"{service}: error {error.code}: {error.message}", file=sys.stderr, flush=True)  # noqa: T201
        code = EXIT_CANNOT_START
    except KeyboardInterrupt:
        code = 0
    # Not sys.exit: a media thread stuck in a driver must not keep a finished process alive.
    logging.shutdown()
    sys.stderr.flush()
    os._exit(code)


async def _run(
    service: str,
    settings: SettingsT,
    build: Callable[[Context[SettingsT]], Awaitable[None]],
    migrations: Sequence[Migration],
) -> int:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(tell_untold)
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    health = Health()
    async with AsyncExitStack() as stack:
        most = BY_NAME[service].most_instances
        place = Place.take(settings.shm_dir, service, settings.node, settings.instance, most)
        stack.callback(place.close)
        own = f"{PREFIX}{service.upper().replace('-', '_')}_METRICS_PORT"
        metrics = MetricsServer(settings.bind, settings.metrics_port or BY_NAME[service].metrics_port, own, health)
        stack.callback(metrics.close)
        bus = await _connect(service, settings, stopping, health)
        if bus is None:
            return 0
        stack.push_async_callback(bus.drain)
        check_node(bus, settings.node)
        await bus.ensure_events()
        await migrate(bus, service, migrations)
        figures = Figures()
        if settings.otlp_endpoint:
            stack.callback(_export_spans(service, settings, health, figures))
        audit = Audit(bus, service, settings, health, figures)
        stack.push_async_callback(audit.close)
        context = Context(service, settings, bus, stack, health, figures, stopping, audit)
        bus.on_closed(context.bus_closed)
        watch = register_service(context, VERSION)
        watch.start()
        stack.callback(watch.close)
        inner = await stack.enter_async_context(AsyncExitStack())
        context.stack = inner
        inner.push_async_callback(context.cancel_tasks)
        if most > 1:
            context.share = Share(place)
            context.spawn(context.share.run(), "share")
        await build(context)
        presence = Presence(
            service=service,
            node=settings.node,
            instance=secrets.token_hex(4),
            number=place.number,
            hostname=socket.gethostname(),
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
        if bus.leaf_of is not None:
            context.spawn(keep_in_step(bus, settings.node, settings.shm_dir), "leaf-keeper")
        health.ready = True
        _tell_ready(presence)
        notify.tell(notify.READY)
        log.info("ready on node %s, metrics at %s", settings.node, metrics.url)
        await stopping.wait()
        health.ready = False
        notify.tell(notify.STOPPING)
        log.info("stopping")
        try:
            async with asyncio.timeout(_STOP_TIMEOUT_SECONDS):
                await inner.aclose()
        except TimeoutError:
            log.error("not everything stopped within %s s", _STOP_TIMEOUT_SECONDS)
        return 1 if context.failed else 0


def _export_spans(service: str, settings: Settings, health: Health, figures: Figures) -> Callable[[], None]:
    """Returns what ends it."""
    try:
        from shared.otlp import SpanExport  # where no collector is set nobody pays for it
    except ModuleNotFoundError as error:
        raise NotFound(f'{error.name} is not installed: pip install "framemesh[otlp]"') from None
    return SpanExport(settings.otlp_endpoint, service, settings.node, VERSION, health, figures).close


async def _connect(service: str, settings: Settings, stopping: asyncio.Event, health: Health) -> Bus | None:
    """The bus, however long that takes; None when told to stop first."""
    connecting = asyncio.create_task(
        Bus.connect(
            settings.nats_url,
            name=f"{service}@{settings.node}",
            access=settings.bus_access(),
            replicas=settings.nats_replicas,
        )
    )
    stopped = asyncio.create_task(stopping.wait())
    done, _ = await asyncio.wait({connecting, stopped}, timeout=2, return_when=asyncio.FIRST_COMPLETED)
    if not done:
        log.warning("no NATS server yet at %s, waiting", shown_servers(settings.nats_url))
        while not done:
            health.tick()  # who waits is well: to start it again would not bring the server back
            done, _ = await asyncio.wait(
                {connecting, stopped}, timeout=_TICK_SECONDS, return_when=asyncio.FIRST_COMPLETED
            )
    if connecting in done:
        stopped.cancel()
        return connecting.result()
    await end_tasks(connecting)
    return None


async def _be_present(context: Context[Any], presence: Presence) -> None:
    """Keep the presence key fresh and the health's tick going."""
    key = presence_key(context.service, context.node, presence.number)
    watch = ProcessWatch()
    poke = asyncio.Event()
    forget = context.bus.on_reconnect(poke.set)
    next_put = 0.0
    try:
        while True:
            context.health.tick()
            notify.tell(notify.ALIVE)
            back = poke.is_set()
            poke.clear()  # also where the bus has gone again: it says so when it is back
            if context.bus.connected and (back or time.monotonic() >= next_put):
                try:
                    bucket = await context.bus.bucket(PRESENCE_BUCKET)
                    cpu_percent, rss_bytes = watch.look()
                    now = msgspec.structs.replace(
                        presence,
                        process_cpu_percent=cpu_percent,
                        rss_bytes=rss_bytes,
                        dropped=context.dropped(),
                        at_ns=time.time_ns(),
                    )
                    await bucket.put(key, msgspec.json.encode(now))
                    next_put = time.monotonic() + _PRESENCE_REFRESH_SECONDS
                except MeshError as error:
                    log.debug("presence: %s", error)
            await set_within(poke, _TICK_SECONDS)
    finally:
        forget()
        # Best effort: the key lapses by itself.
        with contextlib.suppress(MeshError, TimeoutError):
            async with asyncio.timeout(1 if context.bus.connected else 0):
                bucket = await context.bus.bucket(PRESENCE_BUCKET)
                await bucket.delete(key)


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
