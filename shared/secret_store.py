"""Secrets: credentials and stream keys leave the request at the edge and live in one bucket of their own.

Specs, state, events and logs hold `secret://<name>@<revision>`; only services whose NATS permissions allow
reading `mesh_secrets` can turn that back into a URL.
"""

from typing import TYPE_CHECKING

from schemas.errors import NotFound
from schemas.subjects import SECRETS_BUCKET, state_key

if TYPE_CHECKING:
    from shared.bus import Bus

_SCHEME = "secret://"
# A reference names a revision; a refused command may have written newer ones, which must not be used in its place.
_HISTORY = 16


async def keep_secret(bus: "Bus", service: str, resource: str, value: str) -> str:
    """Store `value` for a resource; returns the reference. The same value again keeps its reference."""
    bucket = await bus.bucket(SECRETS_BUCKET, history=_HISTORY)
    key = state_key(service, resource)
    known = await bucket.get(key)
    if known and known.value.decode() == value:
        return f"{_SCHEME}{key}@{known.revision}"
    return f"{_SCHEME}{key}@{await bucket.put(key, value.encode())}"


async def read_secret(bus: "Bus", reference: str) -> str:
    """The value behind a reference.

    Raises:
        NotFound: it was removed, or the reference is not one.
    """
    key, _, revision = reference.removeprefix(_SCHEME).partition("@")
    bucket = await bus.bucket(SECRETS_BUCKET, history=_HISTORY)
    good = reference.startswith(_SCHEME) and key and revision.isdigit()
    entry = await bucket.get(key, int(revision)) if good else None
    if entry is None:
        raise NotFound(f"{reference}: no such secret; give the full URL again with the start command")
    return entry.value.decode()


async def forget_secret(bus: "Bus", service: str, resource: str) -> None:
    """Remove what was stored for a resource, if anything."""
    bucket = await bus.bucket(SECRETS_BUCKET, history=_HISTORY)
    key = state_key(service, resource)
    if await bucket.get(key):
        await bucket.purge(key)
