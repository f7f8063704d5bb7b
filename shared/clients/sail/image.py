"""Pictures as programs hold them."""

import numpy as np
from av.video.frame import VideoFrame
from numpy.typing import NDArray

from schemas.errors import InvalidValue
from shared.clients.frame import Frame
from shared.clients.sail.enums import FORMAT_OF, LIBAV_NAMES, Format, ImgDtype
from shared.clients.sail.handle import Handle, device_of
from shared.media.frames import convert, ref_frame

Bgr = NDArray[np.uint8]
_COLOURS = 3


class bm_image:  # SAIL's own name
    """A picture's samples, and what they are; `BMImage.data()` gives it. Refers to them, without a copy."""

    def __init__(self, frame: VideoFrame, dev_id: int = 0) -> None:
        self.frame = frame
        """As libav has it. Never write to it: a decoder may still need it."""
        self.dev_id = dev_id

    def width(self) -> int:
        """In pixels."""
        return self.frame.width

    def height(self) -> int:
        """In pixels."""
        return self.frame.height

    def format(self) -> Format:
        """How the samples lie.

        Raises:
            InvalidValue: a decoder's own format that SAIL has no name for.
        """
        name = self.frame.format.name
        if name not in FORMAT_OF:
            raise InvalidValue("format", name, "take the picture with asmat()")
        return FORMAT_OF[name]

    def dtype(self) -> ImgDtype:
        """What one sample is: a byte."""
        return ImgDtype.DATA_TYPE_EXT_1N_BYTE


class BMImage:
    """One picture."""

    def __init__(
        self,
        handle: "Handle | int" = 0,
        h: int = 0,
        w: int = 0,
        format: Format = Format.FORMAT_BGR_PACKED,
        dtype: ImgDtype = ImgDtype.DATA_TYPE_EXT_1N_BYTE,
    ) -> None:
        """A black picture; one without a size is empty until something is read into it.

        Raises:
            InvalidValue: a size, format or sample type that cannot be.
        """
        self._dev_id = device_of(handle)
        self._image: bm_image | None = None
        if not h and not w:
            return
        if h < 1 or w < 1:
            raise InvalidValue("size", f"{w}x{h}", "give width and height, 1 or more each")
        if format not in LIBAV_NAMES:
            raise InvalidValue("format", format, f"use one of {', '.join(one.name for one in LIBAV_NAMES)}")
        if dtype is not ImgDtype.DATA_TYPE_EXT_1N_BYTE:
            raise InvalidValue("dtype", dtype, "use DATA_TYPE_EXT_1N_BYTE")
        black = VideoFrame.from_numpy_buffer(np.zeros((h, w, _COLOURS), np.uint8), format="bgr24")
        name = LIBAV_NAMES[format][0]
        self._image = bm_image(black if name == "bgr24" else black.reformat(format=name), self._dev_id)

    @classmethod
    def of(cls, frame: VideoFrame, dev_id: int = 0) -> "BMImage":
        """Around a libav frame."""
        image = cls(dev_id)
        image._image = bm_image(frame, dev_id)
        return image

    @classmethod
    def from_array(cls, array: Bgr, handle: "Handle | int" = 0) -> "BMImage":
        """Around a picture as OpenCV has it: uint8, shape (height, width, 3), blue first. Used in place.

        Raises:
            InvalidValue: another shape or type.
        """
        return cls.of(bgr_frame(array), device_of(handle))

    def data(self) -> bm_image:
        """Its samples.

        Raises:
            InvalidValue: it is empty.
        """
        if self._image is None:
            raise InvalidValue("image", "empty", "read a picture into it first")
        return self._image

    def width(self) -> int:
        """In pixels; 0 of an empty one."""
        return self._image.width() if self._image else 0

    def height(self) -> int:
        """In pixels; 0 of an empty one."""
        return self._image.height() if self._image else 0

    def format(self) -> Format:
        """How the samples lie. Raises: InvalidValue: it is empty, or has a format without a name here."""
        return self.data().format()

    def dtype(self) -> ImgDtype:
        """What one sample is: a byte."""
        return ImgDtype.DATA_TYPE_EXT_1N_BYTE

    def asmat(self) -> Bgr:
        """A copy as OpenCV has it: uint8, shape (height, width, 3), blue first, writable.

        Raises:
            InvalidValue: it is empty.
        """
        return bgr_array(self.data().frame)

    def get_device_id(self) -> int:
        """The number of its device."""
        return self._dev_id


Picture = BMImage | bm_image | Frame | Bgr
"""What an encoder takes: SAIL's two kinds, a frame of the mesh, or an array as OpenCV has it."""


def frame_of(image: Picture) -> VideoFrame:
    """The picture as a libav frame, in the same memory.

    Raises:
        InvalidValue: no picture, an empty one, or an array of another form.
    """
    if isinstance(image, BMImage):
        return image.data().frame
    if isinstance(image, bm_image):
        return image.frame
    if isinstance(image, Frame):
        return ref_frame(image.array, image.ref)
    return bgr_frame(image)


def bgr_frame(array: Bgr) -> VideoFrame:
    """A libav frame on the memory of a BGR array.

    Raises:
        InvalidValue: another shape or type.
    """
    if not isinstance(array, np.ndarray):
        raise InvalidValue("image", type(array).__name__, "give a BMImage, a bm_image, a mesh frame or a BGR array")
    if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] != _COLOURS or not array.size:
        shown = f"{array.dtype} {array.shape}"
        raise InvalidValue("image", shown, "give uint8 of shape (height, width, 3), blue first")
    # libav wants lines without gaps: a view with others is copied.
    return VideoFrame.from_numpy_buffer(np.ascontiguousarray(array), format="bgr24")


def bgr_array(frame: VideoFrame) -> Bgr:
    """A copy as a BGR array."""
    # `convert` gives the frame itself where it is BGR already: a program may write to what it gets.
    return np.array(convert(frame, "bgr24").to_ndarray(), np.uint8)
