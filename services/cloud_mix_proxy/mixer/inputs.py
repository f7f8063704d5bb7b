"""One stream that a mix is made of: its pictures by reference, its sound, and whether it is still there."""

import logging
import time
from collections import Counter, deque
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec
import numpy as np

from schemas.frames import FrameRef
from schemas.mix_resources import InputState
from schemas.packets import unpack_audio
from schemas.subjects import RAW, audio, frames
from services.cloud_mix_proxy.mixer.input_times import InputTimes
from services.cloud_mix_proxy.mixer.picture_queue import PictureQueue
from services.cloud_mix_proxy.mixer.sound_input import SAMPLE_RATE, SoundInput
from shared.bus import Bus, Message, Subscription
from shared.demand import Wants
from shared.ring import RingReader, newest_picture

log = logging.getLogger(__name__)

_RECENT: Final = 16
"""References that a new layout finds: more than come within the delay at 120 pictures/s, and of a ring's slots."""
_LEASES_OF_A_PLACE: Final = 2
"""The picture that is scaled, and one shown in place. Places of one stream go from picture to picture together: it is
the same few pictures that they hold, however many they are."""
_FEWEST_LEASES: Final = 4  # one place, and the same one in the next layout
_SLOW_PICTURES: Final = 3  # of an input with few pictures so many may be missing before it is lost
_SAMPLE_BYTES: Final = 2
_MAX_CHANNELS: Final = 8
_decode_ref = msgspec.json.Decoder(FrameRef).decode


class StreamInput:
    """Follows a stream until closed. Belongs to the event loop, but for `state`, `offset_ns`, `reader` and `sound`."""

    def __init__(self, bus: Bus, *, node: str, stream: str, shm_dir: Path, within_ns: int, lost_after_ns: int) -> None:
        """`within_ns`: how long pictures and sound may be under way."""
        self._bus, self._node, self.stream, self._shm_dir = bus, node, stream, shm_dir
        self._within_ns, self._lost_after_ns = within_ns, lost_after_ns
        self.reader = RingReader(shm_dir, _FEWEST_LEASES, max_open_rings=2)
        self.sound = SoundInput()
        self._overflown = self._unusable_sound = 0
        self._times = InputTimes(within_ns)
        self._queues: list[PictureQueue] = []
        self._recent: deque[FrameRef] = deque(maxlen=_RECENT)
        self._epoch = -1
        self._captured_ns = -1
        """Of the newest picture."""
        self._alive_ns = time.monotonic_ns()
        """When there was a picture, or a reason to wait for one."""
        self._slow_ns = 0
        self._has_pictures = False
        self._state: InputState = "waiting"
        self.since_ns = time.time_ns()
        """CLOCK_REALTIME since when it has its state."""
        self._subscriptions: list[Subscription] = []
        self._undo: list[Callable[[], None]] = []

    async def open(self, wants: Wants, consumer: str) -> None:
        """Subscribe and show demand; a picture that is there already is seen at once."""
        self._undo.append(self._bus.on_reconnect(self._reconnected))
        self._undo.append(wants.want(self._node, self.stream, RAW, consumer))
        self._subscriptions = [
            await self._bus.subscribe(frames(self._node, self.stream), self._take_picture),
            await self._bus.subscribe(audio(self._node, self.stream), self._take_sound),
        ]
        newest = newest_picture(self._shm_dir, self.stream)  # of a stream that has few, or is about to have more
        if newest is not None and not self._recent and newest.node == self._node:
            self._take(newest)

    async def close(self) -> None:
        for undo in self._undo:
            undo()
        for subscription in self._subscriptions:
            await subscription.close()
        self.reader.close()

    # -- for the mixing thread ---------------------------------------------------------------------------------

    def follow(self) -> PictureQueue:
        """A queue of this stream's pictures, with the newest ones in it."""
        queue = PictureQueue(tuple(self._recent))
        self._set_queues([*self._queues, queue])
        return queue

    def unfollow(self, queue: PictureQueue) -> None:
        self._set_queues([one for one in self._queues if one is not queue])

    def _set_queues(self, queues: list[PictureQueue]) -> None:
        self._queues = queues
        self.reader.max_leases = max(_FEWEST_LEASES, _LEASES_OF_A_PLACE * len(queues))

    @property
    def offset_ns(self) -> int:
        """What is added to the stream's times to have CLOCK_REALTIME."""
        return self._times.offset_ns

    @property
    def left_out(self) -> Counter[str]:
        """What came and could not be used, by the names of `Report`."""
        return Counter(
            overflown=self._overflown, late_sound=self.sound.late_blocks, unusable_sound=self._unusable_sound
        )

    @property
    def state(self) -> InputState:
        """Looked at anew; lost is only what others could see: while the bus is away nobody knows."""
        silent_ns = time.monotonic_ns() - self._alive_ns
        state: InputState = self._state
        if silent_ns > max(self._lost_after_ns, self._slow_ns) and self._bus.connected:
            state = "lost" if self._has_pictures else "waiting"
        elif self._has_pictures:
            state = "live"
        if state != self._state:
            self._state, self.since_ns = state, time.time_ns()
        return state

    # -- from the bus ------------------------------------------------------------------------------------------

    def _reconnected(self) -> None:
        self._alive_ns = time.monotonic_ns()

    def _take_picture(self, message: Message) -> None:
        ref = _decode_ref(message.data)
        # One that was captured once is not news, written again for those who come late: its source is lost.
        if self._begin(ref.epoch) and ref.captured_ns != self._captured_ns:
            self._alive_ns = time.monotonic_ns()
            self._take(ref)

    def _take(self, ref: FrameRef) -> None:
        self._epoch = max(self._epoch, ref.epoch)
        self._captured_ns = ref.captured_ns
        self._times.saw_picture(ref.pts_ns, ref.captured_ns, time.time_ns())
        self._slow_ns = _SLOW_PICTURES * ref.duration_ns
        self._has_pictures = True
        self._recent.append(ref)
        for queue in self._queues:
            self._overflown += queue.put(ref)

    def _begin(self, epoch: int) -> bool:
        """False: of a writer whose time is over. Of a new one nothing that was known is true any more."""
        if epoch < self._epoch:
            return False
        if epoch > self._epoch:
            self._epoch, self._captured_ns = epoch, -1
            self._times = InputTimes(self._within_ns)
            self._recent.clear()
            for queue in self._queues:
                queue.clear()
            self.reader.trim()  # the former writer's ring goes, and its memory with it
        return True

    def _take_sound(self, message: Message) -> None:
        header, samples = unpack_audio(message.data)
        usable = header.sample_format == "s16" and header.sample_rate == SAMPLE_RATE
        length = header.samples * header.channels * _SAMPLE_BYTES
        if not usable or header.channels > _MAX_CHANNELS or len(samples) != length:
            self._unusable_sound += 1
            return
        if not self._begin(header.epoch):
            return
        self._times.saw_sound(header.pts_ns, header.captured_ns, time.time_ns())
        block = np.frombuffer(samples, "<i2").reshape(-1, header.channels)
        self.sound.put(header.pts_ns + self._times.offset_ns, block)
