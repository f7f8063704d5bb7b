"""The audit: who commanded what, and what came of it. Kept in a stream of its own, which nobody can take from."""

from typing import Any

from msgspec import Struct, field

from schemas.ids import Id

READING_VERBS = frozenset(
    {
        "channels",
        "client-stats",
        "devices",
        "fetch",
        "get",
        "list",
        "logs",
        "moment",
        "poll",
        "ps",
        "publishers",
        "recording",
        "recordings",
        "samples",
        "sessions",
        "stats",
        "tasks",
        "tcp-setting",
        "test-rule",
        "usage",
        # They make pictures, and change nothing that stays.
        "keyframe",
        "pic-encode",
        "picture",
        "snapshot",
    }
)
_SECOND_STEP = "local-"
"""How verbs begin that one instance gives another while it works on a command, which is in the audit itself."""


def is_audited(verb: str) -> bool:
    """Whether a command of that name changes something; of a name that nobody has judged yet it does."""
    return verb not in READING_VERBS and not verb.startswith(_SECOND_STEP)


class AuditRecord(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One command that changes something, on `mesh.v1.audit.<service>.<verb>`."""

    at_ns: int
    """When it came, CLOCK_REALTIME."""
    service: Id
    """Who answered,"""
    node: Id
    """and where."""
    verb: str
    resource: str = ""
    """What it is about, as far as the request names it: `cam0`, `cam0--archive`."""
    subject: str = ""
    """Of the command; of one that came over HTTP its method and path."""
    request: dict[str, Any] = field(default_factory=dict)
    """What was asked for: secrets are `***`, long values are cut short."""
    code: int = 200
    message: str = ""
    """The error's."""
    took_ms: float = 0.0
    party: str = ""
    """Who asked, as the users of the bus are called; empty: that is not known."""
    party_verified: bool = False
    """Nobody else may give this command, which the server sees to; else the party is as the asker says, and it is one
    of those that may."""
    actor: str = ""
    """In whose name: a token's subject, or `user@host`."""
    actor_verified: bool = False
    """The service whose own record this is has judged the actor's token; else it is as the asker says."""
    trace_id: str = ""
    span_id: str = ""
    parent_id: str = ""
    """The step that gave the command; empty: nobody said."""
