"""Who commanded what: every command that changes something leaves a record, which nothing waits for."""

import functools
import re
import time
from typing import Any, Final

import msgspec

from schemas.audit import AuditRecord, is_audited
from schemas.channels import CHANNELS
from schemas.commands import Changed
from schemas.errors import ErrorInfo
from schemas.subjects import AUDIT_STREAM, all_audits, audit
from schemas.trace import BY_TOKEN
from schemas.units import parse_bytes, parse_duration
from shared.bus import Answered, Bus
from shared.cause import Cause
from shared.metrics import Figures, Health, by_reason, one
from shared.redacted import redacted
from shared.settings import Settings

_OK: Final = 200
_INBOX_OF: Final = re.compile(r"_INBOX_([a-z][a-z-]{0,31})\.")
_MS: Final = 1_000_000
# Fields by which requests name what they are about, the first the stream's.
_NAMES: Final = (
    *("rendition", "output", "sample", "mix", "signal", "input", "rule", "job", "session", "channel", "clip"),
    *("recording", "task"),
)


class _Code(msgspec.Struct):
    code: int = _OK


class Audit:
    """The audit of one service."""

    def __init__(
        self,
        bus: Bus,
        service: str,
        settings: Settings,
        health: Health | None = None,
        figures: Figures | None = None,
    ) -> None:
        """Raises: InvalidValue: a setting is no duration, or no size."""
        self._bus, self._service, self._node = bus, service, settings.node
        self._log = bus.kept_log(
            AUDIT_STREAM,
            all_audits(),
            max_age_seconds=parse_duration(settings.audit_keep, "FRAMEMESH_AUDIT_KEEP"),
            max_bytes=parse_bytes(settings.audit_bytes, "FRAMEMESH_AUDIT_BYTES"),
        )
        bus.on_answered(self.answered)
        if health is not None:
            health.notes.append(lambda: f"audit: {self._log.problem}" if self._log.problem else "")
        if figures is not None:
            written, lost = "framemesh_audit_written_records", "framemesh_audit_lost_records"
            figures.counter(written, "Commands in the audit.", one(lambda: float(self._log.written)))
            figures.counter(lost, "Commands that the audit lacks, by reason.", by_reason(self._log.lost))

    async def close(self) -> None:
        await self._log.close()

    def answered(self, answered: Answered) -> None:
        """A command was answered over the bus."""
        endpoint = answered.endpoint
        if not is_audited(endpoint.verb):
            return
        party, verified = self._party(endpoint.subject, answered.reply_to)
        self._keep(
            endpoint.verb,
            endpoint.subject,
            answered.request,
            answered.cause,
            answered.error or _later(endpoint.reply, answered.reply),
            party=party,
            party_verified=verified,
            resource=_id_in(endpoint.subject),
        )

    def given(self, name: str, path: str, request: bytes, cause: Cause, error: ErrorInfo | None) -> None:
        """A command `<service>.<verb>` came over this service's own HTTP door, whose askers it judges itself. Only this
        service may write this record, so that who reads it can believe it."""
        verb = name.rpartition(".")[2]
        if is_audited(verb):
            judged = bool(cause.actor) and cause.actor_basis == BY_TOKEN
            self._keep(
                verb, path, request, cause, error, party=self._service, party_verified=True, actor_verified=judged
            )

    def _keep(
        self,
        verb: str,
        subject: str,
        request: bytes,
        cause: Cause,
        error: ErrorInfo | None,
        *,
        party: str,
        party_verified: bool,
        resource: str = "",
        actor_verified: bool = False,
    ) -> None:
        asked = redacted(request)
        record = AuditRecord(
            at_ns=cause.started_ns,
            service=self._service,
            node=self._node,
            verb=verb,
            resource=resource or _named_in(asked),
            subject=subject,
            request=asked,
            code=error.code if error else _OK,
            message=error.message if error else "",
            took_ms=round((time.time_ns() - cause.started_ns) / _MS, 3),
            party=party,
            party_verified=party_verified,
            actor=cause.actor,
            actor_verified=actor_verified,
            trace_id=cause.trace_id,
            span_id=cause.span_id,
            parent_id=cause.parent_id,
        )
        self._log.post(audit(self._service, verb), msgspec.json.encode(record), cause.span_id)

    def _party(self, subject: str, reply_to: str) -> tuple[str, bool]:
        """Who asked, and whether that is certain."""
        may = _who_may(subject)
        if len(may) == 1:
            return may[0], self._bus.knows_users
        match = _INBOX_OF.match(reply_to)
        return (match[1], False) if match and match[1] in may else ("", False)


@functools.cache
def _who_may(subject: str) -> tuple[str, ...]:
    """Parties that the server lets give this command."""
    return tuple(party for channel in CHANNELS if channel.matches(subject) for party in channel.senders)


def _later(kind: type[Any], reply: bytes) -> ErrorInfo | None:
    """202 of a command whose owner has not acted within its time: that is no error, and not done either."""
    if not (isinstance(kind, type) and issubclass(kind, Changed)):
        return None
    code = msgspec.json.decode(reply, type=_Code).code
    return ErrorInfo(code=code, message="") if code != _OK else None


def _id_in(subject: str) -> str:
    """`cam0` of `mesh.v1.cmd.capture.cam0.restart`; empty: anybody may answer it."""
    tokens = subject.split(".")
    return tokens[4] if len(tokens) > 5 else ""


def _named_in(asked: dict[str, Any]) -> str:
    names = [asked[name] for name in ("stream", *_NAMES) if isinstance(asked.get(name), str)]
    return "--".join(names[:2])
