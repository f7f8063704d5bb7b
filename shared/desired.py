"""Changing desired state: what every `start`, `stop` and `list` command does, whichever instance answers it.

A spec is written to `mesh_desired` by compare-and-set; the owner notices and acts; the command waits until
`mesh_actual` shows a settled state at or after that revision.
"""

from collections.abc import Callable, Collection, Iterator
from typing import Any, Generic, Protocol, TypeVar

import msgspec

from schemas.commands import Changed
from schemas.errors import Conflict, NotFound
from schemas.resources import Actual, Spec
from schemas.subjects import DESIRED_BUCKET, state_key
from shared.away import as_heard
from shared.bus import Entry
from shared.secret_store import SecretField
from shared.state import StateMirrors, read_entry

SpecT = TypeVar("SpecT", bound=Spec)
ActualT = TypeVar("ActualT", bound=Actual)
ReplyT = TypeVar("ReplyT", bound=Changed)

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
        mirrors: StateMirrors,
        secret: SecretField[SpecT] | None = None,
        owner: str = "",
    ) -> None:
        """`service`: how their keys begin. `secret`: the field of the specs whose credentials are kept elsewhere; None
        where none is written here. `owner`: the service that answers for them, where their keys begin otherwise."""
        self._secret = secret
        self._service, self._owner = service, owner or service
        self._spec_type = spec_type
        self._actual_type = actual_type
        self._mirrors = mirrors

    def spec(self, resource: str) -> tuple[SpecT, int] | None:
        """The spec and its revision, or None when nobody asked for it."""
        key = state_key(self._service, resource)
        entry = self._mirrors.desired.entries.get(key)
        spec = self._mirrors.desired_readings.get(key, self._spec_type)
        return (spec, entry.revision) if entry and spec else None

    async def find(self, resource: str) -> tuple[SpecT, int] | None:
        """As `spec`, but asks the bus when this copy has none: it may have been written a moment ago elsewhere.

        Raises:
            Unavailable: the bus does not answer.
        """
        return self.spec(resource) or await self.read(resource)

    async def catch_up(self, resource: str, timeout_seconds: float) -> None:
        """Where this copy has no spec but the bus does, wait until the copy has it too, as long as it may take.

        Raises:
            Unavailable: the bus does not answer.
        """
        if self.spec(resource) is None and await self.read(resource) is not None:
            key = state_key(self._service, resource)
            await self._mirrors.desired.wait_for(lambda entries: key in entries, timeout_seconds)

    async def read(self, resource: str, revision: int | None = None) -> tuple[SpecT, int] | None:
        """As `spec`, but as the bus has it now, or had it at an earlier revision that it still knows.

        Raises:
            Unavailable: the bus does not answer.
        """
        bucket = await self._mirrors.bus.bucket(DESIRED_BUCKET)
        entry = await bucket.get(state_key(self._service, resource), revision)
        return (msgspec.json.decode(entry.value, type=self._spec_type), entry.revision) if entry else None

    async def cause(self, resource: str, revision: int | None) -> str:
        """What led to that revision, or to the removal, as `traceparent`; empty: it is not known."""
        if revision == 0:  # nobody asked for it
            return ""
        bucket = await self._mirrors.bus.bucket(DESIRED_BUCKET)
        return await bucket.cause(state_key(self._service, resource), revision)

    def actual(self, resource: str) -> ActualT | None:
        return self._mirrors.actual_readings.get(state_key(self._service, resource), self._actual_type)

    def state_shown(self, resource: str) -> ActualT | None:
        """As `actual`, for people: what nobody reports any more is `away`."""
        return as_heard(self._owner, self._mirrors.heard_nodes(self._owner), self.actual(resource))

    def all(self) -> list[tuple[str, SpecT, int, ActualT | None]]:
        """(id, spec, revision, actual) of each, by id."""
        return [(resource, spec, revision, self.actual(resource)) for resource, spec, revision in self._specs()]

    def shown(self) -> list[tuple[str, SpecT, int, ActualT | None]]:
        """As `all`, with states as `state_shown` has them."""
        heard = self._mirrors.heard_nodes(self._owner)
        return [
            (resource, spec, revision, as_heard(self._owner, heard, actual))
            for resource, spec, revision, actual in self.all()
        ]

    def _specs(self) -> Iterator[tuple[str, SpecT, int]]:
        """(id, spec, revision) of each, by id."""
        prefix = f"{self._service}."
        entries = self._mirrors.desired.entries
        for key in sorted(key for key in entries if key.startswith(prefix)):
            spec = self._mirrors.desired_readings.get(key, self._spec_type)
            if spec is not None:
                yield key.removeprefix(prefix), spec, entries[key].revision

    def unasked(self) -> list[ActualT]:
        """States of resources that exist although nobody asked for them, by id; `away` where nobody reports them."""
        prefix, heard = f"{self._service}.", self._mirrors.heard_nodes(self._owner)
        found = (
            self._mirrors.actual_readings.get(key, self._actual_type)
            for key in sorted(self._mirrors.actual.entries)
            if key.startswith(prefix) and key not in self._mirrors.desired.entries
        )
        return [shown for actual in found if (shown := as_heard(self._owner, heard, actual)) is not None]

    def owned(self, node: str) -> dict[str, tuple[SpecT, int]]:
        """(spec, revision) by id of what this node shall run."""
        # A sample has no node of its own: it goes with its stream.
        return {
            resource: (spec, revision)
            for resource, spec, revision in self._specs()
            if getattr(spec, "node", None) == node
        }

    def leftovers(self, node: str, wanted: Collection[str]) -> list[str]:
        """Ids whose state an earlier run on this node left behind although nobody wants them any more."""
        prefix = f"{self._service}."
        candidates = [key.removeprefix(prefix) for key in self._mirrors.actual.entries if key.startswith(prefix)]
        return [
            resource
            for resource in candidates
            if resource not in wanted and (actual := self.actual(resource)) is not None and actual.node == node
        ]

    def on_changed(self, listener: Callable[[], None]) -> Callable[[], None]:
        """Call `listener` in the event loop after every change of what is asked for, of any kind, until the function
        that is returned is called."""
        return self._mirrors.on_desired(listener)

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
        return reply(code=code, service=self._owner, id=resource, revision=revision, actual=actual)

    async def withdraw(self, resource: str, request: "ChangeRequest", reply: Callable[..., ReplyT]) -> ReplyT:
        """Remove the spec and wait until the owner has cleaned up, as a `stop` command does.

        Raises:
            NotFound: there is none of that name.
            Conflict: the request's revision is not the current one.
        """
        removed = await self._remove(resource, request.revision)
        if removed is None:
            raise NotFound(f"{resource!r} does not exist; {self._owner}.list shows what does")
        revision, spec = removed
        gone = await self.wait_gone(resource, revision, request.wait_s)
        if self._secret and spec:
            await self._secret.forget(spec)
        return reply(code=200 if gone else 202, service=self._owner, id=resource, revision=revision, actual=None)

    async def put(self, resource: str, spec: SpecT, expected_revision: int | None) -> int:
        """Write the spec; the same spec again changes nothing. Returns the revision that holds it.

        Raises:
            Conflict: `expected_revision` is not the current one.
        """
        return (await self._put(resource, spec, expected_revision))[0]

    async def _put(self, resource: str, spec: SpecT, expected_revision: int | None) -> tuple[int, SpecT | None, SpecT]:
        """As `put`; the revision, the spec that was there before, and the one that is there now."""
        bucket = await self._mirrors.bus.bucket(DESIRED_BUCKET)
        key = state_key(self._service, resource)
        for _ in range(_CAS_ATTEMPTS):
            current = await bucket.newest(key)
            revision = current.revision if current else 0
            if expected_revision is not None and expected_revision != revision:
                raise Conflict(f"{key} is at revision {revision}, not {expected_revision}; read it again and retry")
            before = read_entry(current, self._spec_type)
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
        bucket = await self._mirrors.bus.bucket(DESIRED_BUCKET)
        key = state_key(self._service, resource)
        for _ in range(_CAS_ATTEMPTS):
            current = await bucket.newest(key)
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
                return revision, read_entry(current, self._spec_type)
        raise Conflict(f"{key} is being changed by others all the time; try again")

    async def wait_settled(self, resource: str, revision: int, timeout_seconds: float) -> ActualT | None:
        """The actual state at or after `revision` once it is no longer on its way; None when that takes too long."""
        key = state_key(self._service, resource)

        def settled(entries: dict[str, Entry]) -> bool:
            actual = self._mirrors.actual_readings.get(key, self._actual_type)
            return actual is not None and actual.revision >= revision and not is_on_its_way(actual)

        if not await self._mirrors.actual.wait_for(settled, timeout_seconds):
            return None
        return self.actual(resource)

    async def wait_gone(self, resource: str, revision: int, timeout_seconds: float) -> bool:
        """True once the owner has let go of `revision`; False when that takes too long."""
        key = state_key(self._service, resource)

        def gone(entries: dict[str, Entry]) -> bool:
            actual = self._mirrors.actual_readings.get(key, self._actual_type)
            # Something else may have taken its place: a newer spec, or the default that is there on demand.
            return actual is None or actual.revision != revision

        return await self._mirrors.actual.wait_for(gone, timeout_seconds)


def is_on_its_way(actual: Actual) -> bool:
    """Whether it will be another one without anybody's doing."""
    # What waits for something outside the mesh has arrived as far as it can by itself.
    waits = bool(getattr(actual, "waiting_for", ""))
    return actual.state in _TRANSIENT_STATES and actual.error is None and not waits


def error_in_reply(reply: Any) -> Any:
    """The owner's error inside a `…Changed` reply, for the reply's error headers."""
    return reply.actual.error if reply.actual else None
