"""Raw sound of a stream on the bus."""

import numpy as np
import numpy.typing as npt

from schemas.frames import AudioHeader
from schemas.packets import pack
from schemas.subjects import audio
from shared.bus import Bus

Samples = npt.NDArray[np.int16]
RAW_SAMPLE_RATE = 48_000  # one form of sound for the whole mesh: what Opus wants, and what mixers can add up


class SoundBlocks:
    """Posted one by one and numbered, for one epoch."""

    def __init__(self, bus: Bus, node: str, stream: str, epoch: int) -> None:
        self._bus, self._node, self._stream, self._epoch = bus, node, stream, epoch
        self._subject = audio(node, stream)
        self.posted = 0

    def post(self, samples: Samples, pts_ns: int, captured_ns: int) -> None:
        """A block of interleaved s16 samples, shape (samples, channels); from any one thread."""
        self.posted += 1
        header = AudioHeader(
            stream=self._stream,
            node=self._node,
            epoch=self._epoch,
            sequence=self.posted,
            sample_rate=RAW_SAMPLE_RATE,
            channels=samples.shape[1],
            sample_format="s16",
            samples=samples.shape[0],
            pts_ns=pts_ns,
            captured_ns=captured_ns,
        )
        # One small copy (4 kB): the message must outlive the decoder's buffer.
        self._bus.post_from_thread(self._subject, pack(header, samples.tobytes()))
