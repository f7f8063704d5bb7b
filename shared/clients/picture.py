"""A picture that an application draws where readers will find it."""

from dataclasses import dataclass
from types import TracebackType
from typing import Protocol

import numpy as np

from schemas.frames import Clock, FrameRef
from shared.pixel_formats import Picture
from shared.ring import RingGeometry, WritableSlot


@dataclass(frozen=True)
class Stamp:
    """The times of one picture; what is not given is taken from the clocks."""

    captured_ns: int | None = None
    pts_ns: int | None = None
    clock: Clock = "arrival"


class Slots(Protocol):
    """Where pictures go: the published stream."""

    geometry: RingGeometry

    def acquire_now(self) -> WritableSlot | None: ...

    async def acquire(self) -> WritableSlot | None: ...

    def commit(self, slot: WritableSlot, stamp: Stamp) -> FrameRef: ...

    def abandon(self, slot: WritableSlot | None) -> None: ...


class PictureInPlace:
    """`with` or `async with`: gives the array, publishes at the end of the block."""

    def __init__(self, slots: Slots, stamp: Stamp) -> None:
        self._slots, self._stamp = slots, stamp
        self._slot: WritableSlot | None = None
        self.ref: FrameRef | None = None
        """After the block: the reference of the picture; None when it was dropped."""

    def __enter__(self) -> Picture:
        return self._begin(self._slots.acquire_now())

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._end(failed=kind is not None)

    async def __aenter__(self) -> Picture:
        return self._begin(await self._slots.acquire())

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end(failed=kind is not None)

    def _begin(self, slot: WritableSlot | None) -> Picture:
        self._slot = slot
        geometry = self._slots.geometry
        return np.empty(geometry.array_shape, geometry.array_dtype) if slot is None else slot.array

    def _end(self, *, failed: bool) -> None:
        slot, self._slot = self._slot, None
        if slot is None or failed:
            self._slots.abandon(slot)
        else:
            self.ref = self._slots.commit(slot, self._stamp)
