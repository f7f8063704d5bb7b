"""One picture of a stream at a moment: what is asked, what comes, and where in a recorded file it lies."""

from typing import Literal

from msgspec import Struct

from schemas.commands import DEFAULT_WAIT_SECONDS, WaitSeconds
from schemas.ids import Id
from schemas.sampling import PictureOptions
from schemas.stills import StillFormat
from schemas.units import DurationText, TimeText

Origin = Literal["live", "ring", "packets", "recording"]
"""The next picture of the stream, the pictures in shared memory, the packets in memory, a recorded file."""


class TakePicture(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """frame-extractor.picture: the picture of a stream that was captured nearest to a moment."""

    stream: Id
    at: TimeText | None = None
    """None: the next picture. What is to come is waited for, for `wait_s`."""
    within: DurationText | None = None
    """A picture that is further off is none."""
    pictures: PictureOptions = PictureOptions()
    wait_s: WaitSeconds = DEFAULT_WAIT_SECONDS


class TakenPicture(Struct, frozen=True, kw_only=True):
    """One image file, and what it shows."""

    stream: Id
    node: Id
    """Whose frame-extractor made it."""
    origin: Origin
    captured_ns: int
    """CLOCK_REALTIME."""
    off_ns: int = 0
    """From the moment that was asked for to the capture; negative: it was captured before."""
    epoch: int = 0
    sequence: int = 0
    """With `stream` and `epoch` the frame's identity, wherever the picture comes from."""
    rendition: Id | None = None
    """Of packets and recordings: the encoding that it was decoded from."""
    file: str = ""
    """Of recordings: as publisher.recordings tells it."""
    format: StillFormat
    width: int
    height: int
    data: bytes
    """base64 in JSON."""


class FindMoment(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """publisher.<node>.moment: where in the recorded files of one node the picture nearest to a moment lies."""

    stream: Id
    at: TimeText


class FileMoment(Struct, frozen=True, kw_only=True):
    """A picture in a recorded file: decode the file's first `header_bytes`, and what is from `offset` to `end`."""

    node: Id
    file: str
    """As publisher.fetch takes it."""
    rendition: Id
    format: str
    codec: str
    header_bytes: int
    offset: int
    """Where the group of pictures begins that it is in."""
    end: int
    """Behind the picture."""
    number: int
    """How many pictures are before it from `offset` on, in the file's order."""
    pts_ns: int
    """When it is shown, from the file's start."""
    first_pts_ns: int = 0
    """Of the file's first picture; MPEG-TS begins anywhere, and only the distance counts."""
    captured_ns: int
    duration_ns: int = 0
    epoch: int = 0
    sequence: int = 0
    oldest_ns: int
    """Capture of the oldest picture of the stream in this node's files."""
