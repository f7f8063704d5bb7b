"""What a callback is given: a picture in place, and where it lies."""

from dataclasses import dataclass
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from schemas.frames import FrameRef
from shared import pixel_formats
from shared.clients.frame import Frame, bgr_picture

_COLOURS: Final = 3


class Image:
    """One picture, in the ring where the camera's service has written it. Nothing is copied.

    Valid during the callback, and for as long as the program keeps it or a view of its `data`: the slot is not written
    again until then. Keep few of them (4 per camera), or copies: `bytes(image.data)`.
    """

    __slots__ = ("_array", "_ref", "data")

    def __init__(self, frame: Frame) -> None:
        self._ref: FrameRef = frame.ref
        self._array: pixel_formats.Picture = frame.array
        self.data = self._array.data.cast("B")
        """The whole picture, read-only: of yuv420p its planes Y, U, V one after the other, as they lie in the ring."""

    @property
    def w(self) -> int:
        """Width in pixels."""
        return self._ref.width

    @property
    def h(self) -> int:
        """Height in pixels."""
        return self._ref.height

    @property
    def c(self) -> int:
        """Channels: 3, of gray pictures and mosaics 1."""
        one = self._ref.pixel_format not in pixel_formats.SUBSAMPLED | pixel_formats.PACKED
        return 1 if one else _COLOURS

    @property
    def length(self) -> int:
        """Bytes of `data`."""
        return self.data.nbytes

    @property
    def srcWidth(self) -> int:
        """Bytes from one line to the next."""
        return int(self._array.strides[0])

    @property
    def srcHeight(self) -> int:
        """Lines of the first plane."""
        return self._ref.height

    @property
    def memCopyStartIndex(self) -> int:
        """The ring's slot that holds the picture."""
        return self._ref.slot

    @property
    def memCopyEndIndex(self) -> int:
        """As `memCopyStartIndex`."""
        return self._ref.slot

    @property
    def planeOffset(self) -> int:
        """Where in `data` the colour of a YUV picture begins; 0 of other pictures."""
        return self.srcWidth * self.srcHeight if self._ref.pixel_format in pixel_formats.SUBSAMPLED else 0

    def bgr(self) -> NDArray[np.uint8]:
        """A copy as OpenCV has it: uint8, shape (h, w, 3), blue first."""
        return bgr_picture(self._array, self._ref)


@dataclass(frozen=True)
class SVSdkMemfdInfo:
    """Where an image lies in its buffer."""

    srcYPlaneStride: int = 0
    """Bytes from one line to the next."""
    srcSliceHeight: int = 0
    """Lines of the first plane."""
    memCopyStartIndex: int = 0
    """The ring's slot that holds the picture; the end index is the same."""
    memCopyEndIndex: int = 0
    planeOffset: int = 0
    """Where the colour of a YUV picture begins."""
    cam_id: int = 0
    """Index of the camera."""

    @classmethod
    def of(cls, image: Image, index: int) -> "SVSdkMemfdInfo":
        return cls(
            srcYPlaneStride=image.srcWidth,
            srcSliceHeight=image.srcHeight,
            memCopyStartIndex=image.memCopyStartIndex,
            memCopyEndIndex=image.memCopyEndIndex,
            planeOffset=image.planeOffset,
            cam_id=index,
        )


class GetImageCB(Protocol):
    """What a program gives to `Camera.open`; called in a thread of the camera's own, with the newest picture."""

    def __call__(self, image: Image, mem_info: SVSdkMemfdInfo, /) -> Any: ...
