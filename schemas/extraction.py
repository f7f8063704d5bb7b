"""Jobs that take pictures out of videos: what is asked, how far it is, what came of it."""

from typing import Annotated, Literal

from msgspec import Meta, Struct

from schemas.ids import Id
from schemas.sampling import Edge, PictureOptions, Sampling
from schemas.still_format import StillFormat

JobState = Literal["pending", "running", "completed", "failed", "canceled"]
ENDED_STATES: frozenset[JobState] = frozenset(("completed", "failed", "canceled"))
FailureKind = Literal[
    "",
    "parameter",
    "url",
    "download",
    "format",
    "video",
    "timeout",
    "extraction",
    "storage",
    "internal",
]
"""What is at fault: the request, the video's address, its way here, its format, the video itself, the time that it
takes, decoding, the place for the pictures, or this service."""
JobId = Annotated[str, Meta(pattern="^task-[0-9]{14}-[0-9a-z]{6,20}$")]
Text = Annotated[str, Meta(min_length=1, max_length=4096)]
Day = Annotated[str, Meta(pattern="^[0-9]{8}$", description="a day of UTC", examples=["20260504"])]
MAX_LISTED = 1000


class SubmitJob(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """frame-extractor.submit: take pictures out of a video, and put them somewhere."""

    video: Text
    """`http://`, `https://`, `s3://bucket/key`, `tos://bucket/key`, or `file://` below an allowed root."""
    to: Text
    """`s3://`, `tos://` or `file://` with `{index}` (`{index:06d}`) in it, and `{autoext}` if you like."""
    sampling: Sampling = Sampling()
    pictures: PictureOptions = PictureOptions()
    key: Annotated[str, Meta(max_length=128)] = ""
    """Of your making: a second job of the same owner with the same key is the first one."""
    owner: Id = "mesh"
    """Who is told of it, and whose usage it is: the name of an API key, or the mesh's own."""


class Submitted(Struct, frozen=True, kw_only=True):
    """Reply to `submit`."""

    job: JobId
    state: JobState
    again: bool = False
    """A job of that key was there already; this is it."""


class PollJob(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """frame-extractor.poll"""

    job: JobId
    frames: bool = True
    """With the list of pictures, once there is one."""
    first: Annotated[int, Meta(ge=0)] = 0
    """So many pictures are left out, of a list that is too long for one reply; see `JobReply.more`."""
    owner: Id | None = None
    """Somebody else's job is not found; None: anybody's."""


class CancelJob(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """frame-extractor.cancel: end a job; pictures that are written stay."""

    job: JobId
    owner: Id | None = None


class ListJobs(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """frame-extractor.list: the newest first."""

    owner: Id | None = None
    state: JobState | None = None
    limit: Annotated[int, Meta(ge=1, le=MAX_LISTED)] = 100
    before: JobId | None = None
    """Only those that were submitted before this job: the last of the reply that said `more`."""


class ExtractedFrame(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One picture, as it was written."""

    index: int
    """From 0, in the order of time."""
    timestamp_s: float
    """The moment that was asked for."""
    pts_s: float
    """Of the picture that is shown then, from the start of the video."""
    width: int
    height: int
    path: str
    frame_index: int | None = None
    """Of the video's pictures, in the order of time; None: nobody counted."""


class FetchJobPicture(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """frame-extractor.fetch: one picture of a completed job, read from where it lies."""

    job: JobId
    index: Annotated[int, Meta(ge=0)]
    """As `ExtractedFrame.index`."""
    max_width: Edge | None = None
    """Pixels; a wider picture is made smaller, as a jpg."""
    owner: Id | None = None
    """Somebody else's job is not found; None: anybody's."""


class JobPicture(Struct, frozen=True, kw_only=True):
    """Reply to `fetch`: one image file."""

    frame: ExtractedFrame
    """As it was written."""
    format: StillFormat
    """Of `data`."""
    data: bytes
    """base64 in JSON."""


class VideoFacts(Struct, frozen=True, kw_only=True):
    """What a video is."""

    duration_s: float
    width: int
    """Pixels as it is shown: after rotation."""
    height: int
    codec: str = ""
    note: str = ""
    """What of it could not be read; empty: all could."""


class Job(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A job's state, without its pictures."""

    id: JobId
    state: JobState
    owner: Id
    video: str
    """Without credentials."""
    to: str
    submitted_ns: int
    started_ns: int = 0
    ended_ns: int = 0
    attempt: int = 0
    """From 1, of the worker that has or had it."""
    worker: str = ""
    done: int = 0
    """Pictures written."""
    expected: int | None = None
    """Pictures there will be; None: not known yet."""
    facts: VideoFacts | None = None
    failure: FailureKind = ""
    message: str = ""
    """Why it failed, or what was left out: names the fix where there is one."""


class JobReply(Struct, frozen=True, kw_only=True):
    """Reply to `poll` and `cancel`."""

    job: Job
    frames: tuple[ExtractedFrame, ...] = ()
    more: bool = False
    """There are pictures behind these: poll again, with `first` more by the number of these."""


class JobTask(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What waits in the queue: all that a worker needs."""

    job: JobId
    submitted_ns: int
    request: SubmitJob
    """Its `video` as it may be shown."""
    video_secret: str = ""
    """Refers to the whole of it, where that holds a secret."""


class JobRecord(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A job as it is kept: its state, and what only workers need."""

    job: Job
    tries: int = 0
    """Attempts that count: of one that its worker gave back nobody holds anything against the job."""
    pages: tuple[int, ...] = ()
    """The first picture of each page of the result."""
    metered: bool = False
    """Its pictures are in the usage."""
    video_secret: str = ""
    """As of its task: to be forgotten with a job that no worker has taken."""


class GetUsage(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """frame-extractor.usage: what owners have had, by day."""

    owner: Id | None = None
    since: Day | None = None
    until: Day | None = None
    """This day included."""


class Usage(Struct, frozen=True, kw_only=True):
    """What an owner had on one day."""

    owner: Id
    day: Day
    """Of the job's end, UTC."""
    jobs: int = 0
    pictures: int = 0
    """Of jobs that were completed."""


class UsageRecord(Usage, frozen=True, kw_only=True, omit_defaults=True):
    """`Usage` as it is kept."""

    counted: tuple[JobId, ...] = ()
    """The last jobs in it, so that none counts twice whose worker died between counting and saying so."""


class UsageReply(Struct, frozen=True, kw_only=True):
    """Reply to `usage`."""

    usage: tuple[Usage, ...] = ()
    pictures: int = 0
    """In all."""


class JobList(Struct, frozen=True, kw_only=True):
    """Reply to `list`."""

    jobs: tuple[Job, ...]
    more: bool = False
    """There are older ones: list again, with `before` the last of these."""
