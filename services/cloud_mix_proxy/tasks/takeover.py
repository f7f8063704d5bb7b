"""Which tasks a node may take that cannot ask the cloud: not those that another one has there, which may come back."""

from typing import Final

from schemas.mix_tasks import LIVE_STATUSES, TaskRecord
from schemas.units import NS_PER_SECOND
from services.cloud_mix_proxy.tasks.remains import GIVE_UP_SECONDS
from services.cloud_mix_proxy.tasks.settings import TaskSettings

_HOUR_SECONDS: Final = 3_600.0


def may_take(record: TaskRecord, node: str, settings: TaskSettings, now_ns: int) -> bool:
    """Whether `node` sees to a task that nobody holds; `now_ns` of CLOCK_REALTIME.

    Without a cloud: what was its own, what is mixed in this mesh, and what those who have one have let lie for longer
    than they would themselves.
    """
    if settings.upstream_url or record.node == node:
        return True
    if record.status not in LIVE_STATUSES:
        return bool(record.untold)  # what the cloud has left is for who can ask it
    if record.place == "local":
        return True
    if record.stopping or record.status == "prestop":
        return now_ns - record.updated_ns > GIVE_UP_SECONDS * NS_PER_SECOND
    if record.cloud_task:
        return now_ns - record.created_ns > settings.task_hours * _HOUR_SECONDS * NS_PER_SECOND
    return now_ns - record.created_ns > settings.upstream_seconds * NS_PER_SECOND
