"""Taking a backup from a running mesh."""

import re
import time

from schemas.errors import Unavailable
from schemas.subjects import SECRETS_BUCKET
from shared.backup.archive import KEPT_BUCKETS, Backup, Header, Record
from shared.bus import Bucket, Bus
from shared.migration import versions
from shared.service import VERSION

REFERENCE = re.compile(r"secret://([a-z0-9.-]+)@(\d+)")


async def take(bus: Bus, *, secrets: bool) -> Backup:
    """All that the mesh keeps and cannot make again: what is asked for, tasks, positions, what owners had.

    What lapses or is found out again is not in it (state, presence, demand, jobs), nor are files: recordings, pictures.

    Args:
        secrets: credentials too. Without them sources and destinations that have some must be given again.

    Raises:
        Unavailable: the bus does not answer, or a value is no text.
    """
    records: list[Record] = []
    for name in reversed(KEPT_BUCKETS):  # what refers to secrets before the secrets
        if name == SECRETS_BUCKET and not secrets:
            continue
        bucket = await bus.bucket(name)
        for key, entry in sorted((await bucket.entries()).items()):
            records.append(_record(name, key, entry.value, entry.revision))
        if name == SECRETS_BUCKET:
            records += await _earlier(bucket, records)
    header = Header(version=VERSION, made_ns=time.time_ns(), schemas=await versions(bus), secrets=secrets)
    return Backup(header, records)


async def _earlier(bucket: Bucket, records: list[Record]) -> list[Record]:
    """Secrets that are referred to at a revision before the newest: a change was under way, or was refused."""
    newest = {(record.key, record.revision) for record in records if record.bucket == SECRETS_BUCKET}
    found = {
        (key, int(revision))
        for record in records
        if record.bucket != SECRETS_BUCKET
        for key, revision in REFERENCE.findall(record.value)
    }
    entries = [await bucket.get(key, revision) for key, revision in sorted(found - newest)]
    return [_record(SECRETS_BUCKET, entry.key, entry.value, entry.revision) for entry in entries if entry]


def _record(bucket: str, key: str, value: bytes, revision: int) -> Record:
    try:
        text = value.decode()
    except UnicodeDecodeError:
        raise Unavailable(f"{bucket} {key}: is no text; it was not written by framemesh, remove it") from None
    return Record(bucket=bucket, key=key, value=text, revision=revision)
