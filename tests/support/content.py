"""Where the content of a recording lies in the clip it was made from: pictures by likeness, sound by correlation."""

from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt

_WIDTH, _HEIGHT = 64, 36
_RATE_HZ = 8_000  # 0.125 ms per sample: far finer than the offsets that matter
_DECIMATION = 48_000 // _RATE_HZ
_MIN_LIKENESS = 0.6  # correlation of a window that lies wholly inside one pass of the clip
_SAME_PASS_SECONDS = 0.1  # between two passes lies a whole clip
_MAX_DIFFERENCE = 12.0  # mean luma difference after one more encoding; other pictures of the clip differ by more

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Content:
    """`pictures` (n, 36, 64) luma at `times` seconds; `sound` mono at 8 kHz whose first sample is at `sound_start`."""

    pictures: Floats
    times: list[float]
    sound: Floats
    sound_start: float


def decode(path: Path) -> Content:
    """Decode a file whole. Sound is laid out by its time stamps, so a wrong one shows as a shift."""
    pictures, times = [], []
    blocks: list[tuple[float, npt.NDArray[np.float32]]] = []
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            small = frame.reformat(_WIDTH, _HEIGHT, "gray", interpolation="AREA").to_ndarray()
            pictures.append(small.astype(np.float32))
            times.append(float(frame.time or 0.0))
    with av.open(str(path)) as container:
        resampler = av.AudioResampler("fltp", "stereo", 48_000)
        for heard in container.decode(audio=0):
            resampled = resampler.resample(heard)
            blocks.extend((float(block.time or 0.0), block.to_ndarray().mean(axis=0)) for block in resampled)
    start = blocks[0][0]
    line = np.zeros(round((blocks[-1][0] - start + 1) * 48_000), np.float32)
    for at, samples in blocks:
        first = max(0, round((at - start) * 48_000))
        line[first : first + len(samples)] = samples
    sound = line[: len(line) // _DECIMATION * _DECIMATION].reshape(-1, _DECIMATION).mean(axis=1)
    return Content(np.array(pictures), times, sound, start)


def sync_errors(
    recording: Content, clip: Content, window_seconds: float = 0.5, step_seconds: float | None = None
) -> list[float]:
    """Seconds by which sound is late against the picture, at every window that both can be found for; `step_seconds`
    from one to the next, None: they do not overlap."""
    errors = []
    step = step_seconds or window_seconds
    for start in np.arange(recording.times[0] + 0.1, recording.times[-1] - window_seconds, step):
        first, last = (_find_picture(recording, clip, float(at)) for at in (start, start + window_seconds))
        if first is None or last is None or abs(last - first) > _SAME_PASS_SECONDS:
            continue
        sound = _find_sound(recording, clip, float(start), round(window_seconds * _RATE_HZ))
        if sound is not None:
            errors.append(sound - (first + last) / 2)
    return errors


def seams(recording: Content, clip: Content) -> list[float]:
    """Seconds from the last picture of each pass of the clip to the first picture of the next."""
    found = []
    before = None
    for index, at in enumerate(recording.times):
        offset = _find_picture(recording, clip, at)
        if offset is None:
            continue
        if before is not None and offset - before > clip.times[-1] / 2:
            found.append(at - recording.times[index - 1])
        before = offset
    return found


def _find_picture(recording: Content, clip: Content, at: float) -> float | None:
    """Time in the recording minus time in the clip of the picture shown at `at`."""
    index = int(np.searchsorted(recording.times, at))
    differences = np.abs(clip.pictures - recording.pictures[index]).mean(axis=(1, 2))
    best = int(differences.argmin())
    # A still scene has several equal pictures and gives no time.
    if differences[best] > _MAX_DIFFERENCE or np.sum(differences < differences[best] * 1.05 + 0.05) > 1:
        return None
    return recording.times[index] - clip.times[best]


def _find_sound(recording: Content, clip: Content, at: float, length: int) -> float | None:
    first = round((at - recording.sound_start) * _RATE_HZ)
    window = recording.sound[first : first + length]
    if first < 0 or len(window) < length or not window.any():
        return None
    size = 1 << (len(clip.sound) + length).bit_length()
    spectrum = np.fft.rfft(clip.sound, size) * np.conj(np.fft.rfft(window, size))
    products = np.fft.irfft(spectrum, size)[: len(clip.sound) - length]
    energy = np.convolve(clip.sound**2, np.ones(length), "valid")[: len(products)]
    likeness = products / np.sqrt(np.maximum(energy, 1e-9) * float(np.sum(window**2)))
    best = int(likeness.argmax())
    if likeness[best] < _MIN_LIKENESS:
        return None
    return at - (clip.sound_start + best / _RATE_HZ)
