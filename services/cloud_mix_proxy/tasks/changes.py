"""What may become of a record: every transition in one place, without I/O, with the notice that goes with it."""

import time

from msgspec.structs import replace

from schemas.cloud_mix import CloudMixStatus
from schemas.errors import ErrorInfo
from schemas.mix_tasks import MAX_UNTOLD, TaskNotice, TaskRecord
from services.cloud_mix_proxy.tasks.place import Seen


def noticed(record: TaskRecord, sources: tuple[str, ...] = (), error: ErrorInfo | None = None) -> TaskRecord:
    """With a notice of what the record says now, where somebody is told."""
    if not record.callback_url:
        return record
    notice = TaskNotice(
        number=record.notices + 1, status=record.status, at_ns=record.updated_ns, sources=sources, error=error
    )
    untold = (*record.untold, notice)
    dropped = max(0, len(untold) - MAX_UNTOLD)
    return replace(
        record,
        notices=notice.number,
        untold=untold[dropped:],
        untold_dropped=record.untold_dropped + dropped,
    )


def told(record: TaskRecord, last: int) -> TaskRecord:
    """Notices up to number `last` are in the queue."""
    return replace(record, untold=tuple(one for one in record.untold if one.number > last))


def with_status(record: TaskRecord, status: CloudMixStatus, error: ErrorInfo | None = None) -> TaskRecord:
    """In another state; in the same one it is the same record."""
    if record.status == status:
        return record
    now_ns = time.time_ns()
    changed = replace(
        record,
        status=status,
        updated_ns=now_ns,
        stopped_ns=now_ns if status == "done" else 0,
        error=error or record.error,
    )
    return noticed(changed, record.error_sources if error else (), error or changed.error)


def with_seen(record: TaskRecord, seen: Seen) -> TaskRecord:
    """As the task's place sees it; one that is ending or done stays that."""
    if record.status in ("prestop", "done") or record.stopping:
        return record
    now_ns = time.time_ns()
    changed = replace(
        record,
        mix_operation=max(record.mix_operation, seen.told_operation),
        mix_revision=seen.revision or record.mix_revision,
        last_success_operation=max(record.last_success_operation, seen.applied_operation),
        operation_error=seen.operation_error if seen.told_operation >= record.last_operation else None,
        error=seen.error,
        error_sources=seen.lost,
    )
    if seen.cloud_task:
        changed = replace(changed, cloud_task=seen.cloud_task)
    status: CloudMixStatus = "runing" if seen.running or record.status == "runing" else "prepare"
    if changed == record and status == record.status:
        return record
    changed = replace(changed, updated_ns=now_ns)
    if status != record.status:
        changed = noticed(replace(changed, status=status))
    if changed.last_success_operation > record.last_success_operation > 0:
        changed = noticed(changed)
    if changed.operation_error and changed.operation_error != record.operation_error:
        changed = noticed(changed, error=changed.operation_error)
    if set(seen.lost) - set(record.error_sources):
        error = seen.error or ErrorInfo(code=503, message="sources are lost")
        changed = noticed(changed, tuple(sorted(set(seen.lost) - set(record.error_sources))), error)
    elif back := set(record.error_sources) - set(seen.lost):
        changed = noticed(changed, tuple(sorted(back)))
    return changed
