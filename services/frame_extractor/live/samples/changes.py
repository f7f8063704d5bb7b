"""Motion and changes of scene, from the brightness of a small grid of a picture, looked at in place."""

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from schemas.frames import PixelFormat
from schemas.sample_resources import SampleReason
from shared import pixel_formats
from shared.pixel_formats import Picture

# Cells of a 16:9 picture are square; a person at the far end of a yard fills some of them.
COLUMNS: Final = 32
ROWS: Final = 18
# Of each cell so many pixels by so many are looked at: 9,216 of a picture, some 0.1 ms.
_TAPS: Final = 4
_GREEN: Final = 1  # of bgr24 and rgb24: seven tenths of the brightness
_OVER_SHARE: Final = 0.5  # of the share that is motion: what flickers around it is one motion

Grid = npt.NDArray[np.float32]
"""Shape (ROWS, COLUMNS): brightness, 0 to 255."""


def brightness(array: Picture, pixel_format: PixelFormat, width: int, height: int) -> Grid:
    """The mean brightness of each cell, of some of its pixels; reads the picture in place."""
    luma: Any = pixel_formats.planes(array, pixel_format, width, height)[0]
    if luma.ndim == 3:
        luma = luma[:, :, _GREEN]
    rows = np.arange(ROWS * _TAPS) * height // (ROWS * _TAPS)
    columns = np.arange(COLUMNS * _TAPS) * width // (COLUMNS * _TAPS)
    taps = luma[rows[:, np.newaxis], columns].astype(np.float32)
    if (bits := pixel_formats.sample_bits(pixel_format)) > 8:
        taps /= float(1 << (bits - 8))
    grid: Grid = taps.reshape(ROWS, _TAPS, COLUMNS, _TAPS).mean(axis=(1, 3))
    return grid


class Changes:
    """Says when something begins; what goes on is said once."""

    def __init__(self, motion: float | None, scene: float | None, levels: float, quiet_ns: int) -> None:
        self._motion, self._scene, self._levels, self._quiet_ns = motion, scene, levels, quiet_ns
        self._before: Grid | None = None
        self._moved_ns: int | None = None
        """When there was motion last; None: it is quiet."""
        self.share = 0.0
        """Of the cells that have changed since the picture before."""
        self.difference = 0.0
        """Mean, of all cells, in levels."""

    def look(self, grid: Grid, at_ns: int) -> SampleReason | None:
        """What begins with this picture; None: nothing."""
        before, self._before = self._before, grid
        if before is None:
            return None
        differences = np.abs(grid - before)
        self.difference = float(differences.mean())
        self.share = float((differences >= self._levels).mean())
        moves = self._moves(at_ns)
        if self._scene is not None and self.difference >= self._scene:
            return "scene"
        return "motion" if moves else None

    def _moves(self, at_ns: int) -> bool:
        if self._motion is None:
            return False
        if self._moved_ns is not None and at_ns - self._moved_ns >= self._quiet_ns:
            self._moved_ns = None
        if self._moved_ns is None:
            if self.share < self._motion:
                return False
            self._moved_ns = at_ns
            return True
        if self.share >= self._motion * _OVER_SHARE:
            self._moved_ns = at_ns
        return False
