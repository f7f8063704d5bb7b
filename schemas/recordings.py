"""Recordings: by hand (start, ask, stop: an output of the stream named `recording`), and what lies on the disk: list,
fetch, delete, clip."""

from typing import Annotated, Final, Literal

from msgspec import Meta, Struct

from schemas.commands import DEFAULT_WAIT_SECONDS, WaitSeconds
from schemas.errors import ErrorInfo
from schemas.ids import Id
from schemas.resources import OutputState
from schemas.tokens import MAX_PATTERNS, StreamPattern
from schemas.units import BytesText, DurationText, TimeText

RECORDING_OUTPUT: Final = "recording"


class StartRecording(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """publisher.start-recording: record a live stream to a file; one recording per stream.

    The stream must be live and the disk must have room.
    """

    stream: Id
    rendition: Id | None = None
    """None: the source's own packets where they can be carried, else main."""
    to: str = "file://{stream}/{start:%Y%m%d-%H%M%S}.mp4"
    preroll: DurationText | None = None
    """Begin so long ago, as far as the packets in memory reach."""
    segment: DurationText | None = None
    segment_bytes: BytesText | None = None
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
    preroll_s: float = 0.0
    """How far before the command it begins."""
    files: tuple[str, ...] = ()
    """When it has ended: all its files in order. Usually one: a crash, or pictures of another size, begin another."""


class ListRecordings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """publisher.<node>.recordings: the recorded files of one node, oldest first."""

    stream: Id | None = None
    streams: Annotated[tuple[StreamPattern, ...], Meta(max_length=MAX_PATTERNS)] = ()
    """Files of these only, as tokens name them: `cam0`, `line-*`. Empty: of all."""
    start: TimeText | None = None
    end: TimeText | None = None
    """Files that have something between `start` and `end`."""
    limit: Annotated[int, Meta(ge=1, le=1000)] = 1000
    """The newest so many."""


class RecordedFile(Struct, frozen=True, kw_only=True):
    """One file of an output, with what its index says."""

    file: str
    """Path below the folder for recordings; `publisher.fetch` takes it."""
    stream: Id
    output: Id
    rendition: Id
    format: str
    start_ns: int
    """When its first picture was captured, CLOCK_REALTIME."""
    end_ns: int
    size_bytes: int
    pictures: int
    codec: str = ""
    width: int = 0
    height: int = 0
    writing: bool = False
    """It is being written: more will come."""


class RecordedFiles(Struct, frozen=True, kw_only=True):
    node: Id
    files: tuple[RecordedFile, ...] = ()
    more: bool = False
    """There are older ones."""


class FetchFile(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """publisher.<node>.fetch: a part of a recorded file."""

    file: str
    stream: Id | None = None
    """Whose file it must be; else it is not found. None: anybody's."""
    offset: Annotated[int, Meta(ge=0)] = 0
    size: Annotated[int, Meta(ge=1, le=4 << 20)] = 1 << 20
    """Bytes at most; a reply must fit the bus."""


class FilePart(Struct, frozen=True, kw_only=True):
    file: str
    offset: int
    data: bytes
    """base64 in JSON."""
    size_bytes: int
    """Of the whole file, at this moment."""
    modified_ns: int = 0
    """When the file last changed, CLOCK_REALTIME."""
    format: str = ""
    """`mp4`, `mkv` or `ts`, as its index says."""


class DeleteRecording(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """publisher.<node>.delete-recording: take a recorded file away, and its index; not one that is being written."""

    file: str
    """As publisher.recordings tells it."""
    stream: Id
    """Whose file it must be."""


class RecordingDeleted(Struct, frozen=True, kw_only=True):
    file: str
    stream: Id
    size_bytes: int
    """What the disk has got back."""


class MakeClip(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """publisher.<node>.clip: one file of a stream from `start` to `end`, out of recordings and the packets in memory.

    Nothing is encoded: it begins at the key picture at or before `start`. When `end` is to come, it is waited for.
    """

    stream: Id
    start: TimeText = "-10s"
    end: TimeText = "now"
    rendition: Id | None = None
    """None: what was recorded at that time; else the source's own packets, else main."""
    to: str = "file://clips/{stream}-{start:%Y%m%d-%H%M%S}.mp4"
    wait_s: WaitSeconds = DEFAULT_WAIT_SECONDS


class Clip(Struct, frozen=True, kw_only=True):
    """A clip, or how far it is; event `clip` of the stream tells of the end."""

    clip: Id
    stream: Id
    node: Id
    state: Literal["waiting", "finished", "failed"]
    error: ErrorInfo | None = None
    file: str = ""
    """Path below the folder for recordings."""
    file_name: str = ""
    """Full path on the publisher's node."""
    start_ns: int = 0
    """What it holds: of its first picture, CLOCK_REALTIME."""
    end_ns: int = 0
    size_bytes: int = 0
    gaps_ns: int = 0
    """Time between start and end of which nothing was kept."""
