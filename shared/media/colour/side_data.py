"""What a decoder says beside a frame."""

from typing import Any, Literal

from av.video.frame import VideoFrame


def side_data(
    frame: VideoFrame, kind: Literal["DISPLAYMATRIX", "CONTENT_LIGHT_LEVEL", "MASTERING_DISPLAY_METADATA"]
) -> bytes | None:
    """The bytes of libav's structure of that kind; None: there is none."""
    data: Any = frame.side_data
    try:
        found = data.get(kind)
    except ValueError:  # PyAV gives up all of it where there is one kind that it has no name for
        return None
    return None if found is None else bytes(found)
