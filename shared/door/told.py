"""A command that comes over HTTP: a step of the asker's story, and a record in the audit with the asker's name."""

import contextlib
from collections.abc import Iterator

from aiohttp import web

from schemas.errors import ErrorInfo, InternalError, MeshError
from schemas.trace import BY_TOKEN, TRACEPARENT, read_traceparent
from shared.audit import Audit
from shared.cause import begin, doing


@contextlib.contextmanager
def told(
    audit: Audit | None, request: web.Request, command: str, body: bytes, actor: str, *, judged: bool
) -> Iterator[None]:
    """What runs inside belongs to it.

    Args:
        audit: None: nobody keeps one.
        command: `<service>.<verb>`.
        actor: who asks; never the token or key itself.
        judged: that is certain, by a token or a key; else everybody is called so.
    """
    parent = read_traceparent(request.headers.get(TRACEPARENT))
    cause = begin(parent, actor=actor, basis=BY_TOKEN if judged else "")
    error: ErrorInfo | None = None
    try:
        with doing(cause, f"HTTP {command}", "server"):
            yield
    except MeshError as failure:
        error = failure.info
        raise
    except Exception as failure:  # the door's own kind of refusal, which has the status that it answers
        status = getattr(failure, "status", None)
        code = status if isinstance(status, int) else InternalError.code
        error = ErrorInfo(code=code, message=str(failure) if isinstance(status, int) else type(failure).__name__)
        raise
    finally:
        if audit is not None:
            audit.given(command, f"{request.method} {request.path}", body, cause, error)
