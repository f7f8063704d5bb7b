"""The form of each queue of work: what whoever makes it first makes it with."""

from msgspec import Struct

from schemas import subjects
from schemas.buckets import JOB_LIFE_SECONDS


class QueueForm(Struct, frozen=True, kw_only=True):
    """How a queue is kept."""

    subject: str
    consumer: str
    """What its workers share."""
    give_up_seconds: float
    """An item that nobody has told of for so long is given to another worker; the workers' setting, where they have
    one."""
    max_items: int
    """A full one refuses more."""
    max_age_seconds: float


QUEUES: dict[str, QueueForm] = {
    subjects.JOBS_STREAM: QueueForm(
        subject=subjects.job_tasks(),
        consumer=subjects.JOBS_CONSUMER,
        give_up_seconds=6.0,
        max_items=100_000,
        max_age_seconds=JOB_LIFE_SECONDS,
    ),
    subjects.MIX_CALLBACKS_STREAM: QueueForm(
        subject=subjects.mix_callbacks(),
        consumer=subjects.MIX_CALLBACKS_CONSUMER,
        give_up_seconds=12.0,
        max_items=10_000,
        max_age_seconds=3_600.0,
    ),
}
