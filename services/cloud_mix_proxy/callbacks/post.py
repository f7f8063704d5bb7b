"""One request to an address that a stranger chose: checked, pinned to what it resolved to, and bounded in time."""

import http.client
import threading
import time
from typing import Final

from schemas.errors import MeshError, Unavailable
from schemas.trace import TRACEPARENT
from shared.netguard import Policy, check
from shared.netguard.pinned_connection import PinnedConnection

TIMEOUT_SECONDS: Final = 4.0
"""For all of it, as the API's rules have it."""
_SUCCESS: Final = 200  # and no other: a redirect is not followed


def post(url: str, body: bytes, *, allow_private: bool, traceparent: str = "") -> None:
    """Deliver `body`; returns when the receiver has answered 200. Blocks for 4 s at most; what it says is not read.

    `traceparent`: what led to it, for the receiver's own traces; empty: that is not known.

    Raises:
        InvalidValue: the address may not be reached.
        Unavailable: it does not answer, or not 200.
    """
    deadline = time.monotonic() + TIMEOUT_SECONDS
    policy = Policy(schemes=frozenset(("http", "https")), allow_private=allow_private)
    guarded = check(url, policy, "Callback.Url", TIMEOUT_SECONDS)
    left_seconds = max(deadline - time.monotonic(), 0.001)
    connection = PinnedConnection(guarded, left_seconds)
    # The socket's timeout starts again with every byte; a receiver that drips its answer is cut off here.
    watchdog = threading.Timer(left_seconds, connection.abort)
    watchdog.daemon = True
    watchdog.start()
    headers = {"Content-Type": "application/json", "User-Agent": "framemesh", "Connection": "close"}
    if traceparent:
        headers[TRACEPARENT] = traceparent
    try:
        connection.request("POST", guarded.target, body, headers)
        status = connection.getresponse().status
    except (OSError, http.client.HTTPException) as error:
        late = connection.aborted or isinstance(error, TimeoutError)
        reason = f"no answer within {TIMEOUT_SECONDS:g} s" if late else _reason(error)
        raise Unavailable(f"Callback.Url {guarded.shown!r}: {reason}") from None
    finally:
        watchdog.cancel()
        connection.close()
    if status != _SUCCESS:
        raise Unavailable(f"Callback.Url {guarded.shown!r}: answered {status}, not {_SUCCESS}")


def reason_of(error: MeshError) -> str:
    """A label of metrics."""
    return "not_delivered" if isinstance(error, Unavailable) else "refused"


def _reason(error: Exception) -> str:
    return error.strerror if isinstance(error, OSError) and error.strerror else type(error).__name__
