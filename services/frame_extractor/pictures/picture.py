"""Pictures of decoded frames, as files and as arrays.

CPU milliseconds a picture on the reference machine, real content, best of 3 runs (`python -m tests.bench.pictures`):

                                          1080p     4K
jpg of 8-bit 4:2:0 in BT.709, quality 85    5.6     19    of which libjpeg-turbo takes 4.4 and 15
the same by libswscale and libav's mjpeg     16     57
the same by Pillow, from RGB                 24     94
jpg of 720p                                 4.1    4.4
jpg of 10 bits                              5.8     19
jpg of HDR (PQ, 10 bits)                     24     93
array                                       2.1    7.9
png                                          64    204    by Pillow, at the same level of zlib, 147 and 480
webp                                         67    219    by Pillow, with the same effort, 85 and 330
"""

from collections.abc import Callable
from fractions import Fraction
from typing import Any, Literal, NamedTuple

import av
import numpy as np
import numpy.typing as npt
from av.video.frame import VideoFrame

from schemas.sampling import PictureOptions
from services.frame_extractor.pictures.orientation import orientation_of
from services.frame_extractor.pictures.size import picture_size
from shared.media.colour.graphs import Step, run, run_once
from shared.media.colour.steps import Samples, is_grey_picture, sample_steps
from shared.media.frames import frame_planes
from shared.media.picture_file import FILE_SAMPLES, write_picture

_ABORTING = frozenset(("yaf32be", "yaf32le"))  # grey of 32 bits with alpha: libswscale ends the process
# There is no other frame to look at. Its first field stays, the other is made of the lines around: within 1 to 3 dB of
# tracing edges (`estdif`), at 1 ms of 1080i instead of 75; blended fields would show two moments.
_PROGRESSIVE = Step("w3fdif", "filter=simple:mode=frame:parity=auto:deint=interlaced")

Pixels = npt.NDArray[np.uint8]


def _new(shape: tuple[int, int, int]) -> Pixels:
    return np.empty(shape, np.uint8)


class Picture(NamedTuple):
    """An encoded picture."""

    data: bytes
    width: int
    height: int


def make_picture(
    frame: VideoFrame,
    options: PictureOptions,
    rotation_degrees: int = 0,
    *,
    sample_aspect: Fraction | None = None,
) -> Picture:
    """The file. Blocks; reads nothing of the frame once it has returned.

    A jpg has 4:2:0 in full-range BT.601, a webp limited BT.601, a png RGB; all sRGB, and grey of grey video.

    Args:
        frame: of any format that libav decodes to memory; it stays as it is.
        rotation_degrees: counterclockwise, as `VideoFrame.rotation` counts: for frames without a display matrix.
        sample_aspect: of a stored pixel, width by height; None: square. Frames do not tell; streams do.

    Raises:
        InvalidValue: the picture would be larger than pictures may be.
        av.FFmpegError, ValueError: libav makes no such picture of this frame.
    """
    samples: Samples = "grey" if is_grey_picture(frame) and options.format != "webp" else FILE_SAMPLES[options.format]
    shown = _shown(frame, options, samples, rotation_degrees, sample_aspect)
    return Picture(write_picture(shown, options.format, options.quality), shown.width, shown.height)


def picture_array(
    frame: VideoFrame,
    options: PictureOptions,
    rotation_degrees: int = 0,
    *,
    sample_aspect: Fraction | None = None,
    order: Literal["rgb24", "bgr24"] = "rgb24",
    new: Callable[[tuple[int, int, int]], Pixels] = _new,
) -> Pixels:
    """A copy: uint8, shape (height, width, 3), contiguous, writable. Arguments and errors as of `make_picture`.

    `new` gives the memory for a shape.
    """
    shown = _shown(frame, options, order, rotation_degrees, sample_aspect)
    array = new((shown.height, shown.width, 3))
    view: Any = frame_planes(shown, order)[0]
    np.copyto(array, view)  # out of memory that the next picture is made in
    return array


def _shown(
    frame: VideoFrame,
    options: PictureOptions,
    samples: Samples,
    rotation_degrees: int,
    sample_aspect: Fraction | None,
) -> VideoFrame:
    if frame.format.name in _ABORTING:
        raise _no_picture(frame.format.name)
    orientation = orientation_of(frame, rotation_degrees)
    turned = orientation.swaps_edges
    width, height = picture_size(frame.width, frame.height, options, sample_aspect=sample_aspect, turned=turned)
    if frame.interlaced_frame:
        frame = run_once(frame, (_PROGRESSIVE,))
    size = (height, width) if turned else (width, height)
    try:
        return run(frame, (*sample_steps(frame, size, samples), *orientation.steps))
    except av.error.NotImplementedError:
        raise _no_picture(frame.format.name) from None


def _no_picture(pixel_format: str) -> ValueError:
    return ValueError(
        f"pixel format {pixel_format}: no picture can be made of it; have the video in YUV, RGB or grey of 8 to 16 bits"
    )
