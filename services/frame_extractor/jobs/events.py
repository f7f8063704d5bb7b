"""What jobs tell the mesh."""

import time

from schemas.errors import BadRequest, ErrorInfo, InternalError, Unavailable
from schemas.events import JOB_PROGRESS, Event
from schemas.extraction import FailureKind, JobRecord
from shared.bus import Bus

SERVICE = "frame-extractor"
_OUR_FAULT: frozenset[FailureKind] = frozenset(("internal",))
_PASSING: frozenset[FailureKind] = frozenset(("download", "storage", "timeout"))


def post_job_event(bus: Bus, node: str, record: JobRecord, name: str) -> None:
    """`job-submitted`, `job-started`, `job-progress`, `job-completed`, `job-failed`, `job-retried` or
    `job-canceled`."""
    job = record.job
    error = None
    if job.failure:
        code = InternalError.code if job.failure in _OUR_FAULT else BadRequest.code
        error = ErrorInfo(code=Unavailable.code if job.failure in _PASSING else code, message=job.message)
    detail: dict[str, object] = {"owner": job.owner, "attempt": job.attempt, "done": job.done, "expected": job.expected}
    if job.failure:
        detail["failure"] = job.failure
    if job.state == "completed":
        detail["seconds"] = round((job.ended_ns - job.started_ns) / 1e9, 3)
    bus.post_event(
        Event(
            service=SERVICE,
            id=job.id,
            event=name,
            node=node,
            at_ns=time.time_ns(),
            state=job.state,
            error=error,
            detail=detail,
        ),
        kept=name != JOB_PROGRESS,  # twice a second of each job: the others would be gone in an hour
    )
