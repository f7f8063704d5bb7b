"""Records that are kept for years, and services that grow: each service brings its own records up to date at its start.

What a service keeps in the mesh's buckets has a version, one number for all of its records, in the bucket
`mesh_schema` under the service's name. A service that starts and finds an older number changes the records, one by one
and by compare-and-set, and then writes its own number; one that finds a newer number does not start. A change that is
made twice is as good as one made once: two nodes may be at it, or a process may have died half-way.

To change the form of a record: give `run_service` a `Migration` of the service's. New fields with defaults need none.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from schemas.errors import Conflict, MeshError, Unavailable
from schemas.kept import SchemaVersion
from schemas.packets import UNREADABLE
from schemas.subjects import SCHEMA_BUCKET
from shared.bus import Bucket, Bus, Entry

log = logging.getLogger(__name__)

FIRST_VERSION = 1
"""Of records of before there were versions, and of a service without migrations."""
# The servers of a cluster choose among them who keeps a bucket that is new.
_PATIENCE_SECONDS = 15.0
_RETRY_SECONDS = 0.2
_ATTEMPTS = 8  # of compare-and-set, against others who change the same record

Change = Callable[[dict[str, Any]], dict[str, Any]]


class Migration(NamedTuple):
    """One change of one kind of records."""

    to_version: int
    """The version that the service's records are of afterwards; several migrations may lead to the same."""
    bucket: str
    keys: str
    """Subject pattern of the service's own keys there: `capture.*`."""
    change: Change
    """Gives the record in its new form; one that has it already comes back as it is."""


def newest_version(migrations: Sequence[Migration]) -> int:
    return max((migration.to_version for migration in migrations), default=FIRST_VERSION)


async def migrate(bus: Bus, service: str, migrations: Sequence[Migration]) -> int:
    """Bring the records of `service` up to date; returns how many were changed.

    Raises:
        Conflict: the records are of a newer version than this service knows; says what to do.
        Unavailable: the bus does not answer.
    """
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while True:
        try:
            return await _migrate(bus, service, migrations)
        except Unavailable as error:
            if bus.leaf_of is not None:  # a host that is cut off goes on with records as they are
                log.warning("records of %s are brought up to date at another start: %s", service, error)
                return 0
            if time.monotonic() > deadline:
                raise
            log.debug("records of %s: %s", service, error)
        await asyncio.sleep(_RETRY_SECONDS)


async def _migrate(bus: Bus, service: str, migrations: Sequence[Migration]) -> int:
    known = newest_version(migrations)
    bucket = await _schema_bucket(bus)
    changed = 0
    for _ in range(_ATTEMPTS):
        entry = await bucket.get(service)
        found = _version(entry)
        if found > known:
            raise Conflict(
                f"the records of {service} in this mesh are of version {found}, and this framemesh knows version "
                f"{known}: install a newer one, or restore a backup that this one made"
            )
        for migration in sorted(migrations, key=lambda one: one.to_version):
            if migration.to_version > found:
                target = await bus.bucket(migration.bucket)
                changed += await _carry_out(target, migration)
        if entry is not None and found == known:
            return changed
        try:
            await bucket.update(service, msgspec.json.encode(SchemaVersion(version=known)), _revision(entry))
        except Conflict:  # another node was faster, perhaps with another version
            continue
        if changed:
            log.info("%d records of version %d are of version %d now", changed, found, known)
        return changed
    raise Conflict(f"the version of the records of {service} is being changed by others all the time; try again")


async def versions(bus: Bus) -> dict[str, int]:
    """The versions of the records of each service that has ever started in this mesh."""
    entries = await (await _schema_bucket(bus)).entries()
    return {service: _version(entry) for service, entry in sorted(entries.items())}


async def set_versions(bus: Bus, wanted: Mapping[str, int]) -> None:
    """Say what versions records are of that were just written as they had been."""
    bucket = await _schema_bucket(bus)
    for service, version in wanted.items():
        await bucket.put(service, msgspec.json.encode(SchemaVersion(version=version)))


async def _carry_out(bucket: Bucket, migration: Migration) -> int:
    changed = 0
    for key in await bucket.entries(migration.keys):
        try:
            changed += await _change_one(bucket, key, migration.change)
        except MeshError:
            raise
        except (*UNREADABLE, KeyError, TypeError, ValueError) as error:
            # One record that nobody can read must not keep a service from starting: it is left, as all do with it.
            log.error("%s in %s cannot be brought to version %d: %r", key, bucket.name, migration.to_version, error)
    return changed


async def _change_one(bucket: Bucket, key: str, change: Change) -> bool:
    for _ in range(_ATTEMPTS):
        entry = await bucket.get(key)
        if entry is None:
            return False
        before = msgspec.json.decode(entry.value, type=dict[str, Any])
        after = change(dict(before))
        if after == before:
            return False
        try:
            await bucket.update(key, msgspec.json.encode(after), entry.revision)
        except Conflict:
            continue
        return True
    raise Conflict(f"{key} is being changed by others all the time; try again")


async def _schema_bucket(bus: Bus) -> Bucket:
    return await bus.bucket(SCHEMA_BUCKET)


def _version(entry: Entry | None) -> int:
    if entry is None:
        return FIRST_VERSION
    try:
        return msgspec.json.decode(entry.value, type=SchemaVersion).version
    except UNREADABLE:  # written by hand
        return FIRST_VERSION


def _revision(entry: Entry | None) -> int:
    return entry.revision if entry else 0
