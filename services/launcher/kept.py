"""Buckets, queues, events and audit of a locked mesh, made once by the one party that may."""

from collections.abc import Iterable

import msgspec

from schemas.buckets import form_of
from schemas.channels import CHANNELS
from schemas.queues import QUEUES
from schemas.subjects import AUDIT_STREAM, EVENTS_STREAM, all_audits
from schemas.units import parse_bytes, parse_duration
from shared.bus import Bus
from shared.settings import Settings


def buckets() -> list[str]:
    """All of the mesh's, by name."""
    return sorted({channel.bucket for channel in CHANNELS if channel.bucket})


async def make_kept(bus: Bus, settings: Settings) -> list[str]:
    """Make what does not exist; what does stays as it is, but for its replicas. Returns all that there is now.

    Of files, also what an open mesh keeps in memory: there nobody but us could make it again after the server was
    started anew, and it lapses within seconds anyhow. None has direct gets: see `shared.bus.own_keys`.

    Raises:
        InvalidValue: a setting is no duration, or no size.
        Forbidden: this party may not.
        Unavailable: the server has no JetStream.
    """
    for name in buckets():
        form = msgspec.structs.replace(form_of(name), memory=False, direct=False)
        await bus.bucket(name, form)
    for name, queue in QUEUES.items():
        about = msgspec.structs.asdict(queue)
        await bus.work_queue(name, about.pop("subject"), about.pop("consumer"), **about)
    await bus.ensure_events()
    audit = bus.kept_log(
        AUDIT_STREAM,
        all_audits(),
        max_age_seconds=parse_duration(settings.audit_keep, "FRAMEMESH_AUDIT_KEEP"),
        max_bytes=parse_bytes(settings.audit_bytes, "FRAMEMESH_AUDIT_BYTES"),
    )
    try:
        await audit.make()
    finally:
        await audit.close()
    return list(_all())


def _all() -> Iterable[str]:
    return (*buckets(), *QUEUES, EVENTS_STREAM, AUDIT_STREAM)
