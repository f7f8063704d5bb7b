"""Why a client is not let in, and where it may be."""

import re

_REASON_BYTES = 123  # RFC 6455 section 5.5: a control frame has 125, two of them the code


class Refusal(Exception):
    """Of a first message; `reason` and `detail` are what the client is told, `reason` what is counted."""

    def __init__(self, reason: str, detail: str = "") -> None:
        self.reason, self.detail = reason, detail
        super().__init__(reason)

    @property
    def text(self) -> bytes:
        """Of the close frame: printable ASCII, as it may quote the client."""
        said = f"{self.reason} {self.detail}" if self.detail else self.reason
        return re.sub(r"[^ -~]", "?", said)[:_REASON_BYTES].encode()


class Redirected(Exception):
    """There is no room here; `location` is the signalling URL of another gateway."""

    def __init__(self, location: str) -> None:
        self.location = location
        super().__init__(location)
