"""What a decoder says beside a frame."""

from typing import Any, Literal

from av.sidedata.sidedata import SideDataContainer
from av.video.frame import VideoFrame

# Its stub tells of no arguments. A container of our own: `frame.side_data` and its frame would hold each other, and the
# decoder's memory would be free for the next picture only when Python next looks for such circles.
_container: Any = SideDataContainer


def side_data(
    frame: VideoFrame, kind: Literal["DISPLAYMATRIX", "CONTENT_LIGHT_LEVEL", "MASTERING_DISPLAY_METADATA"]
) -> bytes | None:
    """The bytes of libav's structure of that kind; None: there is none."""
    try:
        found = _container(frame).get(kind)
    except ValueError:  # PyAV gives up all of it where there is one kind that it has no name for
        return None
    return None if found is None else bytes(found)
