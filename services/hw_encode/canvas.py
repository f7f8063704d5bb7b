"""Pictures with bars: black is drawn once, then only the middle is written."""

import numpy as np
from av.video.frame import VideoFrame

from services.hw_encode.placement import Placement
from shared.media.frames import frame_planes, sibling

# One is being encoded, two are kept for other renditions, one is being written.
_PICTURES = 4
_BLACK, _FULL_RANGE_BLACK, _NO_COLOUR = 16, 0, 128


class Canvas:
    """A few pictures in 4:2:0 with the same bars, used by turns. Belongs to one thread."""

    def __init__(self, pixel_format: str, place: Placement) -> None:
        self.form = (pixel_format, place)
        self._place = place
        self._frames = [VideoFrame(place.width, place.height, pixel_format) for _ in range(_PICTURES)]
        for frame in self._frames:
            luma, *colour = _planes(frame)
            luma[:] = _FULL_RANGE_BLACK if pixel_format == "yuvj420p" else _BLACK
            for plane in colour:
                plane[:] = _NO_COLOUR
        self._turn = 0

    def put(self, picture: VideoFrame) -> VideoFrame:
        """`picture` between the bars; it stays as it is for as long as anybody holds it."""
        self._turn = (self._turn + 1) % _PICTURES
        frame = self._frames[self._turn]
        frame.make_writable()  # whoever holds it still keeps the old memory; the bars come along
        area = self._place.target
        # Copied: libav scales into whole pictures only.
        for plane, source in zip(_planes(frame), _planes(picture), strict=True):
            share = frame.height // len(plane), frame.width // plane.shape[1]
            top, left = area.top // share[0], area.left // share[1]
            np.copyto(plane[top : top + source.shape[0], left : left + source.shape[1]], source)
        return sibling(frame)


def _planes(frame: VideoFrame) -> "list[np.ndarray[tuple[int, ...], np.dtype[np.uint8 | np.uint16]]]":
    return frame_planes(frame, "nv12" if frame.format.name == "nv12" else "yuv420p")
