"""W3C trace context: which story a message belongs to, as its header `traceparent` says it.

https://www.w3.org/TR/trace-context/
"""

import re
from typing import NamedTuple

TRACEPARENT = "traceparent"
"""Header of a command, of an HTTP request and of what is kept in JetStream."""
ACTOR = "Framemesh-Actor"
"""Header of a command: in whose name it is given."""
ACTOR_BASIS = "Framemesh-Actor-Basis"
"""Header beside it: how whoever sends it knows that."""
BY_TOKEN = "token"  # noqa: S105  # a word for how, not a secret
"""The basis of a name that the gateway has read from a token it has judged."""

MAX_ACTOR_CHARACTERS = 128  # a mail address, or user@host

_TRACE_ID = re.compile(r"(?!0{32})[0-9a-f]{32}")
_TRACEPARENT = re.compile(
    r"(?P<version>(?!ff)[0-9a-f]{2})-(?P<trace>[0-9a-f]{32})-(?P<span>[0-9a-f]{16})-[0-9a-f]{2}(?P<more>-.*)?"
)
_NO_TRACE, _NO_SPAN = "0" * 32, "0" * 16


class TraceContext(NamedTuple):
    """One step of a story: the story's id, and the step's own."""

    trace_id: str
    """32 hexadecimal digits."""
    span_id: str
    """16 hexadecimal digits; empty: the step is not known, only the story."""

    @property
    def traceparent(self) -> str:
        return f"00-{self.trace_id}-{self.span_id or _NO_SPAN}-01"


def read_traceparent(text: object) -> TraceContext | None:
    """None: it is none, and as W3C has it that is nobody's error: a new story begins."""
    match = _TRACEPARENT.fullmatch(text) if isinstance(text, str) else None
    if match is None or match["trace"] == _NO_TRACE or match["span"] == _NO_SPAN:
        return None
    if match["more"] and match["version"] == "00":  # only later versions have more
        return None
    return TraceContext(match["trace"], match["span"])


def is_trace_id(text: object) -> bool:
    return isinstance(text, str) and _TRACE_ID.fullmatch(text) is not None


def actor_in(text: object) -> str:
    """Who a header names, as it may be shown; empty: nobody."""
    if not isinstance(text, str):
        return ""
    return "".join(letter if letter.isprintable() else "?" for letter in text.strip()[:MAX_ACTOR_CHARACTERS])
