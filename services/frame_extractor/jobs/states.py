"""From one state of a job to the next: plain functions, so that each change can be written by compare-and-set."""

import time

from msgspec.structs import replace

from schemas.extraction import ENDED_STATES, FailureKind, Job, JobRecord, JobTask, VideoFacts

# What may pass by itself: the network, a storage's moment of weakness, a crash.
PASSING: frozenset[FailureKind] = frozenset(("download", "storage", "internal"))
_FIRST_RETRY_SECONDS = 1.0
_RETRY_FACTOR = 4.0  # 1, 4, 16 s: a restart of a storage is over by then
_MAX_RETRY_SECONDS = 300.0


def submitted(task: JobTask) -> JobRecord:
    """A job that waits."""
    request = task.request
    return JobRecord(
        job=Job(
            id=task.job,
            state="pending",
            owner=request.owner,
            video=request.video,
            to=request.to,
            submitted_ns=task.submitted_ns,
        ),
        video_secret=task.video_secret,
    )


def claimed(record: JobRecord, worker: str) -> JobRecord:
    """Begun by `worker`. The try counts at once: a worker that the job kills can no longer say so."""
    job = replace(
        record.job,
        state="running",
        attempt=record.job.attempt + 1,
        worker=worker,
        started_ns=max(time.time_ns(), record.job.submitted_ns),  # another node's clock may be ahead of ours
        done=0,
        expected=None,
        failure="",
        message="",
    )
    return replace(record, job=job, tries=record.tries + 1)


def advanced(record: JobRecord, done: int, expected: int | None) -> JobRecord:
    return replace(record, job=replace(record.job, done=done, expected=expected))


def given_back(record: JobRecord) -> JobRecord:
    """Its worker stops, for a reason that is not the job's."""
    return replace(record, job=replace(record.job, state="pending", worker=""), tries=max(0, record.tries - 1))


def put_off(record: JobRecord, kind: FailureKind, message: str, seconds: float) -> JobRecord:
    """Failed by what may pass: to be tried again."""
    text = f"attempt {record.job.attempt} failed ({message}); the next one is in {seconds:g} s"
    return replace(record, job=replace(record.job, state="pending", worker="", failure=kind, message=text))


def failed(record: JobRecord, kind: FailureKind, message: str) -> JobRecord:
    return _ended(replace(record.job, state="failed", failure=kind, message=message), record)


def canceled(record: JobRecord) -> JobRecord:
    return _ended(replace(record.job, state="canceled", failure="", message=""), record)


def completed(record: JobRecord, facts: VideoFacts, pictures: int, pages: tuple[int, ...]) -> JobRecord:
    job = replace(record.job, state="completed", facts=facts, done=pictures, expected=pictures, message=facts.note)
    return _ended(job, replace(record, pages=pages))


def has_ended(record: JobRecord) -> bool:
    return record.job.state in ENDED_STATES


def retry_seconds(tries: int) -> float:
    """How long after the `tries`-th try the next one is."""
    return min(_MAX_RETRY_SECONDS, _FIRST_RETRY_SECONDS * _RETRY_FACTOR ** max(0, tries - 1))


def _ended(job: Job, record: JobRecord) -> JobRecord:
    return replace(record, job=replace(job, ended_ns=max(time.time_ns(), job.submitted_ns, job.started_ns)))
