"""States of what nobody reports any more: whoever has them on the bus has them from before."""

from collections.abc import Container
from typing import Any, Final, TypeVar

import msgspec

from schemas.errors import ErrorInfo, Unavailable
from schemas.resources import StreamActual

ActualT = TypeVar("ActualT", bound=Any)

_OVER: Final = frozenset({"failed", "finished", "ended"})
"""States that stay true whoever is there; of streams `off` too."""


def as_heard(service: str, heard: Container[str] | None, actual: ActualT | None) -> ActualT | None:
    """`actual`, as `away` where the service that reports it has not been heard of for ten seconds.

    Args:
        heard: the nodes on which it has; None: nobody can know.
    """
    if actual is None or heard is None or actual.node in heard:
        return actual
    if actual.state in _OVER or (isinstance(actual, StreamActual) and actual.state == "off"):
        return actual
    text = (
        f"{service} on {actual.node} is not heard of: it has ended, or its host is off or cut off; "
        f"it was {actual.state} when it was"
    )
    changed: ActualT = msgspec.structs.replace(
        actual, state="away", error=ErrorInfo(code=Unavailable.code, message=text)
    )
    return changed
