"""Ranges of bytes that a request asks for (RFC 9110 section 14)."""

import re
from typing import Final, NamedTuple

_RANGE: Final = re.compile(r"bytes=(?:(\d{1,18})-(\d{1,18})?|-(\d{1,18}))")


class Span(NamedTuple):
    """Bytes of a file, `end` not among them."""

    start: int
    end: int


def span_of(header: str, size_bytes: int) -> Span | None:
    """What a `Range` header asks for, empty where there is nothing; None: the whole, for what is none or several."""
    found = _RANGE.fullmatch(header.strip())
    if found is None:
        return None
    first, last, suffix = found.groups()
    if suffix is not None:
        return Span(max(0, size_bytes - int(suffix)), size_bytes)
    if last is not None and int(last) < int(first):
        return None  # RFC 9110, 14.1.1: no range at all
    return Span(int(first), size_bytes if last is None else min(int(last) + 1, size_bytes))
