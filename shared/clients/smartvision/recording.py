"""Recording a camera."""

from dataclasses import dataclass
from typing import Final

from schemas.commands import OutputList
from schemas.recordings import RECORDING_OUTPUT, Recording
from shared.clients.smartvision.connection import answers, ask, minus_one
from shared.clients.smartvision.inventory import camera_at, has_index, stream_name

_ENDED: Final = frozenset({"finished", "failed"})


@dataclass(frozen=True)
class MediaInfo:
    """What a recording holds, read from its file."""

    duration: int = 0
    """Seconds, rounded."""
    width: int = 0
    height: int = 0
    frame_rate: int = 0
    """Pictures per second, rounded."""
    file_size: int = 0
    """Bytes."""
    file_name: str = ""
    """Full path on the publisher's node; empty when nothing was recorded."""


@answers(minus_one)
def start_record(idx: int) -> int:
    """Record a camera to a file, by `publisher.start-recording`, which looks first whether the camera is live, the disk
    has room and no recording of it is under way.

    Returns:
        0; -1: refused, the log says why.
    """
    return 0 if ask("publisher.start-recording", Recording, stream=camera_at(idx).stream).recording else -1


@answers(minus_one)
def get_record_status() -> int:
    """0: one of the cameras is being recorded, also one that has ended meanwhile; -1: none is. By `publisher.list`."""
    recordings = [one for one in ask("publisher.list", OutputList).outputs if one.spec.output == RECORDING_OUTPUT]
    going_on = [one for one in recordings if one.actual is None or one.actual.state not in _ENDED]
    return 0 if any(has_index(one.spec.stream) for one in going_on) else -1


@answers(MediaInfo)
def stop_record(idx: int) -> MediaInfo:
    """End a recording and tell what is in it, by `publisher.stop-recording`; all 0 when there was none. The camera may
    have ended."""
    found = ask("publisher.stop-recording", Recording, stream=stream_name(idx))
    return MediaInfo(
        duration=round(found.duration_s),
        width=found.width,
        height=found.height,
        frame_rate=round(found.frame_rate),
        file_size=found.file_size,
        file_name=found.file_name,
    )
