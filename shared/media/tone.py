"""The sound of `test://`: a quiet tone and, at the start of every second, a beep."""

from functools import lru_cache

import numpy as np
import numpy.typing as npt

_TONE_HZ, _BEEP_HZ = 440, 1_000  # whole numbers: both come round after a second, so the table loops without a click
_TONE_LEVEL, _BEEP_LEVEL = 0.1, 0.3  # of full scale: -20 and -10 dBFS
_BEEP_SECONDS = 0.1
_FADE_SECONDS = 0.002  # of the beep, against clicks
_FULL_SCALE = 32_767


def tone(sample_index: int, samples: int, sample_rate: int = 48_000, channels: int = 2) -> npt.NDArray[np.int16]:
    """`samples` per channel from `sample_index` on, s16 interleaved, shape (samples * channels,).

    Continuous across calls; the beep starts where `sample_index` is a multiple of `sample_rate`, in every channel.
    """
    indices = np.arange(sample_index, sample_index + samples) % sample_rate
    return _second(sample_rate)[indices].repeat(channels)


@lru_cache(maxsize=4)  # sample rates in use at a time
def _second(sample_rate: int) -> npt.NDArray[np.int16]:
    seconds = np.arange(sample_rate) / sample_rate
    fade = np.clip(np.minimum(seconds, _BEEP_SECONDS - seconds) / _FADE_SECONDS, 0, 1)
    beep = _BEEP_LEVEL * np.sin(2 * np.pi * _BEEP_HZ * seconds)
    base = _TONE_LEVEL * np.sin(2 * np.pi * _TONE_HZ * seconds)
    return np.round((base * (1 - fade) + beep * fade) * _FULL_SCALE).astype(np.int16)
