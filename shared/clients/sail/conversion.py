"""Pictures of any form as the ones that an encoder's ring has."""

import numpy as np
from av.video.frame import VideoFrame

from schemas.errors import InvalidValue
from shared import pixel_formats
from shared.clients.sail.request import EncoderRequest
from shared.media.frames import convert, frame_planes
from shared.pixel_formats import Picture


def for_ring(frame: VideoFrame, request: EncoderRequest) -> Picture:
    """The picture in the encoder's size and format, as the array of `shared.pixel_formats`.

    Raises:
        InvalidValue: NV12, and another size.
    """
    if request.pixel_format == "nv12" and (frame.width, frame.height) != (request.width, request.height):
        wanted = f"{request.width}x{request.height}"
        raise InvalidValue(
            "image", f"{frame.width}x{frame.height}", f"NV12 pictures are {wanted}; I420 ones are scaled"
        )
    converted = convert(frame, request.pixel_format, request.width, request.height)
    # A copy: libav pads its lines, and the program may write to its picture as soon as it has handed it over.
    array: Picture = np.empty(pixel_formats.array_shape(request.pixel_format, request.width, request.height), np.uint8)
    targets = pixel_formats.planes(array, request.pixel_format, request.width, request.height)
    for target, source in zip(targets, frame_planes(converted, request.pixel_format), strict=True):
        np.copyto(target, source)
    return array
