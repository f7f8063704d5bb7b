"""Transitions of a task, and the notices that go with them."""

import hashlib
import json
import time

import msgspec
import pytest
from msgspec.structs import replace

from schemas.errors import ErrorInfo
from schemas.mix_tasks import MAX_UNTOLD, CallbackItem, TaskNotice, TaskRecord
from services.cloud_mix_proxy.callbacks.envelope import envelope
from services.cloud_mix_proxy.tasks.changes import noticed, told, with_seen, with_status
from services.cloud_mix_proxy.tasks.place import Seen
from tests.unit.test_mix_task_plan import TASK, rules

pytestmark = pytest.mark.unit

LATE = ErrorInfo(code=503, message="it does not answer")
RECORD = TaskRecord(
    task=TASK, owner="main", name="m", status="prepare", rules=rules(), callback_url="https://c.example/",
    created_ns=1, updated_ns=1,
)  # fmt: skip


def notices(record: TaskRecord) -> list[tuple[int, str, tuple[str, ...], bool]]:
    return [(one.number, one.status, one.sources, one.error is not None) for one in record.untold]


def test_it_runs_once_it_is_seen() -> None:
    waiting = with_seen(RECORD, Seen(told_operation=1, revision=7))
    assert (waiting.status, waiting.mix_operation, waiting.mix_revision, waiting.untold) == ("prepare", 1, 7, ())
    running = with_seen(waiting, Seen(running=True, told_operation=1, applied_operation=1, revision=7))
    assert (running.status, running.last_success_operation) == ("runing", 1)
    assert notices(running) == [(1, "runing", (), False)]
    assert with_seen(running, Seen(running=True, told_operation=1, applied_operation=1, revision=7)) == running


def test_a_mixer_that_starts_again_leaves_it_running() -> None:
    running = with_seen(RECORD, Seen(running=True))
    assert with_seen(running, Seen(running=False)).status == "runing"


def test_an_update_is_told_of_when_it_is_seen_or_fails() -> None:
    running = replace(RECORD, status="runing", last_operation=2, last_success_operation=1, mix_operation=1)
    seen = with_seen(running, Seen(running=True, told_operation=2, applied_operation=2))
    assert seen.last_success_operation == 2
    assert notices(seen) == [(1, "runing", (), False)]
    failed = with_seen(running, Seen(running=True, told_operation=2, operation_error=LATE))
    assert (failed.last_success_operation, failed.operation_error) == (1, LATE)
    assert notices(failed) == [(1, "runing", (), True)]
    assert with_seen(failed, Seen(running=True, told_operation=2, operation_error=LATE)) == failed


def test_sources_are_lost_and_come_back() -> None:
    running = replace(RECORD, status="runing")
    lost = with_seen(running, Seen(running=True, lost=("1", "a b")))
    back = with_seen(lost, Seen(running=True, lost=("1",)))
    assert notices(back) == [(1, "runing", ("1", "a b"), True), (2, "runing", ("a b",), False)]
    assert back.error_sources == ("1",)


def test_what_ends_stays_ended() -> None:
    ending = with_status(RECORD, "prestop", LATE)
    assert with_seen(ending, Seen(running=True)) == ending
    done = with_status(ending, "done")
    assert (done.error, done.stopped_ns > 0) == (LATE, True)
    assert with_status(done, "done") == done
    assert [one.status for one in done.untold] == ["prestop", "done"]


def test_nobody_is_told_where_nobody_asked() -> None:
    assert with_status(replace(RECORD, callback_url=""), "done").untold == ()


def test_notices_are_bounded_and_leave_in_order() -> None:
    record = RECORD
    for _ in range(MAX_UNTOLD + 3):
        record = noticed(record)
    assert (len(record.untold), record.untold_dropped, record.untold[-1].number) == (MAX_UNTOLD, 3, MAX_UNTOLD + 3)
    assert [one.number for one in told(record, MAX_UNTOLD + 2).untold] == [MAX_UNTOLD + 3]


def test_a_callback_is_the_envelope_of_the_api() -> None:
    notice = TaskNotice(number=3, status="runing", at_ns=1_795_000_000_123_000_000, sources=("1",), error=LATE)
    now_s = int(time.time())
    body = json.loads(envelope(CallbackItem(task=TASK, name="m", notice=notice), "word", now_s))
    assert (body["code"], body["message"], body["data"]["event_type"]) == (0, "ok", "cloud_mix_task")
    assert body["data"]["t"] == now_s + 600
    assert body["data"]["sign"] == hashlib.new("md5", f"word{now_s + 600}".encode(), usedforsecurity=False).hexdigest()
    assert body["data"]["detail"] == {
        "task_id": TASK, "name": "m", "number": 3, "status": "runing", "source_ids": ["1"], "err_code": 503,
        "err_msg": "it does not answer", "time": "2026-11-18T11:06:40.123+00:00",
    }  # fmt: skip
    assert json.loads(envelope(CallbackItem(task=TASK, name="m", notice=notice), "", now_s))["data"]["sign"] == ""


def test_a_record_survives_its_encoding() -> None:
    record = with_status(RECORD, "prestop", LATE)
    assert msgspec.json.decode(msgspec.json.encode(record), type=TaskRecord) == record
