"""Why a client is not let in, and where it may be."""

import contextlib
import re
from collections.abc import Iterator

from schemas.errors import BadRequest

_REASON_BYTES = 123  # RFC 6455 section 5.5: a control frame has 125, two of them the code


def close_reason(reason: str, detail: str = "") -> str:
    """Of a close frame: printable ASCII, as it may quote the client, and no more of it than there is room for."""
    said = f"{reason} {detail}" if detail else reason
    return re.sub(r"[^ -~]", "?", said)[:_REASON_BYTES]


class Refusal(Exception):
    """Of a first message; `reason` and `detail` are what the client is told, `reason` what is counted."""

    def __init__(self, reason: str, detail: str = "") -> None:
        self.reason, self.detail = reason, detail
        super().__init__(reason)

    @property
    def text(self) -> bytes:
        return close_reason(self.reason, self.detail).encode()


@contextlib.contextmanager
def refused_as(reason: str) -> Iterator[None]:
    """What is found to be wrong within is told to the client under `reason`."""
    try:
        yield
    except BadRequest as error:
        raise Refusal(reason, error.message) from None


class Redirected(Exception):
    """There is no room here; `location` is the signalling URL of another gateway."""

    def __init__(self, location: str) -> None:
        self.location = location
        super().__init__(location)
