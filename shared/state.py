"""Local copies of the mesh's state: what is asked for, what is, who is present."""

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Any, TypeVar

import msgspec

from schemas.buckets import PRESENCE_TTL_SECONDS
from schemas.errors import BadRequest
from schemas.packets import UNREADABLE
from schemas.resources import Presence
from schemas.subjects import ACTUAL_BUCKET, DESIRED_BUCKET, PRESENCE_BUCKET
from shared.bus import Bucket, Bus, Entry, Mirror

StructT = TypeVar("StructT", bound=msgspec.Struct)

log = logging.getLogger(__name__)


class Readings:
    """What the entries of a mirror say, read once each: all of them are looked at after each change of any."""

    def __init__(self, mirror: Mirror) -> None:
        self._mirror = mirror
        self._read: dict[str, tuple[Entry, type[msgspec.Struct], Any]] = {}

    def get(self, key: str, kind: type[StructT]) -> StructT | None:
        """As `read_entry` of the entry that is there now."""
        entry = self._mirror.entries.get(key)
        if entry is None:
            return None
        known = self._read.get(key)
        if known is not None and known[0] is entry and known[1] is kind:
            value: StructT | None = known[2]
            return value
        value = read_entry(entry, kind)
        self._read[key] = (entry, kind, value)
        return value

    def forget(self, key: str) -> None:
        """It has changed, or is gone."""
        self._read.pop(key, None)


class StateMirrors:
    """Local copies of desired and actual state and of who is present. One per process."""

    def __init__(self, bus: Bus, desired: Bucket, actual: Bucket, presence: Bucket) -> None:
        self.bus = bus
        self._listeners: list[Callable[[], None]] = []
        self._desired_listeners: list[Callable[[], None]] = []
        self._seen_seconds: dict[str, float] = {}
        self._reconnected_seconds = float("-inf")
        self._forget_hook = bus.on_reconnect(self._reconnected)
        self.desired: Mirror = Mirror(desired, on_change=self._desired_changed)
        self.actual: Mirror = Mirror(actual, on_change=self._actual_changed)
        self.presence: Mirror = Mirror(presence, on_change=self._presence_changed)
        self.desired_readings, self.actual_readings = Readings(self.desired), Readings(self.actual)

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

    def _actual_changed(self, key: str, entry: Entry | None) -> None:
        self.actual_readings.forget(key)
        self._changed(key, entry)

    def _desired_changed(self, key: str, entry: Entry | None) -> None:
        self.desired_readings.forget(key)
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
        self._reconnected_seconds = time.monotonic()
        self._seen_seconds = dict.fromkeys(self._seen_seconds, self._reconnected_seconds)

    @classmethod
    async def open(cls, bus: Bus) -> "StateMirrors":
        buckets = await asyncio.gather(
            bus.bucket(DESIRED_BUCKET),
            bus.bucket(ACTUAL_BUCKET),
            bus.bucket(PRESENCE_BUCKET),
        )
        mirrors = cls(bus, *buckets)
        try:
            await asyncio.gather(mirrors.desired.synced(), mirrors.actual.synced(), mirrors.presence.synced())
        except BaseException:  # also of who gave up waiting: nobody else would end their tasks and watches
            await mirrors.close()
            raise
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
            read_entry(entry, Presence)
            for key, entry in sorted(self.presence.entries.items())
            if (service is None or key.startswith(f"{service}.")) and self._seen_seconds.get(key, 0.0) >= oldest
        )
        return [presence for presence in found if presence is not None]

    def heard_nodes(self, service: str) -> frozenset[str] | None:
        """Those on which the service runs; None right after a reconnect, where nobody has said so yet."""
        if not self.bus.connected or time.monotonic() - self._reconnected_seconds < PRESENCE_TTL_SECONDS:
            return None
        return frozenset(presence.node for presence in self.present(service))

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


def read_entry(entry: Entry | None, kind: type[StructT]) -> StructT | None:
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
