"""Answers of the CloudMix API: times, details and texts as its clients' models have them."""

import json
import re
from typing import Any

import msgspec
import pytest

from schemas.cloud_mix import CloudMixStatus, MixedRules
from schemas.errors import (
    BadRequest,
    Conflict,
    ErrorInfo,
    InternalError,
    InvalidValue,
    MeshError,
    NotFound,
    TooMany,
    Unavailable,
)
from schemas.mix_tasks import TaskRecord
from services.cloud_mix_proxy.edge.answers import Asked, detailed, listed, new_request_id, refused, success
from services.cloud_mix_proxy.edge.refusal import Refusal, refusal_of
from tests.support.cloud_mix import mixed_rules

pytestmark = pytest.mark.unit
TASK = "3b1a7bb73ab6b06c"
AT_NS = 1_795_219_200 * 10**9 + 999_999_999  # 2026-11-21 00:00:00.999999999 UTC
ASKED = Asked("20261121080000" + "A" * 20, "ListCloudMixTask", "2023-01-01", "cn-beijing", in_action=True)


def record(status: CloudMixStatus = "runing", **fields: Any) -> TaskRecord:
    rules = msgspec.convert(mixed_rules(), MixedRules)
    known: dict[str, Any] = {"task": TASK, "owner": "robot", "name": "a", "created_ns": AT_NS, "updated_ns": AT_NS}
    return TaskRecord(status=status, rules=rules, **{**known, **fields})


def body(response: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(response.body)
    return found


def test_times() -> None:
    found = msgspec.to_builtins(listed([record(), record("done", stopped_ns=AT_NS)], 7))
    assert found["Count"] == 7
    assert [task["StoppedAt"]["Time"] for task in found["Result"]] == [
        "0001-01-01T00:00:00Z",
        "2026-11-21T08:00:00+08:00",
    ]
    assert found["Result"][0]["CreatedAt"] == found["Result"][0]["UpdatedAt"] == {"Time": "2026-11-21T08:00:00+08:00"}


def test_the_rule_is_what_was_asked_for() -> None:
    rules = msgspec.convert(mixed_rules(), MixedRules)
    bare = msgspec.structs.replace(rules, output=msgspec.structs.replace(rules.output, callback=None))
    found = detailed(record(callback_url="https://callback.com"))
    assert json.loads(found.rule) == mixed_rules()
    kept = msgspec.structs.replace(record(callback_url="https://callback.com"), rules=bare)
    assert json.loads(detailed(kept).rule) == mixed_rules(), "the callback is kept beside the rules"
    assert "Callback" not in json.loads(detailed(msgspec.structs.replace(kept, callback_url="")).rule)["Output"]


def test_what_went_wrong_with_a_task() -> None:
    found = msgspec.to_builtins(
        detailed(
            record(
                last_operation=3,
                last_success_operation=2,
                operation_error=ErrorInfo(code=503, message="no such picture"),
                error=ErrorInfo(code=404, message="a source is lost"),
                error_sources=("1", "cam"),
            )
        )
    )
    assert (found["LastOperationIndex"], found["LastSuccessOperationIndex"]) == (3, 2)
    assert (found["LastOperationErrCode"], found["LastOperationErrMsg"]) == (503, "no such picture")
    assert (found["TaskErrCode"], found["TaskErrMsg"]) == (404, "a source is lost")
    assert list(found["TaskErrSrcIDs"]) == ["1", "cam"]


@pytest.mark.parametrize("status", ["pending", "prepare", "runing", "prestop", "done"])
def test_states_are_as_the_api_spells_them(status: CloudMixStatus) -> None:
    assert detailed(record(status)).status == status


def test_request_ids() -> None:
    made = {new_request_id() for _ in range(100)}
    assert len(made) == 100
    assert all(re.fullmatch(r"20\d{12}[0-9A-F]{20}", one) for one in made)


def test_an_error_of_an_action_has_a_result_too() -> None:
    answer = refused(ASKED, Refusal("InvalidParameter", "Name: no"))
    assert answer.status == 400
    assert body(answer) == {
        "ResponseMetadata": {
            "RequestId": ASKED.request_id,
            "RequestID": ASKED.request_id,
            "Action": "ListCloudMixTask",
            "Version": "2023-01-01",
            "Service": "live",
            "Region": "cn-beijing",
            "Error": {"CodeN": 400, "Code": "InvalidParameter", "Message": "Name: no"},
        },
        "Result": {"Code": 400, "Message": "Name: no", "Data": None},
    }
    assert "Result" not in body(refused(ASKED._replace(in_action=False), Refusal("MissingParameter", "no Action")))
    assert "Result" not in body(refused(ASKED, Refusal("InternalError", "x")))


def test_success() -> None:
    answer = success(ASKED, "kill task")
    assert answer.status == 200
    assert body(answer)["Result"] == {"Code": 0, "Message": "success", "Data": "kill task"}
    assert "Error" not in body(answer)["ResponseMetadata"]


ERRORS: list[tuple[MeshError, bool, str, int]] = [
    (Conflict("taken"), True, "InvalidParameter.TaskAlreadyExists", 400),
    (Conflict("it is done"), False, "InvalidParameter.ErrorActiveTaskNotFound", 400),
    (NotFound("none"), False, "InvalidParameter.ErrorActiveTaskNotFound", 400),
    (InvalidValue("Output.Url", "x", "y"), False, "InvalidParameter", 400),
    (BadRequest("z"), True, "InvalidParameter", 400),
    (TooMany("16 tasks"), True, "FlowLimitExceeded", 429),
    (Unavailable("nats://secret@host"), False, "FailToConnect", 502),
    (InternalError("line 5"), False, "InternalError", 500),
]


@pytest.mark.parametrize(("error", "creating", "code", "status"), ERRORS)
def test_errors_of_the_mesh(error: MeshError, creating: bool, code: str, status: int) -> None:
    found = refusal_of(error, creating=creating)
    assert (found.code, found.status) == (code, status)
    assert (found.message == error.message) == (status < 500), "what is ours stays in the log"
    assert found.number > 0
    assert bool(found.retry_after_s) == (status == 429)
