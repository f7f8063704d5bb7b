"""The stream that a mix is: pictures in a ring, their references and its sound on the bus."""

import time
from pathlib import Path
from typing import Final

import msgspec

from schemas.colours import ColourSpace
from schemas.frames import AudioHeader
from schemas.packets import pack
from schemas.subjects import audio, frames
from services.cloud_mix_proxy.mixer.sound_input import SAMPLE_RATE
from shared.bus import Bus
from shared.media.colour.facts import assumed_matrix
from shared.ring import RingGeometry, StreamWriter, WritableSlot

_encode_ref: Final = msgspec.json.Encoder().encode
_SAMPLE_BYTES: Final = 2


class MixOutput:
    """Writes one epoch of the stream. Belongs to the mixing thread."""

    def __init__(self, bus: Bus, *, node: str, mix: str, epoch: int, shm_dir: Path, slots: int) -> None:
        self._bus, self._node, self._mix, self.epoch = bus, node, mix, epoch
        self._frames, self._audio = frames(node, mix), audio(node, mix)
        self._writer = StreamWriter(shm_dir, stream=mix, node=node, epoch=epoch, slots=slots)
        self.slots = slots
        self.pictures = 0
        self._sound_blocks = 0

    def acquire(self, geometry: RingGeometry) -> WritableSlot | None:
        """A slot to draw into; None: readers hold every one.

        Raises:
            Superseded: another writer has the stream.
            OutOfSpace: shared memory is too small.
        """
        return self._writer.acquire(geometry)

    def place(self, slot: WritableSlot) -> tuple[str, int]:
        """Which memory the slot is: as long as it lives it shows what was drawn into it last."""
        return self._writer.name, slot.index

    def write(self, slot: WritableSlot, *, pts_ns: int, captured_ns: int, duration_ns: int, height: int) -> None:
        """Publish the picture in the slot.

        Raises:
            Superseded: another writer has the stream.
        """
        ref = slot.commit(
            pts_ns=pts_ns,
            captured_ns=captured_ns,
            monotonic_ns=time.monotonic_ns() - (time.time_ns() - captured_ns),
            duration_ns=duration_ns,
            colour_space=_COLOURS[assumed_matrix(height)],
        )
        self.pictures += 1
        self._bus.post_from_thread(self._frames, _encode_ref(ref))

    def sound(self, samples: bytes, *, channels: int, pts_ns: int, captured_ns: int) -> None:
        """Publish a block of interleaved s16."""
        self._sound_blocks += 1
        header = AudioHeader(
            stream=self._mix,
            node=self._node,
            epoch=self.epoch,
            sequence=self._sound_blocks,
            sample_rate=SAMPLE_RATE,
            channels=channels,
            sample_format="s16",
            samples=len(samples) // channels // _SAMPLE_BYTES,
            pts_ns=pts_ns,
            captured_ns=captured_ns,
        )
        self._bus.post_from_thread(self._audio, pack(header, samples))

    def close(self) -> None:
        """Take the rings away; readers keep what they hold."""
        self._writer.close()


# What the canvas has, whatever its inputs say: their light and primaries are taken for BT.709's, as players take them.
_COLOURS: Final = {
    matrix: ColourSpace(matrix=matrix, range="limited") for matrix in (assumed_matrix(480), assumed_matrix(1080))
}
