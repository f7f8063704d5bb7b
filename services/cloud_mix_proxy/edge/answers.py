"""What the API answers, in the document's words and order."""

import secrets
from datetime import UTC, datetime, timedelta, timezone
from typing import Any, Final, NamedTuple

import msgspec
from aiohttp import web
from msgspec import Struct
from msgspec.structs import replace

from schemas.cloud_mix import Callback, MixedRules
from schemas.errors import ErrorInfo
from schemas.mix_tasks import TaskRecord
from services.cloud_mix_proxy.edge.refusal import Refusal
from services.cloud_mix_proxy.edge.signature import SERVICE

VERSION: Final = "2023-01-01"
DEFAULT_REGION: Final = "cn-north-1"
_ZONE: Final = timezone(timedelta(hours=8))  # of every time in the document's examples
_NEVER: Final = "0001-01-01T00:00:00Z"
_RANDOM_BYTES: Final = 10
_BAD_REQUEST: Final = 400


class Asked(NamedTuple):
    """What every answer says of its request."""

    request_id: str
    action: str = ""
    version: str = ""
    region: str = DEFAULT_REGION
    in_action: bool = False
    """It got as far as the action itself."""


class Moment(Struct, frozen=True, rename="pascal"):
    time: str


class ListedTask(Struct, frozen=True, kw_only=True, rename="pascal"):
    """A task in a list."""

    task_id: str = msgspec.field(name="TaskID")
    name: str
    status: str
    created_at: Moment
    updated_at: Moment
    stopped_at: Moment


class TaskList(Struct, frozen=True, kw_only=True, rename="pascal"):
    count: int
    """Of all tasks."""
    result: tuple[ListedTask, ...]


class TaskDetail(Struct, frozen=True, kw_only=True, rename="pascal"):
    task_id: str = msgspec.field(name="TaskID")
    status: str
    last_operation_index: int
    last_success_operation_index: int
    rule: str
    """JSON of the rules."""
    last_operation_err_code: int
    last_operation_err_msg: str
    task_err_code: int
    task_err_msg: str
    task_err_src_ids: tuple[str, ...] = msgspec.field(name="TaskErrSrcIDs")


def new_request_id() -> str:
    return datetime.now(_ZONE).strftime("%Y%m%d%H%M%S") + secrets.token_hex(_RANDOM_BYTES).upper()


def listed(records: list[TaskRecord], count: int) -> TaskList:
    return TaskList(count=count, result=tuple(_listed(record) for record in records))


def detailed(record: TaskRecord) -> TaskDetail:
    operation, task = record.operation_error, record.error
    return TaskDetail(
        task_id=record.task,
        status=record.status,
        last_operation_index=record.last_operation,
        last_success_operation_index=record.last_success_operation,
        rule=msgspec.json.encode(_with_callback(record)).decode(),
        last_operation_err_code=_code(operation),
        last_operation_err_msg=operation.message if operation else "",
        task_err_code=_code(task),
        task_err_msg=task.message if task else "",
        task_err_src_ids=record.error_sources,
    )


def success(asked: Asked, data: object) -> web.Response:
    """`data`: what `Result.Data` is."""
    return _response(200, {"ResponseMetadata": _metadata(asked), "Result": _result(0, "success", data)})


def refused(asked: Asked, refusal: Refusal) -> web.Response:
    """An error, in the gateway's form; what an action itself refuses has a result too, which some clients read."""
    error = {"CodeN": refusal.number, "Code": refusal.code, "Message": refusal.message}
    body: dict[str, Any] = {"ResponseMetadata": {**_metadata(asked), "Error": error}}
    if asked.in_action and refusal.status == _BAD_REQUEST:
        body["Result"] = _result(_BAD_REQUEST, refusal.message, None)
    response = _response(refusal.status, body)
    if refusal.retry_after_s:
        response.headers["Retry-After"] = str(refusal.retry_after_s)
    return response


def _metadata(asked: Asked) -> dict[str, str]:
    return {
        # One model reads the first, the others the second.
        "RequestId": asked.request_id,
        "RequestID": asked.request_id,
        "Action": asked.action,
        "Version": asked.version,
        "Service": SERVICE,
        "Region": asked.region,
    }


def _result(code: int, message: str, data: object) -> dict[str, object]:
    return {"Code": code, "Message": message, "Data": data}


def _with_callback(record: TaskRecord) -> MixedRules:
    """The rules as they were asked for: their callback is kept beside them."""
    rules = record.rules
    if not record.callback_url:
        return rules
    return replace(rules, output=replace(rules.output, callback=Callback(url=record.callback_url)))


def _listed(record: TaskRecord) -> ListedTask:
    return ListedTask(
        task_id=record.task,
        name=record.name,
        status=record.status,
        created_at=_moment(record.created_ns),
        updated_at=_moment(record.updated_ns),
        stopped_at=_moment(record.stopped_ns),
    )


def _moment(at_ns: int) -> Moment:
    if not at_ns:
        return Moment(_NEVER)
    return Moment(datetime.fromtimestamp(at_ns // 10**9, UTC).astimezone(_ZONE).isoformat())


def _code(error: ErrorInfo | None) -> int:
    return error.code if error else 0


def _response(status: int, body: dict[str, Any]) -> web.Response:
    return web.Response(status=status, body=msgspec.json.encode(body), content_type="application/json")
