"""The address of one thing in a store or folder, taken apart: scheme, bucket, key. Asks nobody."""

import re
from dataclasses import dataclass
from typing import Final, Literal
from urllib.parse import unquote

from schemas.errors import InvalidValue
from shared.urls import redact

PlaceScheme = Literal["file", "s3", "tos"]
_SCHEMES: Final[tuple[PlaceScheme, ...]] = ("file", "s3", "tos")
# What S3 and TOS both take, and underscores: stores may refuse them, folders that stand for a bucket need not. Names
# of AWS before 2018 with capitals are gone from most of it.
_BUCKET: Final = re.compile(r"[a-z0-9][a-z0-9._-]{1,61}[a-z0-9]")
_MAX_KEY_BYTES: Final = 1024  # of S3, and of TOS
_MAX_PATH_BYTES: Final = 4095  # PATH_MAX without its end
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f\x80-\x9f\u2028\u2029]")


@dataclass(frozen=True, slots=True)
class Place:
    """`key` is the path of file://, not escaped; absolute, or relative to a root. `bucket` is empty there."""

    scheme: PlaceScheme
    bucket: str
    key: str


def is_place(url: str) -> bool:
    """Whether it is written as one: s3://, tos:// or file://."""
    return url.partition("://")[0] in _SCHEMES and "://" in url


def parse_place(url: str, field: str) -> Place:
    """Raises:
    InvalidValue: names `field`, the value and the fix.
    """
    shown = redact(url)[0]  # some write s3://key:secret@bucket
    scheme = next((known for known in _SCHEMES if url.startswith(known + "://")), None)
    if scheme is None:
        raise InvalidValue(field, shown, "use s3://bucket/key, tos://bucket/key or file:///folder/name")
    rest = url.partition("://")[2]
    if not _is_text(rest):
        raise InvalidValue(field, shown, "leave out control characters")
    if scheme == "file":
        path = unquote(rest, errors="surrogateescape")
        if not _is_text(path):
            raise InvalidValue(field, shown, "use UTF-8 without control characters in a path")
        _check_key(field, shown, path.removeprefix("/"), _MAX_PATH_BYTES)
        return Place("file", "", path)
    bucket, _, key = rest.partition("/")
    if not _BUCKET.fullmatch(bucket) or ".." in bucket:
        raise InvalidValue(field, shown, "a bucket has 3 to 63 lower-case letters, digits and any of .-_")
    _check_key(field, shown, key, _MAX_KEY_BYTES)
    return Place(scheme, bucket, key)


def _check_key(field: str, shown: str, key: str, max_bytes: int) -> None:
    if not key:
        raise InvalidValue(field, shown, "give a key after the bucket, or a path")
    if len(key.encode()) > max_bytes:
        raise InvalidValue(field, shown, f"use at most {max_bytes} bytes of UTF-8 after the bucket")
    # Stores take these keys and folders do not; libraries drop empty parts without a word.
    if any(part in ("", ".", "..") for part in key.split("/")):
        raise InvalidValue(field, shown, "leave out empty parts, . and .. between slashes")


def _is_text(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:  # lone surrogates
        return False
    return not _CONTROL.search(text)
