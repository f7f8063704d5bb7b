"""Secrets: credentials and stream keys leave the request at the edge and live in one bucket of their own.

Specs, state, events and logs hold `secret://<name>@<revision>`; only services whose NATS permissions allow
reading `mesh_secrets` can turn that back into a URL.
"""

import logging
from typing import TYPE_CHECKING, Generic, TypeVar

import msgspec

from schemas.errors import Conflict, NotFound, Unavailable
from schemas.resources import Spec
from schemas.subjects import SECRETS_BUCKET, state_key
from shared.urls import redact

if TYPE_CHECKING:
    from shared.bus import Bus

SpecT = TypeVar("SpecT", bound=Spec)

log = logging.getLogger(__name__)

_SCHEME = "secret://"


class SecretField(Generic[SpecT]):
    """One URL field of a kind of spec, and the field that refers to its secret: `source` and `source_secret`."""

    def __init__(self, bus: "Bus", service: str, field: str, *, stream_key: bool = False) -> None:
        """`stream_key`: the last path segment of an rtmp URL is a secret too."""
        self._bus = bus
        self._service = service
        self._field = field
        self._reference_field = f"{field}_secret"
        self._stream_key = stream_key

    async def seal(self, resource: str, spec: SpecT, before: SpecT | None) -> SpecT:
        """`spec` as it may be written and shown: what is secret in its URL is stored, and referred to.

        The same URL keeps its reference only while `before`, the spec in place, has it; whatever else is in the store
        belongs to a spec that was stopped, and may be on its way out.
        """
        url = getattr(spec, self._field)
        shown, secret = redact(url, self._stream_key)
        in_use = self._reference(before)
        reference = await keep_secret(self._bus, self._service, resource, url, in_use) if secret else ""
        return msgspec.structs.replace(spec, **{self._field: shown, self._reference_field: reference})

    async def forget(self, spec: SpecT) -> None:
        """Nobody needs the secret of `spec` any more."""
        if reference := self._reference(spec):
            try:
                await forget_secret(self._bus, reference)
            except Unavailable as error:  # the change itself is made; only what nobody can refer to stays behind
                log.warning("%s is not removed: %s", reference, error)

    async def replaced(self, before: SpecT | None, now: SpecT) -> None:
        """Forget the secret of a spec whose successor has none; another secret goes over the one before."""
        if before is not None and not self._reference(now):
            await self.forget(before)

    def _reference(self, spec: SpecT | None) -> str:
        return str(getattr(spec, self._reference_field)) if spec is not None else ""


async def keep_secret(bus: "Bus", service: str, resource: str, value: str, in_use: str = "") -> str:
    """Store `value` for a resource; returns the reference, which is `in_use` when that has this very value."""
    bucket = await bus.bucket(SECRETS_BUCKET)
    key = state_key(service, resource)
    known = await bucket.get(key)
    if known and known.value.decode() == value and in_use == reference_to(key, known.revision):
        return in_use
    return reference_to(key, await bucket.put(key, value.encode()))


async def read_secret(bus: "Bus", reference: str) -> str:
    """The value behind a reference.

    Raises:
        NotFound: it was removed, or the reference is not one.
    """
    key, revision = _parse(reference)
    bucket = await bus.bucket(SECRETS_BUCKET)
    entry = await bucket.get(key) if revision else None
    if entry and entry.revision != revision:
        # By its key where that will do: the permissions of a service let it read its own keys, not any revision.
        entry = await bucket.get(key, revision)
    if entry is None:
        raise NotFound(f"{reference}: no such secret; give the full URL again with the start command")
    return entry.value.decode()


async def forget_secret(bus: "Bus", reference: str) -> None:
    """Remove what is behind a reference, and all that is older; nothing when the resource has a newer one by now."""
    key, revision = _parse(reference)
    if not revision:
        return
    bucket = await bus.bucket(SECRETS_BUCKET)
    try:
        await bucket.purge(key, revision)
    except Conflict:  # started again while it was being stopped
        log.debug("%s stays: there is a newer one", reference)


async def forget_secrets(bus: "Bus", service: str, resource: str) -> None:
    """Remove all that was ever kept for a resource whose name nobody has again."""
    await (await bus.bucket(SECRETS_BUCKET)).purge(state_key(service, resource))


def reference_to(key: str, revision: int) -> str:
    """What specs say in place of the secret."""
    return f"{_SCHEME}{key}@{revision}"


def _parse(reference: str) -> tuple[str, int]:
    """(key, revision) of a reference; revision 0 when it is none."""
    key, _, revision = reference.removeprefix(_SCHEME).partition("@")
    good = reference.startswith(_SCHEME) and key and revision.isdecimal()
    return key, int(revision) if good else 0
