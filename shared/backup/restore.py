"""Writing a backup back, into an empty mesh or a running one."""

from collections.abc import AsyncIterator
from typing import Literal, NamedTuple

from schemas.errors import Conflict, ErrorInfo, MeshError
from schemas.subjects import DESIRED_BUCKET, PRESENCE_BUCKET, SECRETS_BUCKET
from shared.backup.archive import KEPT_BUCKETS, Backup, Record
from shared.bus import Bucket, Bus
from shared.migration import set_versions, versions
from shared.secret_store import reference_to

_ATTEMPTS = 8  # of compare-and-set, against others who change the same key

Outcome = Literal["created", "changed", "same", "kept", "removed", "failed"]
"""`kept`: what the mesh has is ahead of the backup, as of tasks and of what owners had."""


class Restored(NamedTuple):
    bucket: str
    key: str
    outcome: Outcome
    error: ErrorInfo | None = None


async def restore(bus: Bus, backup: Backup, *, prune: bool, dry_run: bool) -> AsyncIterator[Restored]:
    """Write what is asked for as it was; what the services have written since then themselves stays.

    Args:
        prune: remove what is asked for now and was not then.
        dry_run: say what would be done, and do nothing.

    Raises:
        Conflict: the records are of another version than the services that run; says what to do.
        Unavailable: the bus does not answer.
    """
    await _agree(bus, backup, dry_run=dry_run)
    references: dict[str, str] = {}
    for name in KEPT_BUCKETS:
        bucket = await bus.bucket(name)
        records = [record for record in backup.records if record.bucket == name]
        for record in records:
            try:
                if name == SECRETS_BUCKET:
                    yield await _secret(bucket, record, references, dry_run=dry_run)
                else:
                    yield await _record(bucket, record, references, dry_run=dry_run)
            except MeshError as error:
                yield Restored(name, record.key, "failed", error.info)
        if prune and name == DESIRED_BUCKET:
            async for removed in _prune(bucket, {record.key for record in records}, dry_run=dry_run):
                yield removed


async def _agree(bus: Bus, backup: Backup, *, dry_run: bool) -> None:
    """Records of an older version go only where nobody reads them yet; services bring them up to date at start."""
    now = await versions(bus)
    for service, version in backup.header.schemas.items():
        known = now.get(service, version)
        if version > known:
            raise Conflict(
                f"the backup has records of {service} of version {version}, this mesh has version {known}; "
                f"install framemesh {backup.header.version} or newer first"
            )
        if version < known and await _present(bus):
            raise Conflict(
                f"the backup has records of {service} of version {version}, this mesh has version {known}; stop its "
                "services but not the bus, restore, and start them: they bring the records up to date"
            )
    if not dry_run:
        await set_versions(bus, backup.header.schemas)


async def _present(bus: Bus) -> bool:
    """Whether any service runs."""
    presence = await bus.bucket(PRESENCE_BUCKET)
    return bool(await presence.entries())


async def _secret(bucket: Bucket, record: Record, references: dict[str, str], *, dry_run: bool) -> Restored:
    """A secret has the revision that the bus gives it now: what refers to it is told below."""
    before = reference_to(record.key, record.revision)
    current = await bucket.get(record.key)
    if current is not None and current.value == record.value.encode():
        references[before] = reference_to(record.key, current.revision)
        return Restored(record.bucket, record.key, "same")
    if not dry_run:
        references[before] = reference_to(record.key, await bucket.put(record.key, record.value.encode()))
    return Restored(record.bucket, record.key, "changed" if current else "created")


async def _record(bucket: Bucket, record: Record, references: dict[str, str], *, dry_run: bool) -> Restored:
    value = record.value
    for before, now in references.items():
        value = value.replace(f'"{before}"', f'"{now}"')
    for _ in range(_ATTEMPTS):
        current = await bucket.get(record.key)
        if current is not None and current.value == value.encode():
            return Restored(record.bucket, record.key, "same")
        if current is not None and record.bucket != DESIRED_BUCKET:
            return Restored(record.bucket, record.key, "kept")
        if not dry_run:
            try:
                await bucket.update(record.key, value.encode(), current.revision if current else 0)
            except Conflict:
                continue
        return Restored(record.bucket, record.key, "changed" if current else "created")
    raise Conflict(f"{record.key} is being changed by others all the time; try again")


async def _prune(bucket: Bucket, wanted: set[str], *, dry_run: bool) -> AsyncIterator[Restored]:
    for key, entry in sorted((await bucket.entries()).items()):
        if key in wanted:
            continue
        try:
            if not dry_run:
                await bucket.delete(key, entry.revision)
            yield Restored(bucket.name, key, "removed")
        except MeshError as error:
            yield Restored(bucket.name, key, "failed", error.info)
