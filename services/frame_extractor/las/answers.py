"""What the API answers, in the document's words and order."""

import secrets
import time
from collections.abc import Callable, Iterable
from typing import Final, Literal

import msgspec
from aiohttp import web
from msgspec import UNSET, Struct, UnsetType

from schemas.extraction import ExtractedFrame, Job, JobState
from services.frame_extractor.las.failures import OF_KIND, RATE_LIMIT, TASK_NOT_FOUND, VIDEO_TIMEOUT, Failure, Refused

TaskStatus = Literal["PENDING", "RUNNING", "COMPLETED", "FAILED", "TIMEOUT"]
TASK_DAYS: Final = 3
_TASK_NS: Final = TASK_DAYS * 86_400 * 10**9
_STATUS: Final[dict[JobState, TaskStatus]] = {
    "pending": "PENDING",
    "running": "RUNNING",
    "completed": "COMPLETED",
    "failed": "FAILED",
    "canceled": "FAILED",
}
_CANCELED: Final = "the task was canceled by whoever runs this service"
REQUEST_ID: Final = web.RequestKey("request-id", str)

# What a job calls them.
_NAMES: Final = (
    ("pictures.short_side", "data.resize_short_side"),
    ("pictures.width", "data.resize_hw"),
    ("pictures.height", "data.resize_hw"),
)

# Of the picture at a path: where it can be fetched.
MakeLink = Callable[[str], str]


class Metadata(Struct, frozen=True, kw_only=True):
    """Of every answer."""

    task_id: str
    task_status: TaskStatus
    business_code: str
    """`0` when all is well."""
    error_msg: str
    request_id: str


class Frame(Struct, frozen=True, kw_only=True):
    """One picture."""

    index: int
    timestamp_seconds: float
    width: int
    height: int
    http_url: str
    """A link that ends; each poll gives a new one."""
    tos_path: str


class VideoFrameExtractResponse(Struct, frozen=True, kw_only=True):
    """`data` of a completed task."""

    video_duration: float
    """Seconds."""
    video_resolution: str
    """`WxH` of the video, as it is shown."""
    frame_count: int
    frames: tuple[Frame, ...]


class Answer(Struct, frozen=True, kw_only=True):
    metadata: Metadata
    data: VideoFrameExtractResponse | UnsetType = UNSET


def new_request_id() -> str:
    return f"{time.time_ns() // 1_000_000:013x}{secrets.token_hex(10)}"  # in the order of time, for whoever reads logs


def accepted(task_id: str, request_id: str) -> Answer:
    """To a submission."""
    return Answer(metadata=_well(task_id, "PENDING", request_id))


def check_alive(job: Job) -> None:
    """Raises:
    Refused: it is too old, as the document has it.
    """
    if time.time_ns() - job.submitted_ns > _TASK_NS:
        raise Refused(TASK_NOT_FOUND, f"tasks can be polled for {TASK_DAYS} days")


def failure_of(job: Job) -> tuple[Failure, str]:
    """The row of the table for a job that failed or was canceled, and the text."""
    failure = OF_KIND[job.failure]
    if job.state == "canceled":
        return failure, Refused(failure, _CANCELED).text
    message = job.message
    for name, documented in _NAMES:
        message = message.replace(name, documented)
    # What went wrong inside is told to whoever runs this, in the log and in the job's own record.
    return failure, Refused(failure, "" if failure.http >= 500 else message).text


def polled(job: Job, frames: Iterable[ExtractedFrame], link: MakeLink, request_id: str) -> tuple[int, Answer]:
    """(HTTP status, answer) to a poll."""
    status = _STATUS[job.state]
    if status == "FAILED":
        failure, text = failure_of(job)
        if failure is VIDEO_TIMEOUT:
            status = "TIMEOUT"
        return failure.http, Answer(metadata=_metadata(job.id, status, failure.business_code, text, request_id))
    metadata = _well(job.id, status, request_id)
    if status != "COMPLETED":
        return 200, Answer(metadata=metadata)
    shown = tuple(
        Frame(
            index=frame.index,
            timestamp_seconds=round(frame.timestamp_s, 2),
            width=frame.width,
            height=frame.height,
            http_url=link(frame.path),
            tos_path=frame.path,
        )
        for frame in frames
    )
    facts = job.facts
    data = VideoFrameExtractResponse(
        video_duration=round(facts.duration_s, 3) if facts else 0.0,
        video_resolution=f"{facts.width}x{facts.height}" if facts else "",
        frame_count=len(shown),
        frames=shown,
    )
    return 200, Answer(metadata=metadata, data=data)


def refused(error: Refused, request_id: str, task_id: str = "") -> web.Response:
    """What went wrong, in the same form; the task's own id where it has one."""
    metadata = _metadata(task_id, "FAILED", error.failure.business_code, error.text, request_id)
    headers = {}
    if error.failure.http == 401:
        headers["WWW-Authenticate"] = "Bearer"  # RFC 9110 section 11.6.1
    if error.failure is RATE_LIMIT:
        headers["Retry-After"] = str(max(1, error.retry_after_s))
    return response(error.failure.http, msgspec.json.encode(Answer(metadata=metadata)), headers)


def response(status: int, body: bytes, headers: dict[str, str] | None = None) -> web.Response:
    return web.Response(status=status, body=body, content_type="application/json", headers=headers)


def _well(task_id: str, status: TaskStatus, request_id: str) -> Metadata:
    return _metadata(task_id, status, "0", "", request_id)


def _metadata(task_id: str, status: TaskStatus, code: str, text: str, request_id: str) -> Metadata:
    return Metadata(task_id=task_id, task_status=status, business_code=code, error_msg=text, request_id=request_id)
