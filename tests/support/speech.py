"""A sentence spoken by a machine, with silence around it, as files and as samples."""

import subprocess
from pathlib import Path

import numpy as np
import numpy.typing as npt

SENTENCE = "Please open the gate for the truck."
SENTENCE_SECONDS = 1.9  # of this one, by ffmpeg's own voice
_SPOKEN = f"flite=text='{SENTENCE}',aformat=sample_rates=48000:channel_layouts=stereo"


def spoken_samples() -> npt.NDArray[np.int16]:
    """The sentence between 0.5 s and 1.5 s of silence: 48 kHz, s16, shape (samples, 2)."""
    command = ["ffmpeg", "-v", "error", "-f", "lavfi", "-i", f"{_SPOKEN},adelay=500:all=1,apad=pad_dur=1.5",
               "-f", "s16le", "-"]  # fmt: skip
    spoken = subprocess.run(command, check=True, capture_output=True, timeout=30).stdout
    return np.frombuffer(spoken, np.int16).reshape(-1, 2)


def spoken_clip(path: Path) -> None:
    """The same with a moving picture, as H.264 and AAC."""
    command = ["ffmpeg", "-v", "error", "-y", "-f", "lavfi", "-i", "testsrc2=size=320x240:rate=25", "-f", "lavfi", "-i",
               f"{_SPOKEN},adelay=500:all=1,apad=pad_dur=1.5", "-shortest", "-c:v", "libx264", "-preset", "ultrafast",
               "-pix_fmt", "yuv420p", "-g", "25", "-c:a", "aac", str(path)]  # fmt: skip
    subprocess.run(command, check=True, capture_output=True, timeout=30)
