"""One picture in an application's hands."""

from collections.abc import Callable
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from schemas.frames import FrameRef
from shared import pixel_formats
from shared.pixel_formats import Picture
from shared.ring import Lease

Bgr = NDArray[np.uint8]


class Frame:
    """A picture in shared memory, held until the next one is asked for; with `keep`, until `release`.

    Memory is never pulled away under an array: a view that outlives its frame goes on holding the slot.
    """

    __slots__ = ("_done", "_lease", "kept", "ref")

    def __init__(self, ref: FrameRef, lease: Lease, done: Callable[[], None]) -> None:
        """`done` is called once when the application says that it has consumed the picture."""
        self.ref = ref
        self.kept = False
        self._lease = lease
        self._done: Callable[[], None] | None = done

    @property
    def array(self) -> Picture:
        """Read-only, in the ring, not copied: uint8, or uint16 where `ref.pixel_format` has more than 8 bits a sample.

        Shape (height, width, 3) for bgr24 and rgb24, (height * 3 / 2, width) for yuv420p and nv12: the planes one
        below the other; (height, width) for every gray and bayer format. gray10le has its values in 0 to 1023,
        gray12le in 0 to 4095, all other 16-bit formats in 0 to 65535.

        Raises:
            RuntimeError: the frame was released.
        """
        return self._lease.array

    @property
    def luma(self) -> Picture:
        """How bright each pixel is: shape (height, width), read-only, in the ring, not copied; values as of `array`.

        Of yuv420p and nv12 their Y plane, of bgr24 and rgb24 the green, of gray and bayer pictures all of it.

        Raises:
            RuntimeError: the frame was released.
        """
        array = self._lease.array
        if self.ref.pixel_format in pixel_formats.PACKED:
            return array[:, :, 1]
        return array[: self.ref.height]

    def bgr(self) -> Bgr:
        """A copy as OpenCV has it: uint8, shape (height, width, 3), blue first, writable.

        Bayer pictures are demosaiced; of gray ones with more than 8 bits the upper 8 are left, so white stays white.

        Raises:
            RuntimeError: the frame was released.
            ImportError: a yuv420p, nv12 or bayer picture needs PyAV (`pip install av`) to be converted.
        """
        return bgr_picture(self._lease.array, self.ref)

    def keep(self) -> Self:
        """Hold the picture beyond the next iteration, until `release`. A stream's reader may hold only a few."""
        self.kept = True
        return self

    def release(self) -> None:
        """The picture is consumed; let go of it. May be called again."""
        self._lease.release()
        self.consumed()

    def consumed(self) -> None:
        """Give a lossless stream's writer its credit, once; the picture stays held."""
        done, self._done = self._done, None
        if done is not None:
            done()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self._done = None  # not consumed: a lossless stream's writer sends it again, to whoever takes over
        self.release()


def bgr_picture(array: Picture, ref: FrameRef) -> Bgr:
    """As `Frame.bgr`, of a picture that outlives its frame."""
    pixel_format = ref.pixel_format
    if pixel_format in pixel_formats.PACKED:
        blue_first = array if pixel_format == "bgr24" else array[:, :, ::-1]
        return blue_first.astype(np.uint8)
    if pixel_format.startswith("gray"):
        surplus_bits = pixel_formats.sample_bits(pixel_format) - 8
        gray = (array >> surplus_bits).astype(np.uint8) if surplus_bits else array.astype(np.uint8, copy=False)
        return np.repeat(gray[:, :, np.newaxis], 3, axis=2)
    from shared.media.frames import bgr_of  # PyAV is optional for applications that take pictures as is

    return bgr_of(array, ref)
