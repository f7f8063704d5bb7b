"""Commands of publisher."""

from schemas.channels.building import PLACEHOLDER, command
from schemas.channels.parties import LOOKERS
from schemas.commands import ListResources, OutputChanged, OutputList, StartOutput, StopOutput
from schemas.moments import FileMoment, FindMoment
from schemas.recordings import (
    Clip,
    DeleteRecording,
    FetchFile,
    FilePart,
    ListRecordings,
    MakeClip,
    RecordedFiles,
    Recording,
    RecordingDeleted,
    RecordingRequest,
    StartRecording,
    StopRecording,
)

COMMANDS = (
    command(
        "publisher",
        "start",
        StartOutput,
        OutputChanged,
        ("cli", "writer", "cloud-mix-proxy"),
        "Make or change an output.",
    ),
    command(
        "publisher",
        "stop",
        StopOutput,
        OutputChanged,
        ("cli", "writer", "cloud-mix-proxy"),
        "End an output; files are finished.",
    ),
    command("publisher", "list", ListResources, OutputList, LOOKERS, "Outputs, as asked for and as they are."),
    command(
        "publisher",
        "start-recording",
        StartRecording,
        Recording,
        ("cli", "writer"),
        "Record a live stream to a file.",
    ),
    command("publisher", "recording", RecordingRequest, Recording, LOOKERS, "How a stream's recording is doing."),
    command(
        "publisher",
        "stop-recording",
        StopRecording,
        Recording,
        ("cli", "writer"),
        "Close a recording and tell what is in it.",
    ),
    command(
        "publisher",
        "recordings",
        ListRecordings,
        RecordedFiles,
        LOOKERS,
        "What is recorded on one node.",
        PLACEHOLDER.format("node"),
    ),
    command(
        "publisher",
        "fetch",
        FetchFile,
        FilePart,
        (*LOOKERS, "frame-extractor"),
        "A part of a recorded file.",
        PLACEHOLDER.format("node"),
    ),
    command(
        "publisher",
        "moment",
        FindMoment,
        FileMoment,
        ("frame-extractor",),
        "Where in its recorded files a moment lies.",
        PLACEHOLDER.format("node"),
    ),
    command(
        "publisher",
        "delete-recording",
        DeleteRecording,
        RecordingDeleted,
        ("cli", "writer"),
        "Take a recorded file away.",
        PLACEHOLDER.format("node"),
    ),
    command(
        "publisher",
        "clip",
        MakeClip,
        Clip,
        ("cli", "writer", "client"),
        "A file of a stream from one moment to another.",
        PLACEHOLDER.format("node"),
    ),
)
