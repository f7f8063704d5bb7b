"""The streams that inputs and signals name: each is followed once, for as long as one of them needs it."""

import asyncio
from collections.abc import Collection

from services.io_signal.inputs.followed import FollowedStream, Streams
from services.io_signal.inputs.frame_times import FrameTimes
from shared.bus import Bus
from shared.demand import Wants
from shared.tasks import start_task


class Following:
    """Belongs to the event loop."""

    def __init__(self, here: str, bus: Bus, wants: Wants, streams: Streams) -> None:
        """`here`: the node of this service."""
        self._here, self._bus, self._wants, self._streams = here, bus, wants, streams
        self.times = FrameTimes()
        self._followed: dict[str, FollowedStream] = {}
        self._looked_on: dict[str, FollowedStream] = {}
        self._releasing: set[asyncio.Task[None]] = set()

    def follow(self, stream: str) -> FollowedStream:
        """Its pictures are made from now on, also where nobody else looks; give it back with `release`, once."""
        followed = self._take(stream)
        followed.need(1)
        return followed

    async def release(self, followed: FollowedStream) -> None:
        """The last one who gives it back ends it."""
        followed.need(-1)
        await self._give_back(followed)

    def look_on(self, streams: Collection[str]) -> None:
        """These, and no others, are followed as well, for the pictures that others have made."""
        for stream in set(streams) - self._looked_on.keys():
            self._looked_on[stream] = self._take(stream)
        for stream in self._looked_on.keys() - set(streams):
            task = start_task(self._give_back(self._looked_on.pop(stream)), f"release {stream}")
            self._releasing.add(task)
            task.add_done_callback(self._releasing.discard)

    async def close(self) -> None:
        """Look on no more."""
        self.look_on(())
        await asyncio.gather(*self._releasing)

    @property
    def left_out(self) -> dict[str, int]:
        """By stream: instants that were not joined, as too many waited."""
        return {stream: followed.left_out for stream, followed in self._followed.items()}

    def _take(self, stream: str) -> FollowedStream:
        followed = self._followed.get(stream)
        if followed is None:
            times = self.times.of(stream)
            followed = self._followed[stream] = FollowedStream(
                stream, self._here, self._bus, self._wants, self._streams, times
            )
        followed.users += 1
        return followed

    async def _give_back(self, followed: FollowedStream) -> None:
        followed.users -= 1
        if followed.users:
            return
        del self._followed[followed.stream]
        self.times.forget(followed.stream)
        await followed.close()
