"""Changing desired state: what every `start`, `stop` and `list` command does, whichever instance answers it.

A spec is written to `mesh_desired` by compare-and-set; the owner notices and acts; the command waits until
`mesh_actual` shows a settled state at or after that revision.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Collection
from typing import Any, Generic, Protocol, TypeVar

import msgspec

from schemas.commands import Changed
from schemas.errors import BadRequest, Conflict, NotFound
from schemas.packets import UNREADABLE
from schemas.resources import Actual, Presence, Spec
from schemas.subjects import ACTUAL_BUCKET, DESIRED_BUCKET, PRESENCE_BUCKET, state_key
from shared.bus import Bucket, Bus, Entry, Mirror
from shared.secret_store import SecretField

SpecT = TypeVar("SpecT", bound=Spec)
ActualT = TypeVar("ActualT", bound=Actual)
ReplyT = TypeVar("ReplyT", bound=Changed)
StructT = TypeVar("StructT", bound=msgspec.Struct)

log = logging.getLogger(__name__)

PRESENCE_TTL_SECONDS = 10.0

DESIRED_HISTORY = 5
_TRANSIENT_STATES = frozenset({"connecting", "starting", "waiting"})
_CAS_ATTEMPTS = 8


class ChangeRequest(Protocol):
    """What every changing command carries besides its spec."""

    @property
    def revision(self) -> int | None: ...

    @property
    def wait_s(self) -> float: ...


class Desired(Generic[SpecT, ActualT]):
    """Specs and states of one kind of resource, mesh-wide."""

    def __init__(
        self,
        service: str,
        spec_type: type[SpecT],
        actual_type: type[ActualT],
        mirrors: "StateMirrors",
        secret: SecretField[SpecT] | None = None,
    ) -> None:
        """`secret`: the field of the specs whose credentials are kept elsewhere; None where none is written here."""
        self._secret = secret
        self._service = service
        self._spec_type = spec_type
        self._actual_type = actual_type
        self._mirrors = mirrors

    def spec(self, resource: str) -> tuple[SpecT, int] | None:
        """The spec and its revision, or None when nobody asked for it."""
        entry = self._mirrors.desired.entries.get(state_key(self._service, resource))
        spec = _read(entry, self._spec_type)
        return (spec, entry.revision) if entry and spec else None

    async def find(self, resource: str) -> tuple[SpecT, int] | None:
        """As `spec`, but asks the bus when this copy has none: it may have been written a moment ago elsewhere.

        Raises:
            Unavailable: the bus does not answer.
        """
        found = self.spec(resource)
        if found is not None:
            return found
        bucket = await self._mirrors.bus.bucket(DESIRED_BUCKET, history=DESIRED_HISTORY)
        entry = await bucket.get(state_key(self._service, resource))
        return (msgspec.json.decode(entry.value, type=self._spec_type), entry.revision) if entry else None

    def actual(self, resource: str) -> ActualT | None:
        return _read(self._mirrors.actual.entries.get(state_key(self._service, resource)), self._actual_type)

    def all(self) -> list[tuple[str, SpecT, int, ActualT | None]]:
        """(id, spec, revision, actual) of each, by id."""
        prefix = f"{self._service}."
        found = []
        for key, entry in sorted(self._mirrors.desired.entries.items()):
            if key.startswith(prefix):
                resource = key.removeprefix(prefix)
                spec = _read(entry, self._spec_type)
                if spec is not None:
                    found.append((resource, spec, entry.revision, self.actual(resource)))
        return found

    def unasked(self) -> list[ActualT]:
        """States of resources that exist although nobody asked for them, by id."""
        prefix = f"{self._service}."
        found = (
            _read(entry, self._actual_type)
            for key, entry in sorted(self._mirrors.actual.entries.items())
            if key.startswith(prefix) and key not in self._mirrors.desired.entries
        )
        return [actual for actual in found if actual is not None]

    def owned(self, node: str) -> dict[str, tuple[SpecT, int]]:
        """(spec, revision) by id of what this node shall run."""
        return {resource: (spec, revision) for resource, spec, revision, _ in self.all() if spec.node == node}

    def leftovers(self, node: str, wanted: Collection[str]) -> list[str]:
        """Ids whose state an earlier run on this node left behind although nobody wants them any more."""
        prefix = f"{self._service}."
        candidates = [key.removeprefix(prefix) for key in self._mirrors.actual.entries if key.startswith(prefix)]
        return [
            resource
            for resource in candidates
            if resource not in wanted and (actual := self.actual(resource)) is not None and actual.node == node
        ]

    async def apply(self, resource: str, spec: SpecT, request: "ChangeRequest", reply: Callable[..., ReplyT]) -> ReplyT:
        """Write the spec and wait for the owner, as a `start` command does.

        Raises:
            Conflict: the request's revision is not the current one.
        """
        revision, before, written = await self._put(resource, spec, request.revision)
        actual = await self.wait_settled(resource, revision, request.wait_s)
        if self._secret:
            await self._secret.replaced(before, written)
        code = 200 if actual else 202
        return reply(code=code, service=self._service, id=resource, revision=revision, actual=actual)

    async def withdraw(self, resource: str, request: "ChangeRequest", reply: Callable[..., ReplyT]) -> ReplyT:
        """Remove the spec and wait until the owner has cleaned up, as a `stop` command does.

        Raises:
            NotFound: there is none of that name.
            Conflict: the request's revision is not the current one.
        """
        removed = await self._remove(resource, request.revision)
        if removed is None:
            raise NotFound(f"{resource!r} does not exist; {self._service}.list shows what does")
        revision, spec = removed
        gone = await self.wait_gone(resource, revision, request.wait_s)
        if self._secret and spec:
            await self._secret.forget(spec)
        return reply(code=200 if gone else 202, service=self._service, id=resource, revision=revision, actual=None)

    async def put(self, resource: str, spec: SpecT, expected_revision: int | None) -> int:
        """Write the spec; the same spec again changes nothing. Returns the revision that holds it.

        Raises:
            Conflict: `expected_revision` is not the current one.
        """
        return (await self._put(resource, spec, expected_revision))[0]

    async def _put(self, resource: str, spec: SpecT, expected_revision: int | None) -> tuple[int, SpecT | None, SpecT]:
        """As `put`; the revision, the spec that was there before, and the one that is there now."""
        bucket = await self._mirrors.bus.bucket(DESIRED_BUCKET, history=DESIRED_HISTORY)
        key = state_key(self._service, resource)
        for _ in range(_CAS_ATTEMPTS):
            current = await bucket.get(key)
            revision = current.revision if current else 0
            if expected_revision is not None and expected_revision != revision:
                raise Conflict(f"{key} is at revision {revision}, not {expected_revision}; read it again and retry")
            before = _read(current, self._spec_type)
            # Within the compare-and-set: a reference to the secret of a spec that is being removed must not be written.
            sealed = await self._secret.seal(resource, spec, before) if self._secret else spec
            if before == sealed:
                return revision, before, sealed
            try:
                return await bucket.update(key, msgspec.json.encode(sealed), revision), before, sealed
            except Conflict:
                if expected_revision is not None:
                    raise
        raise Conflict(f"{key} is being changed by others all the time; try again")

    async def remove(self, resource: str, expected_revision: int | None) -> int | None:
        """Take the spec back; returns the revision it had, None when there was none.

        Raises:
            Conflict: `expected_revision` is not the current one.
        """
        removed = await self._remove(resource, expected_revision)
        return removed[0] if removed else None

    async def _remove(self, resource: str, expected_revision: int | None) -> tuple[int, SpecT | None] | None:
        """As `remove`; the revision and the spec, None for the spec when it was not readable."""
        bucket = await self._mirrors.bus.bucket(DESIRED_BUCKET, history=DESIRED_HISTORY)
        key = state_key(self._service, resource)
        for _ in range(_CAS_ATTEMPTS):
            current = await bucket.get(key)
            if current is None:
                return None
            revision = current.revision
            if expected_revision is not None and expected_revision != revision:
                raise Conflict(f"{key} is at revision {revision}, not {expected_revision}; read it again and retry")
            try:
                await bucket.delete(key, revision)
            except Conflict:
                if expected_revision is not None:
                    raise
            else:
                return revision, _read(current, self._spec_type)
        raise Conflict(f"{key} is being changed by others all the time; try again")

    async def wait_settled(self, resource: str, revision: int, timeout_seconds: float) -> ActualT | None:
        """The actual state at or after `revision` once it is no longer on its way; None when that takes too long."""
        key = state_key(self._service, resource)

        def settled(entries: dict[str, Entry]) -> bool:
            actual = _read(entries.get(key), self._actual_type)
            if actual is None:
                return False
            return actual.revision >= revision and (actual.state not in _TRANSIENT_STATES or actual.error is not None)

        if not await self._mirrors.actual.wait_for(settled, timeout_seconds):
            return None
        return self.actual(resource)

    async def wait_gone(self, resource: str, revision: int, timeout_seconds: float) -> bool:
        """True once the owner has let go of `revision`; False when that takes too long."""
        key = state_key(self._service, resource)

        def gone(entries: dict[str, Entry]) -> bool:
            actual = _read(entries.get(key), self._actual_type)
            # Something else may have taken its place: a newer spec, or the default that is there on demand.
            return actual is None or actual.revision != revision

        return await self._mirrors.actual.wait_for(gone, timeout_seconds)


class StateMirrors:
    """Local copies of desired and actual state and of who is present. One per process."""

    def __init__(self, bus: Bus, desired: Bucket, actual: Bucket, presence: Bucket) -> None:
        self.bus = bus
        self._listeners: list[Callable[[], None]] = []
        self._desired_listeners: list[Callable[[], None]] = []
        self._seen_seconds: dict[str, float] = {}
        self._forget_hook = bus.on_reconnect(self._reconnected)
        self.desired: Mirror = desired.mirror(on_change=self._desired_changed)
        self.actual: Mirror = actual.mirror(on_change=self._changed)
        self.presence: Mirror = presence.mirror(on_change=self._presence_changed)

    def on_change(self, listener: Callable[[], None]) -> None:
        """Call `listener` in the event loop after every change of any of the three."""
        self._listeners.append(listener)

    def on_desired(self, listener: Callable[[], None]) -> Callable[[], None]:
        """Call `listener` in the event loop after every change of what is asked for, until the function that is
        returned is called."""
        self._desired_listeners.append(listener)
        return lambda: self._desired_listeners.remove(listener)

    def _changed(self, _key: str, _entry: Entry | None) -> None:
        for listener in self._listeners:
            listener()

    def _desired_changed(self, key: str, entry: Entry | None) -> None:
        for listener in tuple(self._desired_listeners):
            listener()
        self._changed(key, entry)

    def _presence_changed(self, key: str, entry: Entry | None) -> None:
        if entry is None:
            self._seen_seconds.pop(key, None)
        else:
            self._seen_seconds[key] = time.monotonic()
        self._changed(key, entry)

    def _reconnected(self) -> None:
        """Nobody could say that they are there; they have a TTL's time to say it now."""
        self._seen_seconds = dict.fromkeys(self._seen_seconds, time.monotonic())

    @classmethod
    async def open(cls, bus: Bus) -> "StateMirrors":
        buckets = await asyncio.gather(
            bus.bucket(DESIRED_BUCKET, history=DESIRED_HISTORY),
            bus.bucket(ACTUAL_BUCKET),
            bus.bucket(PRESENCE_BUCKET, ttl_seconds=PRESENCE_TTL_SECONDS, memory=True),
        )
        mirrors = cls(bus, *buckets)
        await asyncio.gather(mirrors.desired.synced(), mirrors.actual.synced(), mirrors.presence.synced())
        return mirrors

    async def close(self) -> None:
        self._forget_hook()
        await asyncio.gather(self.desired.close(), self.actual.close(), self.presence.close())

    def present(self, service: str | None = None) -> list[Presence]:
        """Services that run now, by name and node; of one kind when `service` is given.

        A watch is not told when a key's TTL is over, so who has said nothing for that long is left out here.
        """
        oldest = time.monotonic() - PRESENCE_TTL_SECONDS if self.bus.connected else float("-inf")
        found = (
            _read(entry, Presence)
            for key, entry in sorted(self.presence.entries.items())
            if (service is None or key.startswith(f"{service}.")) and self._seen_seconds.get(key, 0.0) >= oldest
        )
        return [presence for presence in found if presence is not None]

    def choose_node(self, service: str, wish: str | None, here: str) -> str:
        """The node that shall own a resource of `service`.

        Raises:
            BadRequest: it must be named, because several nodes could own it.
        """
        if wish is not None:
            return wish
        nodes = sorted({presence.node for presence in self.present(service)} | {here})
        if len(nodes) > 1:
            raise BadRequest(f'node missing: {service} runs on {", ".join(nodes)}; say which one with "node"')
        return nodes[0]


def _read(entry: Entry | None, kind: type[StructT]) -> StructT | None:
    """What an entry says; None when there is none, or when nobody here can read it: that is one resource's trouble,
    and must not become everybody's."""
    if entry is None:
        return None
    try:
        return msgspec.json.decode(entry.value, type=kind)
    except UNREADABLE as error:
        if (entry.key, entry.revision) not in _told:
            _told.add((entry.key, entry.revision))
            log.error("%s at revision %d is not readable and is left alone: %s", entry.key, entry.revision, error)
        return None


_told: set[tuple[str, int]] = set()
"""Entries that the log has heard of already; they are read at every change of any other."""


def error_in_reply(reply: Any) -> Any:
    """The owner's error inside a `…Changed` reply, for the reply's error headers."""
    return reply.actual.error if reply.actual else None
