"""Builds what keeps tasks: records, places, the loop, the callbacks."""

import time
from typing import Any

from schemas.mix_tasks import ListMixTasks, MixTaskList, TaskPlace
from schemas.subjects import MIX_CALLBACKS_CONSUMER, MIX_CALLBACKS_STREAM, command, mix_callbacks
from services.cloud_mix_proxy.callbacks.deliveries import GIVE_UP_SECONDS, Deliveries
from services.cloud_mix_proxy.tasks.full_rules import SERVICE
from services.cloud_mix_proxy.tasks.keeper import Keeper
from services.cloud_mix_proxy.tasks.leases import Leases
from services.cloud_mix_proxy.tasks.local import LocalPlace, MixCommands
from services.cloud_mix_proxy.tasks.place import Place
from services.cloud_mix_proxy.tasks.plan import Limits
from services.cloud_mix_proxy.tasks.records import Records
from services.cloud_mix_proxy.tasks.retention import forget_old
from services.cloud_mix_proxy.tasks.settings import TaskSettings
from services.cloud_mix_proxy.tasks.takeover import may_take
from services.cloud_mix_proxy.tasks.tasks import Tasks
from services.cloud_mix_proxy.upstream.choice import place_of
from services.cloud_mix_proxy.upstream.cloud import CloudPlace
from services.cloud_mix_proxy.upstream.no_cloud import NoCloud
from shared.bus import Endpoint
from shared.metrics import by_reason, one
from shared.service import Context
from shared.state import StateMirrors

_MAX_CALLBACKS = 10_000  # that wait; a mesh has some dozen tasks with a few notices each
_CALLBACK_LIFE_SECONDS = 3_600.0  # ten minutes of tries, and as long again for a service that was away


async def build_tasks(
    context: Context[Any], settings: TaskSettings, mirrors: StateMirrors, records: Records, mixes: MixCommands
) -> tuple[Tasks, list[Endpoint]]:
    """The tasks, and the commands about them; `mixes`: who makes their mixes.

    Raises:
        Unavailable: the bus does not answer.
        InvalidValue: the settings contradict each other.
    """
    bus = context.bus
    limits = Limits(settings.public_only, settings.lost_seconds, settings.task_hours)
    places: dict[TaskPlace, Place] = {"local": LocalPlace(mirrors, mixes, context.node, limits), "cloud": NoCloud()}
    if settings.upstream_url:
        cloud = CloudPlace.from_settings(settings)
        context.stack.push_async_callback(cloud.close)
        places["cloud"] = cloud
    queue = await bus.work_queue(
        MIX_CALLBACKS_STREAM,
        mix_callbacks(),
        MIX_CALLBACKS_CONSUMER,
        give_up_seconds=GIVE_UP_SECONDS,
        max_items=_MAX_CALLBACKS,
        max_age_seconds=_CALLBACK_LIFE_SECONDS,
    )
    deliveries = Deliveries(context, queue, records, settings.callback_key, allow_private=not settings.public_only)
    keeper = Keeper(
        context,
        records,
        await Leases.open(bus, context.node),
        places,
        queue,
        lambda record: may_take(record, context.node, settings, time.time_ns()),
        task_hours=settings.task_hours,
        prepare_seconds=settings.prepare_seconds,
        upstream_seconds=settings.upstream_seconds,
        fallback=settings.upstream_fallback,
    )
    context.spawn(forget_old(bus, records), "forget-tasks")
    context.stack.push_async_callback(keeper.close)
    context.stack.push_async_callback(deliveries.close)
    mirrors.on_change(keeper.changed)
    tasks = Tasks(
        bus,
        context.node,
        records,
        limits,
        place_of(settings),
        max_tasks=settings.max_tasks,
        max_tasks_per_key=settings.max_tasks_per_key,
    )
    prefix = "framemesh_cloud_mix_proxy"
    context.figures.gauge(f"{prefix}_held_tasks", "Tasks that this node keeps going.", one(lambda: keeper.held))
    context.figures.counter(f"{prefix}_callbacks_delivered", "Notices delivered.", one(lambda: deliveries.delivered))
    context.figures.counter(
        f"{prefix}_callbacks_failed", "Tries to deliver a notice that failed.", by_reason(deliveries.failed)
    )
    return tasks, [Endpoint(command(SERVICE, "tasks"), ListMixTasks, MixTaskList, tasks.show)]
