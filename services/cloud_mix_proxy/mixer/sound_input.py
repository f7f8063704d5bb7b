"""The sound of one input, at the times of the mix."""

import threading
from typing import Final

import numpy as np
import numpy.typing as npt

from schemas.units import NS_PER_SECOND

SAMPLE_RATE: Final = 48_000
Samples = npt.NDArray[np.float32]
"""Shape (samples, 2), -1 to 1."""
_FULL_SCALE: Final = 32_768
_CHANNELS: Final = 2
_KEPT_SAMPLES: Final = 2 * SAMPLE_RATE
"""How far pictures may lag behind before sound is lost: more than any mix waits."""
_JUMP_SAMPLES: Final = SAMPLE_RATE * 30 // 1000
"""A block so far from where it belongs is a gap or another beginning; less is a clock that goes wrong."""
_PULL: Final = 0.02
"""Share of its error that a block is made longer or shorter by: 1 ms is gone after a second, without being heard."""
_MOST_STRETCH: Final = 0.004  # a tone moves by 7 cents, where trained ears begin to hear it
_SPLICE_SAMPLES: Final = SAMPLE_RATE * 5 // 1000  # a jump without a click


def sample_at(time_ns: int) -> int:
    """The number of the sample at a time, from the beginning of CLOCK_REALTIME."""
    return time_ns * SAMPLE_RATE // NS_PER_SECOND


class SoundInput:
    """Takes blocks as they come and gives the sound of any moment: silence where there is none.

    A block goes where the one before it ended; what its time says otherwise is made up for bit by bit, so that an
    input whose clock goes wrong by a ten-thousandth stays with its pictures. For two threads, one at each end.
    """

    def __init__(self) -> None:
        self._samples: Samples = np.zeros((_KEPT_SAMPLES, _CHANNELS), np.float32)
        """By sample number modulo the length."""
        self._end = 0
        """Number of the first sample that is not there yet."""
        self._begin = 0
        """What lies before it is silence."""
        self._guard = threading.Lock()
        self.late_blocks = 0
        """Came after their moment, or a part of them."""
        self._taken_until = 0

    def put(self, start_ns: int, block: npt.NDArray[np.int16]) -> None:
        """Add a block.

        Args:
            start_ns: CLOCK_REALTIME of its first sample on the mix's timeline.
            block: shape (samples, channels), 48 kHz; of more than two channels the first two are used.
        """
        samples = _stereo(block)
        if not len(samples):
            return
        place = sample_at(start_ns)
        with self._guard:
            error = place - self._end
            if abs(error) >= _JUMP_SAMPLES or not self._end:
                self.late_blocks += place < self._taken_until
                self._jump(place, samples)
            else:
                self.late_blocks += self._end < self._taken_until
                self._write(self._end, _stretched(samples, error))

    def take(self, start: int, count: int) -> Samples:
        """The samples from number `start` on; what is not there (yet, or any more) is silence."""
        found: Samples = np.zeros((count, _CHANNELS), np.float32)
        with self._guard:
            self._taken_until = start + count
            first, last = max(start, self._begin, self._end - _KEPT_SAMPLES), min(start + count, self._end)
            if first < last:
                found[first - start : last - start] = self._read(first, last)
        return found

    def _jump(self, place: int, samples: Samples) -> None:
        """Go on elsewhere: later, after silence; or earlier, over what was there."""
        ramp = np.linspace(0, 1, min(_SPLICE_SAMPLES, len(samples)), dtype=np.float32)[:, None]
        samples = samples.copy()
        if self._begin <= place < self._end:  # earlier: from the one into the other
            length = min(len(ramp), self._end - place)
            samples[:length] = samples[:length] * ramp[:length] + self._read(place, place + length) * (
                1 - ramp[:length]
            )
        else:
            samples[: len(ramp)] *= ramp
            if 0 < place - self._end < _KEPT_SAMPLES:
                silence: Samples = np.zeros((place - self._end, _CHANNELS), np.float32)
                self._write(self._end, silence)
            else:
                self._begin = place
        self._write(place, samples)

    def _write(self, place: int, samples: Samples) -> None:
        samples = samples[-_KEPT_SAMPLES:]
        self._end = place + len(samples)
        self._begin = max(self._begin, self._end - _KEPT_SAMPLES)
        at = place % _KEPT_SAMPLES
        first = min(len(samples), _KEPT_SAMPLES - at)
        self._samples[at : at + first] = samples[:first]
        self._samples[: len(samples) - first] = samples[first:]

    def _read(self, first: int, last: int) -> Samples:
        found: Samples = self._samples[np.arange(first, last) % _KEPT_SAMPLES]
        return found


def _stereo(block: npt.NDArray[np.int16]) -> Samples:
    samples: Samples = block[:, :_CHANNELS].astype(np.float32) / np.float32(_FULL_SCALE)
    return np.repeat(samples, _CHANNELS, axis=1) if samples.shape[1] == 1 else samples


def _stretched(samples: Samples, error: int) -> Samples:
    """A little longer where it begins too early, so that the next block begins later."""
    most = int(len(samples) * _MOST_STRETCH)
    more = max(-most, min(most, round(error * _PULL)))
    if not more:
        return samples
    places, numbers = np.linspace(0, len(samples) - 1, len(samples) + more), np.arange(len(samples))
    stretched: Samples = np.empty((len(places), _CHANNELS), np.float32)
    for channel in range(_CHANNELS):
        stretched[:, channel] = np.interp(places, numbers, samples[:, channel])
    return stretched
