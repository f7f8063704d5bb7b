"""What every service tells Prometheus of itself: its bus, its loop and clock, its processes, the memory it shares."""

import contextlib
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from schemas.service_table import BY_NAME
from shared.bus import Bus
from shared.loop_watch import LoopWatch
from shared.metrics import Figures, Health, Sample, one
from shared.process_figures import ProcessWatch

if TYPE_CHECKING:
    from shared.service import Context


def register_service(context: "Context[Any]", version: str) -> LoopWatch:
    """Register all that services have in common; returns what watches the event loop, to be started."""
    figures, settings = context.figures, context.settings
    watch = LoopWatch()
    _register_bus(figures, context.bus)
    _register_loop(figures, watch, context.health)
    _register_processes(figures)
    disk_figures(figures, "framemesh_shm", "shared memory", lambda: [({}, settings.shm_dir)])
    # A unit test's service is in no table.
    entry = BY_NAME.get(context.service)
    if entry is not None and entry.writes != "nothing":
        disk_figures(figures, "framemesh_data", "the data folder's disk", lambda: [({}, settings.data_dir)])
    figures.gauge(
        "framemesh_info", "Which version runs where.", lambda: [({"node": context.node, "version": version}, 1)]
    )
    figures.gauge(
        "framemesh_resource_state",
        "1, of each resource that this service keeps going and the state that it is in.",
        lambda: [
            ({"kind": kind, "id": name, "stream": stream, "state": state}, 1.0)
            for (kind, name), (stream, state) in tuple(context.states.items())
        ],
    )
    return watch


def disk_figures(
    figures: Figures, prefix: str, what: str, folders: Callable[[], list[tuple[dict[str, str], Path]]]
) -> None:
    """Size and free bytes of the file systems that these folders lie on; none of a folder that is not there."""

    def each(read: Callable[[os.statvfs_result], int]) -> Callable[[], list[Sample]]:
        def look() -> list[Sample]:
            found: list[Sample] = []
            for labels, folder in folders():
                with contextlib.suppress(OSError):
                    status = os.statvfs(folder)
                    found.append((labels, float(read(status) * status.f_frsize)))
            return found

        return look

    figures.gauge(f"{prefix}_size_bytes", f"Size of {what}.", each(lambda status: status.f_blocks))
    figures.gauge(f"{prefix}_free_bytes", f"Free for framemesh of {what}.", each(lambda status: status.f_bavail))


def _register_loop(figures: Figures, watch: LoopWatch, health: Health) -> None:
    figures.histogram("framemesh_loop_lag_seconds", "How late the event loop came to a callback.", watch.lag_seconds)
    figures.gauge("framemesh_loop_tasks", "Tasks of the event loop that are not done.", one(lambda: watch.tasks))
    figures.counter(
        "framemesh_clock_steps", "Times the wall clock jumped, or the machine slept.", one(lambda: watch.clock_steps)
    )
    figures.gauge("framemesh_healthy", "1 while `/healthz` answers 200.", one(lambda: float(health.healthy)))
    figures.gauge("framemesh_ready", "1 while `/readyz` answers 200.", one(lambda: float(health.ready)))


def _register_processes(figures: Figures) -> None:
    watch, looking = ProcessWatch(), threading.Lock()  # two may scrape at once

    def cpu_seconds() -> float:
        with looking:
            watch.look()
            return watch.cpu_seconds

    figures.counter("framemesh_cpu_seconds", "CPU time of the service and of its child processes.", one(cpu_seconds))
    figures.gauge(
        "framemesh_memory_bytes",
        "Memory of the service and of its child processes; what they share counts in each.",
        one(lambda: watch.rss_bytes),
    )


def _register_bus(figures: Figures, bus: Bus) -> None:
    stats = bus.stats
    figures.counter(
        "framemesh_bus_dropped_messages",
        "Messages not published, by reason.",
        lambda: [
            ({"reason": "disconnected"}, stats.dropped_disconnected),
            ({"reason": "outbox_full"}, stats.dropped_full),
            ({"reason": "error"}, stats.dropped_error),
        ],
    )
    figures.counter("framemesh_bus_posted_messages", "Messages published.", one(lambda: stats.posted))
    figures.counter(
        "framemesh_bus_unreadable_messages",
        "Messages received that were not what their subject promises.",
        one(lambda: stats.unreadable),
    )
    figures.counter(
        "framemesh_bus_refused_messages",
        "Messages and subscriptions that the server does not let this service have.",
        one(lambda: stats.refused),
    )
    figures.counter("framemesh_bus_reconnects", "Times the bus was found again.", one(lambda: stats.reconnects))
    figures.gauge("framemesh_bus_connected", "1 while the bus is there.", one(lambda: float(bus.connected)))
