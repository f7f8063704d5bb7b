"""Recording a stream by hand: start, ask, stop. Each recording is an output of its stream, named `recording`."""

from typing import Final

from msgspec import Struct

from schemas.commands import DEFAULT_WAIT_SECONDS, WaitSeconds
from schemas.errors import ErrorInfo
from schemas.ids import Id
from schemas.resources import OutputState

RECORDING_OUTPUT: Final = "recording"


class StartRecording(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """publisher.start-recording: record a live stream to a file; one recording per stream.

    The stream must be live and the disk must have room.
    """

    stream: Id
    rendition: Id | None = None
    """None: the source's own packets where they can be carried, else main."""
    to: str = "file://{stream}/{start:%Y%m%d-%H%M%S}.mp4"
    wait_s: WaitSeconds = DEFAULT_WAIT_SECONDS


class RecordingRequest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """publisher.recording: how the recording of a stream is doing."""

    stream: Id


class StopRecording(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """publisher.stop-recording: close the file properly and tell what is in it."""

    stream: Id
    wait_s: WaitSeconds = DEFAULT_WAIT_SECONDS


class Recording(Struct, frozen=True, kw_only=True):
    """A recording, while it is made and when it is done."""

    stream: Id
    recording: bool
    """False: it has ended, or there is none."""
    state: OutputState | None = None
    error: ErrorInfo | None = None
    rendition: Id | None = None
    started_ns: int = 0
    duration_s: float = 0.0
    width: int = 0
    height: int = 0
    frame_rate: float = 0.0
    file_size: int = 0
    """Bytes."""
    file_name: str = ""
    """Full path on the publisher's node; empty when nothing was written."""
    files: tuple[str, ...] = ()
    """When it has ended: all its files in order. Usually one: a crash, or pictures of another size, begin another."""
