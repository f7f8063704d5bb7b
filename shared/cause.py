"""What is being done, and why: the step of a story that this piece of work belongs to.

It goes along with the tasks that are started from here, as contextvars do, and is forgotten after its time: what a
camera does hours after its `start` was not caused by it.
"""

import contextlib
import secrets
import time
from collections.abc import Iterator
from contextvars import ContextVar
from dataclasses import dataclass, field

from schemas.trace import ACTOR, ACTOR_BASIS, TRACEPARENT, TraceContext, actor_in, is_trace_id, read_traceparent
from shared.spans import Kind, record

# The longest wait of a command is 60 s, and what it set off may take as long again until it is seen.
TOLD_SECONDS = 120.0
"""For so long what is done belongs to the step that led to it."""


@dataclass
class Cause:
    """One step. Times are CLOCK_REALTIME, so that those of several hosts stand in one list."""

    trace_id: str
    span_id: str
    parent_id: str = ""
    """The step that led to it; empty: it is the first."""
    actor: str = ""
    """In whose name; empty: nobody said."""
    actor_basis: str = ""
    started_ns: int = field(default_factory=time.time_ns)
    until_s: float = field(default_factory=lambda: time.monotonic() + TOLD_SECONDS)

    @property
    def traceparent(self) -> str:
        return TraceContext(self.trace_id, self.span_id).traceparent

    def headers(self) -> dict[str, str]:
        """Of a command that this step gives."""
        found = {TRACEPARENT: self.traceparent}
        if self.actor:
            found[ACTOR] = self.actor
            if self.actor_basis:
                found[ACTOR_BASIS] = self.actor_basis
        return found


_current: ContextVar[Cause | None] = ContextVar("cause", default=None)


def current() -> Cause | None:
    """The step that runs here; None: nobody asked for what is done here, or that is long ago."""
    cause = _current.get()
    return cause if cause is not None and time.monotonic() < cause.until_s else None


def trace_id() -> str:
    """Of the story that runs here; empty: of none."""
    cause = current()
    return cause.trace_id if cause is not None else ""


def traceparent() -> str:
    """Of the step that runs here, for what is written down because of it; empty: of none."""
    cause = current()
    return cause.traceparent if cause is not None else ""


def begin(parent: TraceContext | None = None, *, actor: str = "", basis: str = "") -> Cause:
    """A step of `parent`'s story, or the first of a new one."""
    found = parent or TraceContext(secrets.token_hex(16), "")
    return Cause(
        trace_id=found.trace_id,
        span_id=secrets.token_hex(8),
        parent_id=found.span_id,
        actor=actor,
        actor_basis=basis,
    )


def of_headers(headers: dict[str, str] | None) -> Cause:
    """The step that a command asks for: of the story in its headers, else of a new one."""
    found = headers or {}
    actor = actor_in(found.get(ACTOR))
    basis = actor_in(found.get(ACTOR_BASIS)) if actor else ""
    return begin(read_traceparent(found.get(TRACEPARENT)), actor=actor, basis=basis)


def of_trace(trace: str) -> TraceContext | None:
    """The story that an event belongs to; None: to none, or it names one that cannot be."""
    return TraceContext(trace, "") if is_trace_id(trace) else None


@contextlib.contextmanager
def doing(cause: Cause, name: str = "", kind: Kind = "internal", **attributes: str | int) -> Iterator[Cause]:
    """What runs inside belongs to this step; `name` makes it a span, for who collects these."""
    token = _current.set(cause)
    error = ""
    try:
        yield cause
    except BaseException as failure:
        error = str(failure) or type(failure).__name__
        raise
    finally:
        _current.reset(token)
        if name:
            tell(cause, name, kind, error, **attributes)


@contextlib.contextmanager
def step(
    parent: TraceContext | str | None, name: str, kind: Kind = "internal", **attributes: str | int
) -> Iterator[Cause | None]:
    """A step that somebody caused; None where nobody did, and then nothing is told either.

    `parent`: also a `traceparent`, as it was kept.
    """
    found = read_traceparent(parent) if isinstance(parent, str) else parent
    if found is None:
        with nobody():
            yield None
        return
    with doing(begin(found), name, kind, **attributes) as cause:
        yield cause


@contextlib.contextmanager
def nobody() -> Iterator[None]:
    """What runs inside was asked for by nobody in particular."""
    token = _current.set(None)
    try:
        yield
    finally:
        _current.reset(token)


def set_current(cause: Cause | None) -> None:
    """All that this task does from now on belongs to `cause`."""
    _current.set(cause)


def tell(cause: Cause, name: str, kind: Kind = "internal", error: str = "", **attributes: str | int) -> None:
    """The step is over."""
    record(
        name,
        kind=kind,
        trace_id=cause.trace_id,
        span_id=cause.span_id,
        parent_id=cause.parent_id,
        started_ns=cause.started_ns,
        ended_ns=time.time_ns(),
        error=error,
        attributes=attributes,
    )
