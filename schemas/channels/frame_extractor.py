"""Commands of frame-extractor."""

from schemas.channels.building import PLACEHOLDER, command
from schemas.channels.parties import LOOKERS
from schemas.commands import ListResources
from schemas.extraction import (
    CancelJob,
    FetchJobPicture,
    GetUsage,
    JobList,
    JobPicture,
    JobReply,
    ListJobs,
    PollJob,
    SubmitJob,
    Submitted,
    UsageReply,
)
from schemas.moments import TakenPicture, TakePicture
from schemas.samples import SampleChanged, SampleList, StartSample, StopSample

COMMANDS = (
    command(
        "frame-extractor", "submit", SubmitJob, Submitted, ("cli", "writer", "client"), "Take pictures out of a video."
    ),
    command("frame-extractor", "poll", PollJob, JobReply, LOOKERS, "A job, and its pictures once it is completed."),
    command("frame-extractor", "cancel", CancelJob, JobReply, ("cli", "writer", "client"), "End a job."),
    command("frame-extractor", "list", ListJobs, JobList, LOOKERS, "Jobs, the newest first."),
    command(
        "frame-extractor",
        "fetch",
        FetchJobPicture,
        JobPicture,
        LOOKERS,
        "A picture of a completed job, from its place.",
    ),
    command("frame-extractor", "usage", GetUsage, UsageReply, LOOKERS, "Pictures per owner and day."),
    command(
        "frame-extractor", "picture", TakePicture, TakenPicture, LOOKERS, "The picture of a stream nearest to a moment."
    ),
    command(
        "frame-extractor",
        "local-picture",
        TakePicture,
        TakenPicture,
        ("frame-extractor",),
        "The same, of what that node has in memory.",
        PLACEHOLDER.format("node"),
    ),
    command(
        "frame-extractor",
        "start-sample",
        StartSample,
        SampleChanged,
        ("cli", "writer"),
        "Take pictures of a stream again and again.",
    ),
    command("frame-extractor", "stop-sample", StopSample, SampleChanged, ("cli", "writer"), "Take no more of them."),
    command("frame-extractor", "samples", ListResources, SampleList, LOOKERS, "Samples, as asked for and as they are."),
)
