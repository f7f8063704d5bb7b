"""The packets of one stream of a container."""

from collections.abc import Iterator
from typing import Any

from av.container import InputContainer
from av.packet import Packet
from av.video.stream import VideoStream


def packets_of(container: InputContainer, stream: VideoStream) -> Iterator["Packet[Any]"]:
    """From where the container is to its end.

    Raises:
        av.FFmpegError, OSError, MeshError: it cannot be read further.
    """
    try:
        yield from container.demux(stream)
    except IndexError:
        # Behind the last packet PyAV counts the streams anew, and does not know those that came up on the way.
        return
