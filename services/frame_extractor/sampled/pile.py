"""The arrays of one video's pictures in one block of memory, which Arrow and Daft take as it is."""

import threading

import numpy as np

from services.frame_extractor.engine import VideoError
from services.frame_extractor.sampled.row import Pixels, Shape


class Pile:
    """Pictures come in any order, from any thread; each has a place by its number."""

    def __init__(self, most_bytes: int) -> None:
        self.expected = 0
        """Pictures there will be; to be set before the first."""
        self._most_bytes = most_bytes
        self._block: Pixels = np.empty(0, np.uint8)
        self._shape: Shape | None = None  # of the first that came; the others are mostly alike
        self._places: dict[int, Pixels] = {}
        self._lock = threading.Lock()

    def place(self, number: int, shape: Shape) -> Pixels:
        """Memory for picture `number`, to be written to.

        Raises:
            VideoError: parameter; all of them would take more than is allowed.
        """
        with self._lock:
            if self._shape is None:
                size = shape[0] * shape[1] * shape[2]
                if size * self.expected > self._most_bytes:
                    raise VideoError(
                        "parameter",
                        f"{self.expected} frames of {shape[1]}x{shape[0]} take {size * self.expected} bytes, more than"
                        f" {self._most_bytes}; take fewer (max_frames), or none (output_frames=False), or raise"
                        " FRAMEMESH_FRAME_EXTRACTOR_JOB_MEMORY_BYTES",
                    )
                self._shape = shape
                self._block = np.empty(size * self.expected, np.uint8)  # of which only what is written to is taken up
            size = shape[0] * shape[1] * shape[2]
            # Of another shape where a broadcast changes its size in the middle.
            if shape == self._shape and number < self.expected:
                place = self._block[number * size : (number + 1) * size].reshape(shape)
            else:
                place = np.empty(shape, np.uint8)
            self._places[number] = place
            return place

    def pixels(self, numbers: "list[int]") -> tuple[Pixels, list[Shape]]:
        """Of these pictures, one after the other; a copy only where some are missing, or differ in shape."""
        arrays = [self._places[number] for number in numbers]
        shapes = [(array.shape[0], array.shape[1], array.shape[2]) for array in arrays]
        if sum(array.size for array in arrays if np.may_share_memory(array, self._block)) == self._block.size:
            return self._block, shapes
        return np.concatenate([array.reshape(-1) for array in arrays] or [self._block[:0]]), shapes
