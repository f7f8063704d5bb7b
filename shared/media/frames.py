"""Pictures as arrays and as libav frames, without a copy where libav allows it."""

from typing import Any

import numpy as np
import numpy.typing as npt
from av.video.frame import VideoFrame

from schemas.frames import FrameRef

Picture = npt.NDArray[np.uint8]


def picture_frame(array: Picture, ref: FrameRef, *, copy: bool) -> VideoFrame:
    """A yuv420p libav frame of a picture in the ring.

    Args:
        array: the leased picture, in the form `ref.pixel_format` has: (height*3/2, width) for yuv420p and nv12,
            (height, width, 3) for bgr24 and rgb24, (height, width) for gray.
        copy: True when libav may read the picture after it was handed over; otherwise it is used in place, and
            the array stays alive for as long as libav holds the frame.
    """
    # PyAV's from_numpy_buffer takes planar pictures only in heights that are multiples of four.
    odd_height = ref.height % 4 != 0
    if ref.pixel_format == "yuv420p" and (copy or odd_height):
        return _copied(array, ref.width, ref.height)
    if ref.pixel_format == "nv12" and odd_height:
        return _copied_nv12(array, ref.width, ref.height)
    frame = VideoFrame.from_numpy_buffer(array, format=ref.pixel_format)
    return frame if ref.pixel_format == "yuv420p" else frame.reformat(format="yuv420p")


def _copied(array: Picture, width: int, height: int) -> VideoFrame:
    frame = VideoFrame(width, height, "yuv420p")
    flat = array.reshape(-1)
    luma, chroma = width * height, (width // 2) * (height // 2)
    starts = (0, luma, luma + chroma)
    for plane, start, (rows, columns) in zip(
        frame.planes, starts, ((height, width), (height // 2, width // 2), (height // 2, width // 2)), strict=True
    ):
        _rows(plane, rows, columns)[:] = flat[start : start + rows * columns].reshape(rows, columns)
    return frame


def _copied_nv12(array: Picture, width: int, height: int) -> VideoFrame:
    frame = VideoFrame(width, height, "yuv420p")
    _rows(frame.planes[0], height, width)[:] = array[:height]
    pairs = array[height:].reshape(height // 2, width // 2, 2)
    _rows(frame.planes[1], height // 2, width // 2)[:] = pairs[..., 0]
    _rows(frame.planes[2], height // 2, width // 2)[:] = pairs[..., 1]
    return frame


def _rows(plane: Any, rows: int, columns: int) -> Picture:
    """The visible part of a plane as a writable array, shape (rows, columns)."""
    return np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)[:rows, :columns]


def copy_planes(frame: VideoFrame, array: Picture) -> None:
    """Copy a yuv420p libav frame into a tightly packed array, shape (height*3/2, width)."""
    width, height = frame.width, frame.height
    flat = array.reshape(-1)
    start = 0
    for plane, (rows, columns) in zip(
        frame.planes, ((height, width), (height // 2, width // 2), (height // 2, width // 2)), strict=True
    ):
        np.copyto(flat[start : start + rows * columns].reshape(rows, columns), _rows(plane, rows, columns))
        start += rows * columns
