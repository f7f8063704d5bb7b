"""The file of a backup: gzip of JSON lines, a header, the records, and an end that proves that nothing is missing.

A record is checked as if a stranger had written it: its bucket is one that is backed up, its key one of that bucket's
channels, its value what that channel carries.
"""

import contextlib
import gzip
import hashlib
import os
import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from schemas.channel import Channel, kv_subject
from schemas.channels import CHANNELS
from schemas.errors import BadRequest, Conflict, NotFound, Unavailable
from schemas.ids import Id
from schemas.packets import UNREADABLE
from schemas.subjects import DESIRED_BUCKET, MIX_TASKS_BUCKET, SAMPLES_BUCKET, SECRETS_BUCKET, USAGE_BUCKET
from shared.urls import redact

FORMAT = 1
# In the order in which they are written back: the services act on what is asked for when all else is there.
KEPT_BUCKETS = (SECRETS_BUCKET, USAGE_BUCKET, SAMPLES_BUCKET, MIX_TASKS_BUCKET, DESIRED_BUCKET)
_BY_STREAM = ("capture", "hw-encode", "publisher")  # whose keys begin with their stream's name
_REFERENCE_ENDING = "_secret"
_MOST_BYTES = 512 << 20  # all buckets together, full
_MOST_LINE_BYTES = 8 << 20  # the largest message of the bus
_KEY = re.compile(r"[a-z0-9-]+(\.[a-z0-9-]+)+")  # ids, with dots between them
_BY_BUCKET: dict[str, list[Channel]] = {
    bucket: [channel for channel in CHANNELS if channel.bucket == bucket] for bucket in KEPT_BUCKETS
}


class Header(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The first line."""

    framemesh_backup: int = FORMAT
    version: Annotated[str, Meta(pattern=r"^[0-9A-Za-z.+-]{1,40}$")]
    """Of the framemesh that wrote it; it is shown on terminals."""
    made_ns: int
    """CLOCK_REALTIME."""
    schemas: dict[Id, Annotated[int, Meta(ge=1)]]
    """By service: the version of its records."""
    secrets: bool
    """Whether credentials are in it."""


class Record(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One key of one bucket."""

    bucket: str
    key: str
    value: str
    revision: int
    """That it had; references to secrets name it."""


class _End(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    records: int
    sha256: str
    """Of all lines before this one."""


class Backup(Struct, frozen=True):
    header: Header
    records: list[Record]


def write_archive(backup: Backup, path: Path, *, overwrite: bool = False) -> int:
    """Write the file whole or not at all, readable by its owner only: it may hold credentials. Returns its bytes.

    Raises:
        Conflict: it is there already, and `overwrite` is not asked for.
        Unavailable: it cannot be written; says why.
    """
    lines = [msgspec.json.encode(item) + b"\n" for item in (backup.header, *backup.records)]
    body = b"".join(lines)
    end = _End(records=len(backup.records), sha256=hashlib.sha256(body).hexdigest())
    packed = gzip.compress(body + msgspec.json.encode(end) + b"\n")
    half = path.with_name(f".{path.name}.{os.getpid()}.half")
    try:
        with open(os.open(half, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb") as file:
            file.write(packed)
            file.flush()
            os.fsync(file.fileno())
        if overwrite:
            os.replace(half, path)
        else:
            os.link(half, path)
    except FileExistsError:
        raise Conflict(f"{path} is there already; give another name, or --force") from None
    except OSError as error:
        raise Unavailable(f"{path}: {error.strerror}; give a file in a folder that you may write to") from None
    finally:
        with contextlib.suppress(OSError):
            half.unlink()
    return len(packed)


def read_archive(path: Path) -> Backup:
    """The backup in the file, every record checked.

    Raises:
        NotFound: there is no such file, or it may not be read.
        BadRequest: it is no backup, is damaged or cut short, or has a record that no mesh would have written; names
            the line.
    """
    header: Header | None = None
    records: list[Record] = []
    digest = hashlib.sha256()
    for number, line in enumerate(_lines(path), start=1):
        try:
            if header is None:
                header = msgspec.json.decode(line, type=Header)
                if header.framemesh_backup != FORMAT:
                    raise BadRequest(f"is of format {header.framemesh_backup}, this framemesh reads format {FORMAT}")
            elif line.startswith(b'{"bucket"'):
                records.append(_checked(msgspec.json.decode(line, type=Record)))
            else:
                end = msgspec.json.decode(line, type=_End)
                if end.records != len(records) or end.sha256 != digest.hexdigest():
                    raise BadRequest("was changed or damaged: its sum does not fit")
                return Backup(header, records)
        except (BadRequest, *UNREADABLE) as error:
            what = "is no backup of framemesh" if header is None and not isinstance(error, BadRequest) else str(error)
            raise BadRequest(f"{path}, line {number}: {what}") from None
        digest.update(line)
    raise BadRequest(f"{path}: is cut short; take the backup again")


def _lines(path: Path) -> Iterator[bytes]:
    """Each line with its end, within bounds."""
    read = 0
    try:
        with gzip.open(path) as file:
            while line := file.readline(_MOST_LINE_BYTES + 1):
                read += len(line)
                if len(line) > _MOST_LINE_BYTES or read > _MOST_BYTES:
                    raise BadRequest(f"{path}: is larger than anything a mesh keeps; this is no backup of framemesh")
                yield line
    except gzip.BadGzipFile:
        raise BadRequest(f"{path}: is no backup of framemesh") from None
    except (EOFError, zlib.error):
        raise BadRequest(f"{path}: is cut short or damaged; take the backup again") from None
    except OSError as error:
        raise NotFound(f"{path}: {error.strerror}") from None


def _checked(record: Record) -> Record:
    """The record, once it is what its bucket may hold.

    Raises:
        BadRequest: says what about it is not.
    """
    channels = _BY_BUCKET.get(record.bucket)
    if channels is None:
        raise BadRequest(f"bucket {record.bucket!r} is none of {', '.join(KEPT_BUCKETS)}")
    subject = kv_subject(record.bucket, record.key)
    channel = next((one for one in channels if one.matches(subject)), None)
    if channel is None or not _KEY.fullmatch(record.key):
        raise BadRequest(f"{record.bucket} has no keys like {record.key!r}")
    if channel.payload is not None and channel.encoding == "json":
        try:
            value = msgspec.json.decode(record.value, type=channel.payload)
        except UNREADABLE as error:
            raise BadRequest(f"{record.bucket} {record.key}: {error}") from None
        if record.bucket == DESIRED_BUCKET:
            _check_spec(record.key, value)
    return record


def _check_spec(key: str, spec: object) -> None:
    """What no service would have written: another stream's spec, or credentials outside of the secrets.

    Raises:
        BadRequest: says which, without the credentials.
    """
    service, _, resource = key.partition(".")
    stream = getattr(spec, "stream", None)
    if service in _BY_STREAM and stream != resource.partition("--")[0]:
        raise BadRequest(f"{key}: is of stream {stream!r}, whose key is another")
    for name in (name for name in getattr(spec, "__struct_fields__", ()) if name.endswith(_REFERENCE_ENDING)):
        field = name.removesuffix(_REFERENCE_ENDING)
        url = getattr(spec, field, "")
        if isinstance(url, str) and redact(url)[0] != url:
            raise BadRequest(f"{key}: credentials in {field!r}, where everybody may read them; start it again instead")
        if (reference := getattr(spec, name)) and not reference.startswith(f"secret://{key}@"):
            raise BadRequest(f"{key}: {name!r} is the secret of something else")
