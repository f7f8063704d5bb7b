"""What a server says no with when it is asked for a bucket, as the mesh's own errors."""

import re

import nats.errors
from nats.js.errors import APIError, KeyWrongLastSequenceError

from schemas.errors import Conflict, Forbidden, MeshError, Unavailable
from shared.bus.refusals import NotAllowed

_STORE_FAILED = 10077  # error code of JetStream: with the limit that was reached as its text
_WRONG_LAST_SEQUENCE = (10071, 10164)  # error codes of JetStream, which nats-py maps for updates only
_LAST_REVISION = re.compile(r"wrong last sequence: (\d+)")


class BucketFull(Unavailable):
    """It takes no more until what is in it is removed or lapses: trying again does not help."""


def changed_meanwhile(key: str) -> Conflict:
    """Somebody else was first."""
    return Conflict(f"{key} was changed meanwhile; read it again and retry")


def last_revision_in(error: APIError) -> int | None:
    """The revision that the server has of a key, where it refuses a write because that is another one; else None."""
    last = _LAST_REVISION.search(error.description or "")
    return int(last[1]) if last is not None and error.err_code in _WRONG_LAST_SEQUENCE else None


def bucket_error(
    error: nats.errors.Error | TimeoutError, bucket: str, key: str, max_bytes: int, *, leaderless: bool, clustered: bool
) -> MeshError:
    """What `error` means for who asked `bucket` for `key`. `leaderless`: no server answered for the bucket last."""
    if isinstance(error, KeyWrongLastSequenceError):
        return changed_meanwhile(key)
    if isinstance(error, APIError):
        if error.err_code in _WRONG_LAST_SEQUENCE:
            return changed_meanwhile(key)
        if error.err_code == _STORE_FAILED and "maximum" in (error.description or ""):
            return BucketFull(
                f"{bucket} is full on the bus, with {max_bytes} bytes; give it more with "
                f"`nats stream edit KV_{bucket} --max-bytes`, or wait until what is in it lapses"
            )
    if leaderless:
        return Unavailable(
            f"{bucket} has no leader on the bus, as most of the servers that keep it are not to be reached "
            "from here: nothing was changed; try again when they are"
        )
    if isinstance(error, NotAllowed):
        return Forbidden(f"{error}; see who may in ops/nats/permissions.md")
    if clustered and isinstance(error, TimeoutError):
        return Unavailable(
            f"the leader of {bucket} does not answer on the bus: it may be lost or cut off from here, and "
            "whether it took the change shows when it is back; try again"
        )
    return Unavailable(f"the bus did not answer for {bucket} ({type(error).__name__}); try again")
