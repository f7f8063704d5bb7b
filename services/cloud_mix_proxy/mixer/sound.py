"""The sound of a mix: the inputs' sounds by their gains, added, and kept within bounds."""

from collections.abc import Mapping
from typing import Final, Literal

import numpy as np

from services.cloud_mix_proxy.mixer.sound_input import SAMPLE_RATE, Samples, SoundInput

_CEILING: Final = 10 ** (-0.3 / 20)  # -0.3 dBFS: room for what the encoder adds
_ATTACK_SAMPLES: Final = SAMPLE_RATE // 1000  # 1 ms of bent peaks is not heard
_RELEASE_SECONDS: Final = 0.2
_FULL_SCALE: Final = 32_768


class Limiter:
    """Turns the sound down while it is too loud, and up again slowly; what still passes the ceiling is bent."""

    def __init__(self) -> None:
        self._gain = 1.0

    def limit(self, samples: Samples) -> Samples:
        """The samples within -1 to 1; unchanged to the bit while nothing is too loud."""
        peak = float(np.abs(samples).max(initial=0.0))
        wanted = min(1.0, _CEILING / peak) if peak else 1.0
        before = self._gain
        if wanted < before:
            self._gain = wanted
        else:
            share = 1 - np.exp(-len(samples) / (SAMPLE_RATE * _RELEASE_SECONDS))
            self._gain = before + (wanted - before) * float(share)
            if wanted == 1.0 and self._gain > 1 - 1e-4:
                self._gain = 1.0
        if before == self._gain == 1.0 and peak <= _CEILING:
            return samples
        down = self._gain < before
        ramp: Samples = np.full((len(samples), 1), self._gain, np.float32)
        changing = min(_ATTACK_SAMPLES if down else len(samples), len(samples))
        ramp[:changing, 0] = np.linspace(before, self._gain, changing, dtype=np.float32)
        return _bent(samples * ramp)


class SoundMixer:
    """Adds the sounds of inputs; a gain that changes does so within a block, without a click."""

    def __init__(self, channels: Literal[1, 2]) -> None:
        self._channels = channels
        self._limiter = Limiter()
        self._gains: dict[SoundInput, float] = {}

    def block(self, inputs: Mapping[SoundInput, float], start: int, count: int) -> bytes:
        """The mix from sample number `start` on, as interleaved s16, little endian.

        Args:
            inputs: with their gains, as factors; of one that is not in it any more the end is heard fading.
        """
        mixed: Samples = np.zeros((count, 2), np.float32)
        for one in {**self._gains, **inputs}:
            before, now = self._gains.get(one, 0.0), inputs.get(one, 0.0)
            if before or now:
                gain = np.float32(now) if before == now else np.linspace(before, now, count, dtype=np.float32)[:, None]
                mixed += one.take(start, count) * gain
        self._gains = dict(inputs)
        limited = self._limiter.limit(mixed)
        if self._channels == 1:
            limited = limited.mean(axis=1, keepdims=True)
        return np.rint(limited * _FULL_SCALE).clip(-_FULL_SCALE, _FULL_SCALE - 1).astype("<i2").tobytes()


def gain_of(gain_db: float, muted: bool) -> float:
    """As a factor."""
    return 0.0 if muted else float(10 ** (gain_db / 20))


def _bent(samples: Samples) -> Samples:
    """Above the ceiling ever less, and never beyond full scale."""
    over = np.abs(samples) - _CEILING
    room = 1 - _CEILING
    bent = np.sign(samples) * (_CEILING + room * np.tanh(over / room))
    return np.where(over > 0, bent, samples).astype(np.float32)
