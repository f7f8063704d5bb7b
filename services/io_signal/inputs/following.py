"""The streams that inputs name: each is followed once, for as long as one of them needs it."""

from services.io_signal.inputs.followed import FollowedStream, Streams
from services.io_signal.inputs.frame_times import FrameTimes
from shared.bus import Bus
from shared.demand import Wants


class Following:
    def __init__(self, bus: Bus, wants: Wants, streams: Streams) -> None:
        self._bus, self._wants, self._streams = bus, wants, streams
        self.times = FrameTimes()
        self._followed: dict[str, FollowedStream] = {}

    def follow(self, stream: str) -> FollowedStream:
        """Give it back with `release`, once."""
        followed = self._followed.get(stream)
        if followed is None:
            times = self.times.of(stream)
            followed = self._followed[stream] = FollowedStream(stream, self._bus, self._wants, self._streams, times)
        followed.users += 1
        return followed

    async def release(self, followed: FollowedStream) -> None:
        """The last one who gives it back ends it."""
        followed.users -= 1
        if followed.users:
            return
        del self._followed[followed.stream]
        self.times.forget(followed.stream)
        await followed.close()

    @property
    def left_out(self) -> dict[str, int]:
        """By stream: instants that were not joined, as too many waited."""
        return {stream: followed.left_out for stream, followed in self._followed.items()}
