"""Events: what happened to a resource, kept in JetStream. Unknown fields are ignored by readers."""

from typing import Any

from msgspec import Struct, field

from schemas.errors import ErrorInfo
from schemas.ids import Id

OF_JOBS = "job-"
"""How events of jobs begin, whose ids are no streams'."""
JOB_PROGRESS = f"{OF_JOBS}progress"


class Event(Struct, frozen=True, kw_only=True):
    """Something that happened, on `mesh.v1.evt.<service>.<id>.<event>`."""

    service: Id
    id: str
    event: Id
    node: Id
    at_ns: int
    """CLOCK_REALTIME."""
    state: str = ""
    """The state after a transition (event `state`)."""
    error: ErrorInfo | None = None
    detail: dict[str, Any] = field(default_factory=dict)
    trace_id: str = ""
    """Of the story that it is part of, 32 hexadecimal digits, as W3C trace context has it; empty: it began by
    itself."""
