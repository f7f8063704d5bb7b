"""What a token says: who holds it, which streams it is for, and what may be done with them."""

from typing import Annotated, Literal

from msgspec import Meta, Struct

from schemas.ids import ID_RULE

Action = Literal["view", "publish", "control"]
"""`view`: watch, ask how things are; `publish`: send media as a stream; `control`: give commands that change something.
None of them implies another."""

ANY_STREAM = "*"
# One id, the beginning of ids and `*`, or `*`: `cam0`, `line-*`. `(?!\n)` as in `schemas.ids`.
STREAM_PATTERN = r"^(\*|[a-z0-9][a-z0-9-]{0,62}\*?)$(?!\n)"
MAX_PATTERNS = 256
"""Streams and prefixes that one token names."""

StreamPattern = Annotated[
    str, Meta(pattern=STREAM_PATTERN, description=f"an id ({ID_RULE}), the beginning of ids and `*`, or `*`")
]
StreamPatterns = Annotated[tuple[StreamPattern, ...], Meta(min_length=1, max_length=MAX_PATTERNS)]
Actions = Annotated[tuple[Action, ...], Meta(min_length=1, max_length=16)]
TokenName = Annotated[str, Meta(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9][A-Za-z0-9._@-]*$(?!\n)")]

AUDIENCE = "framemesh"
"""`aud` of the tokens that `framemesh token` makes."""


class TokenClaims(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Payload of a signed token (RFC 7519); what it has besides is ignored."""

    streams: StreamPatterns
    actions: Actions
    exp: int | float
    """Seconds since 1970; a token without an end cannot be taken back."""
    iat: int | float | None = None
    nbf: int | float | None = None
    aud: str | tuple[str, ...] | None = None
    sub: TokenName | None = None
    """Who holds it, for the log; sessions opened by one may be ended by another of the same name."""


def covers(pattern: str, stream: str) -> bool:
    """Whether a pattern (`cam0`, `line-*`, `*`) is for a stream."""
    return stream.startswith(pattern[:-1]) if pattern.endswith("*") else stream == pattern
