"""The sound of a mix up to a moment, in blocks."""

from collections.abc import Mapping
from typing import Final, Literal

from schemas.units import NS_PER_SECOND
from services.cloud_mix_proxy.mixer.output import MixOutput
from services.cloud_mix_proxy.mixer.sound import SoundMixer
from services.cloud_mix_proxy.mixer.sound_input import SAMPLE_RATE, SoundInput, sample_at

_BLOCK_SAMPLES: Final = SAMPLE_RATE // 50  # 20 ms: what Opus takes, and half the messages of 10 ms
_MOST_BLOCKS: Final = 10
"""Made at once after a pause. What is older is not wanted any more by those who listen."""


class SoundOutput:
    """Continues where it was: each sample is made once. Belongs to the mixing thread."""

    def __init__(self, output: MixOutput) -> None:
        self._output = output
        self._mixer: SoundMixer | None = None
        self._channels: Literal[1, 2] | None = None
        self._next = 0
        """Number of the next sample on the stream's own timeline; 0: none was made yet."""
        self.left_out = 0

    def until(
        self, pts_ns: int, clock_ns: int, gains: Mapping[SoundInput, float], *, channels: Literal[1, 2] | None
    ) -> None:
        """Publish what is not published yet of the sound before a moment.

        Args:
            pts_ns: the moment, on the stream's own timeline.
            clock_ns: what is added to that to have CLOCK_REALTIME, which inputs have.
            channels: None: the mix has no sound.
        """
        if channels is None:
            self._mixer, self._channels, self._next = None, None, 0
            return
        if self._mixer is None or channels != self._channels:
            self._mixer, self._channels = SoundMixer(channels), channels
        end = sample_at(pts_ns)
        if not self._next:
            self._next = end - _BLOCK_SAMPLES
        surplus = (end - self._next) // _BLOCK_SAMPLES - _MOST_BLOCKS
        if surplus > 0:
            self._next += surplus * _BLOCK_SAMPLES
            self.left_out += surplus
        shift = clock_ns * SAMPLE_RATE // NS_PER_SECOND
        while self._next + _BLOCK_SAMPLES <= end:
            block_ns = self._next * NS_PER_SECOND // SAMPLE_RATE
            samples = self._mixer.block(gains, self._next + shift, _BLOCK_SAMPLES)
            self._output.sound(samples, channels=channels, pts_ns=block_ns, captured_ns=block_ns + clock_ns)
            self._next += _BLOCK_SAMPLES
