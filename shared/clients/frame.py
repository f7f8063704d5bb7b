"""One picture in an application's hands."""

from collections.abc import Callable
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from schemas.frames import FrameRef
from shared.ring import Lease

Picture = NDArray[np.uint8]


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
        """uint8, read-only, in the ring, not copied.

        Shape (height, width, 3) for bgr24 and rgb24, (height, width) for gray, (height * 3 / 2, width) for yuv420p
        and nv12: the planes one below the other.

        Raises:
            RuntimeError: the frame was released.
        """
        return self._lease.array

    def bgr(self) -> Picture:
        """A copy as OpenCV has it: uint8, shape (height, width, 3), blue first, writable.

        Raises:
            RuntimeError: the frame was released.
            ImportError: a yuv420p or nv12 picture needs PyAV (`pip install av`) to be converted.
        """
        array = self._lease.array
        if self.ref.pixel_format == "bgr24":
            return array.copy()
        if self.ref.pixel_format == "rgb24":
            return np.ascontiguousarray(array[:, :, ::-1])
        if self.ref.pixel_format == "gray":
            return np.repeat(array[:, :, np.newaxis], 3, axis=2)
        from shared.media.frames import picture_frame  # PyAV is optional for applications that take pictures as is

        return picture_frame(array, self.ref, copy=False).to_ndarray(format="bgr24").astype(np.uint8, copy=False)

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
