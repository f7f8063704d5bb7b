"""The channel table: every subject and key of the mesh, what it carries, who speaks and who listens.

The AsyncAPI document, the JSON Schemas, the bus permissions and the tables of the contract are generated from it, and
a test holds it against the endpoints of running services. Subjects are made by the builders of `schemas.subjects`,
with placeholder ids that become `{name}`.
"""

import re
from collections.abc import Callable
from typing import Any, Literal

from msgspec import Struct

from schemas import subjects
from schemas.capture_commands import (
    ConfigureStream,
    DeviceList,
    ListDevices,
    PtzRequest,
    PtzStatus,
    RestartReply,
    RestartRequest,
    Snapshot,
    SnapshotRequest,
    StatsRequest,
    StreamStats,
    TriggerReply,
    TriggerRequest,
)
from schemas.channel import Channel, Party, kv_subject
from schemas.commands import (
    KeyFrameReply,
    KeyFrameRequest,
    ListResources,
    OutputChanged,
    OutputList,
    RenditionChanged,
    RenditionList,
    RenditionStats,
    RenditionStatsRequest,
    StartOutput,
    StartRendition,
    StartStream,
    StopOutput,
    StopRendition,
    StopStream,
    StreamChanged,
    StreamList,
)
from schemas.events import Event
from schemas.extraction import (
    CancelJob,
    FetchJobPicture,
    GetUsage,
    JobList,
    JobPicture,
    JobRecord,
    JobReply,
    JobTask,
    ListJobs,
    PollJob,
    SubmitJob,
    Submitted,
    UsageRecord,
    UsageReply,
)
from schemas.frames import AudioHeader, FrameAck, FrameRef
from schemas.ids import compound_id
from schemas.ingest import GaveWay, GiveWay, IngestSession, PublishClaim
from schemas.layers import ChooseLayer, LayersChosen, ListPublishers, PublisherList
from schemas.mix_resources import MixActual, MixEntry, MixSpec
from schemas.mix_tasks import CallbackItem, CallbackState, ListMixTasks, MixTaskList, NameHolder, TaskRecord
from schemas.mixes import CreateMix, DeleteMix, GetMix, ListMixes, MixChanged, MixList, UpdateMix
from schemas.moments import FileMoment, FindMoment, TakenPicture, TakePicture
from schemas.packets import PacketHeader
from schemas.picture_values import PictureValues
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
from schemas.resources import (
    OutputActual,
    OutputSpec,
    Presence,
    RenditionActual,
    RenditionSpec,
    StreamActual,
    StreamSpec,
)
from schemas.sample_resources import SampleActual, SampleClaim, SampleSpec
from schemas.samples import SampleChanged, SampleList, StartSample, StopSample
from schemas.sessions import (
    KickedSessions,
    KickSessions,
    ListSessions,
    SessionList,
    SessionStats,
    SessionStatsRequest,
)
from schemas.signal_resources import (
    INPUT_STATES,
    RULE_STATES,
    SIGNAL_STATES,
    InputActual,
    InputSpec,
    RuleActual,
    RuleSpec,
    SignalActual,
    SignalSpec,
)
from schemas.signals import (
    ClearSignal,
    DryRunRule,
    GetTcpSetting,
    InputChanged,
    IoSent,
    ListSignals,
    OffMode,
    OffModeReply,
    PulseSignal,
    RuleChanged,
    RuleTested,
    SendIo,
    SendTcp,
    SetSignal,
    SignalChanged,
    SignalList,
    SignalSet,
    StartInput,
    StartRule,
    StartSignal,
    StopInput,
    StopRule,
    StopSignal,
    TcpSent,
    TcpSetting,
)
from schemas.sora import (
    ChannelList,
    ClientStats,
    ClientStatsRequest,
    DisconnectChannel,
    Disconnected,
    ListChannels,
    Pushed,
    PushToChannel,
)
from schemas.stills import EncodedPicture, EncodePicture

RUNNING_SERVICES: tuple[Party, ...] = (
    "capture",
    "hw-encode",
    "publisher",
    "webrtc-gateway",
    "frame-extractor",
    "cloud-mix-proxy",
    "io-signal",
)
OBSERVERS: tuple[Party, ...] = (*RUNNING_SERVICES, "writer", "transformer", "client", "cli", "console")
_APPLICATIONS: tuple[Party, ...] = ("writer", "client")
_FOR_PEOPLE: tuple[Party, ...] = ("webrtc-gateway", "io-signal")
LOOKERS: tuple[Party, ...] = ("writer", "transformer", "client", "cli", "console")

# Valid ids, so that the builders take them; no name of the mesh begins so.
_PLACEHOLDER = "param-{}"
_PLACEHOLDERS = re.compile(r"param-([a-z]+)")


def _template(build: Callable[..., str], *names: str, **fixed: str) -> str:
    """The subject that `build` makes, with `{name}` for each of its arguments `names`."""
    return _named(build(*(_PLACEHOLDER.format(name) for name in names), **fixed))


def _named(subject: str) -> str:
    return _PLACEHOLDERS.sub(r"{\1}", subject)


def _id(name: str = "") -> str:
    stream = _PLACEHOLDER.format("stream")
    return compound_id(stream, _PLACEHOLDER.format(name)) if name else stream


def _command(
    service: Party,
    verb: str,
    request: type[Struct],
    reply: type[Struct],
    callers: tuple[Party, ...],
    summary: str,
    resource: str | None = None,
    name: str = "",
) -> Channel:
    """`resource`: the id of what only its owner answers for. What people may call, the gateway calls for those who ask
    over HTTP, and io-signal for the rules that they have written. `name`: of the channel, where another has that of the
    verb."""
    if "cli" in callers:
        callers = (*callers, *(party for party in _FOR_PEOPLE if party not in callers))
    return Channel(
        name=f"{service}.{name or verb}",
        address=_named(subjects.command(service, verb, resource)),
        semantics="request-reply",
        payload=request,
        reply=reply,
        senders=callers,
        receivers=(service,),
        summary=summary,
    )


def _keys(bucket: str, service: Party, key: str, payload: type[Struct] | None, summary: str, **fields: Any) -> Channel:
    """Their channel is called by what keys begin with, where that is not the service's name."""
    return Channel(
        name=f"{bucket.removeprefix('mesh_')}.{fields.pop('kind', service)}",
        address=kv_subject(bucket, _named(key)),
        semantics="kv",
        payload=payload,
        summary=summary,
        bucket=bucket,
        **{"senders": (service,), **fields},
    )


def _state(
    bucket: str, service: Party, name: str, payload: type[Struct], summary: str, kind: str | None = None
) -> Channel:
    """`kind`: how keys begin, where that is not the service's name."""
    own_name = name in ("mix", "signal", "input", "rule")
    key = subjects.state_key(kind or service, _PLACEHOLDER.format(name) if own_name else _id(name))
    rest = {"receivers": OBSERVERS, "read": "watch", "compare_and_set": bucket == subjects.DESIRED_BUCKET}
    return _keys(bucket, service, key, payload, summary, kind=kind or service, **rest)


def _secret(service: Party, name: str, summary: str) -> Channel:
    key = subjects.state_key(service, _PLACEHOLDER.format(name) if name == "mix" else _id(name))
    rest = {"receivers": (service,), "read": "get", "compare_and_set": True, "encoding": "text"}
    return _keys(subjects.SECRETS_BUCKET, service, key, None, summary, **rest)


def _epoch(takers: tuple[Party, ...], name: str, summary: str) -> Channel:
    rest = {"senders": takers, "receivers": (), "compare_and_set": True, "encoding": "text"}
    return _keys(subjects.EPOCH_BUCKET, takers[0], _id(name), None, summary, **rest)


def _job_keys(
    name: str,
    bucket: str,
    build: Callable[..., str],
    parameters: tuple[str, ...],
    payload: type[Struct] | None,
    summary: str,
    read: Literal["get", "watch"] = "get",
    service: Party = "frame-extractor",
) -> Channel:
    return Channel(
        name=name,
        address=kv_subject(bucket, _template(build, *parameters)),
        semantics="kv",
        payload=payload,
        encoding="json" if payload else "text",
        senders=(service,),
        receivers=(service,),
        summary=summary,
        bucket=bucket,
        read=read,
        compare_and_set=True,
    )


def _job_secret() -> Channel:
    key = subjects.state_key("frame-extractor", _PLACEHOLDER.format("job"))
    rest = {"receivers": ("frame-extractor",), "read": "get", "compare_and_set": True, "encoding": "text"}
    summary = "Full URL of a job's video that has credentials."
    return _keys(subjects.SECRETS_BUCKET, "frame-extractor", key, None, summary, **rest)


_MEDIA = (
    Channel(
        name="frames",
        address=_template(subjects.frames, "node", "stream"),
        semantics="latest-wins",
        payload=FrameRef,
        senders=("capture", "cloud-mix-proxy", "writer"),
        receivers=("hw-encode", "frame-extractor", "cloud-mix-proxy", "io-signal", "client"),
        summary="A picture is in the ring; of use on its own node only.",
    ),
    Channel(
        name="meta",
        address=_template(subjects.picture_values, "node", "stream"),
        semantics="at-most-once",
        payload=PictureValues,
        senders=("io-signal",),
        receivers=("capture",),
        summary="Values of inputs, for the references of the pictures captured since.",
    ),
    Channel(
        name="audio",
        address=_template(subjects.audio, "node", "stream"),
        semantics="at-most-once",
        payload=AudioHeader,
        encoding="msgpack+bytes",
        senders=("capture", "cloud-mix-proxy"),
        receivers=("hw-encode", "cloud-mix-proxy", "client"),
        summary="A block of raw sound, 48 kHz, s16, interleaved.",
    ),
    Channel(
        name="ack",
        address=_template(subjects.ack, "node", "stream"),
        semantics="at-most-once",
        payload=FrameAck,
        senders=("hw-encode", "client"),
        receivers=("writer",),
        summary="Credit of a lossless stream's consumer; cumulative.",
    ),
    Channel(
        name="packets",
        address=_template(subjects.packets, "stream", "rendition", "track"),
        semantics="at-most-once",
        payload=PacketHeader,
        encoding="msgpack+bytes",
        senders=("capture", "hw-encode", "transformer"),
        receivers=("publisher", "webrtc-gateway", "client", "writer", "transformer"),
        summary="An access unit, or a part of a large one.",
    ),
    Channel(
        name="ingest",
        address=_template(subjects.ingest, "node", "stream", "track"),
        semantics="at-most-once",
        payload=PacketHeader,
        encoding="msgpack+bytes",
        senders=("webrtc-gateway",),
        receivers=("capture",),
        summary="An access unit of a whip:// stream's publisher, or a part of a large one.",
    ),
    Channel(
        name="ingest-session",
        address=_template(subjects.ingest_session, "node", "stream"),
        semantics="at-most-once",
        payload=IngestSession,
        senders=("webrtc-gateway",),
        receivers=("capture",),
        summary="A whip:// stream has a publisher, once a second; or has none any more.",
    ),
    Channel(
        name="ingest-key-frame",
        address=_template(subjects.ingest_key_frame, "node", "stream"),
        semantics="at-most-once",
        payload=KeyFrameRequest,
        senders=("capture",),
        receivers=("webrtc-gateway",),
        summary="The publisher shall make a key picture.",
    ),
)

_SIGNALLERS: tuple[Party, ...] = ("cli", "writer", "client", "io-signal")  # itself for rules, and for its peers
_MIXERS: tuple[Party, ...] = ("cli", "writer")

_COMMANDS = (
    _command(
        "capture",
        "start",
        StartStream,
        StreamChanged,
        ("cli", "writer", "webrtc-gateway", "cloud-mix-proxy"),
        "Make or change a stream.",
    ),
    _command(
        "capture",
        "stop",
        StopStream,
        StreamChanged,
        ("cli", "writer", "webrtc-gateway", "cloud-mix-proxy"),
        "Remove a stream.",
    ),
    _command("capture", "list", ListResources, StreamList, LOOKERS, "Streams, as asked for and as they are."),
    _command(
        "capture",
        "snapshot",
        SnapshotRequest,
        Snapshot,
        LOOKERS,
        "The newest picture as a file; only the stream's owner answers.",
        _id(),
    ),
    _command(
        "capture",
        "stats",
        StatsRequest,
        StreamStats,
        LOOKERS,
        "Rates, sizes and drops, measured at this moment.",
        _id(),
    ),
    _command(
        "capture",
        "configure",
        ConfigureStream,
        StreamChanged,
        ("cli", "writer"),
        "Hold a profile against what the camera can do, and take it on.",
        _id(),
    ),
    _command("capture", "trigger", TriggerRequest, TriggerReply, ("cli", "writer", "client"), "Take a picture.", _id()),
    _command(
        "capture",
        "keyframe",
        KeyFrameRequest,
        KeyFrameReply,
        ("publisher", "webrtc-gateway", "hw-encode", "writer", "transformer", "client", "cli"),
        "Ask the source for a key picture, where it makes them when asked.",
        _id(),
    ),
    _command("capture", "restart", RestartRequest, RestartReply, ("cli", "writer"), "Open the source anew.", _id()),
    _command("capture", "ptz", PtzRequest, PtzStatus, ("cli", "writer"), "Move a camera that can.", _id()),
    _command(
        "capture",
        "devices",
        ListDevices,
        DeviceList,
        LOOKERS,
        "The cameras of one node, plugged in or announced.",
        _PLACEHOLDER.format("node"),
    ),
    _command(
        "hw-encode",
        "start",
        StartRendition,
        RenditionChanged,
        ("cli", "writer", "transformer", "webrtc-gateway", "cloud-mix-proxy"),
        "Make or change a rendition.",
    ),
    _command(
        "hw-encode",
        "stop",
        StopRendition,
        RenditionChanged,
        ("cli", "writer", "transformer", "cloud-mix-proxy"),
        "Remove a rendition.",
    ),
    _command("hw-encode", "list", ListResources, RenditionList, LOOKERS, "Renditions, as asked for and as they are."),
    _command(
        "hw-encode",
        "keyframe",
        KeyFrameRequest,
        KeyFrameReply,
        ("publisher", "webrtc-gateway", "hw-encode", "writer", "transformer", "client", "cli"),
        "Make the next picture an IDR; only the rendition's owner answers.",
        _id("rendition"),
    ),
    _command(
        "hw-encode",
        "stats",
        RenditionStatsRequest,
        RenditionStats,
        LOOKERS,
        "What a rendition has encoded; only its owner answers.",
        _id("rendition"),
    ),
    _command(
        "hw-encode",
        "pic-encode",
        EncodePicture,
        EncodedPicture,
        LOOKERS,
        "A picture as an image file.",
        _PLACEHOLDER.format("node"),
    ),
    _command(
        "publisher",
        "start",
        StartOutput,
        OutputChanged,
        ("cli", "writer", "cloud-mix-proxy"),
        "Make or change an output.",
    ),
    _command(
        "publisher",
        "stop",
        StopOutput,
        OutputChanged,
        ("cli", "writer", "cloud-mix-proxy"),
        "End an output; files are finished.",
    ),
    _command("publisher", "list", ListResources, OutputList, LOOKERS, "Outputs, as asked for and as they are."),
    _command(
        "publisher",
        "start-recording",
        StartRecording,
        Recording,
        ("cli", "writer"),
        "Record a live stream to a file.",
    ),
    _command("publisher", "recording", RecordingRequest, Recording, LOOKERS, "How a stream's recording is doing."),
    _command(
        "publisher",
        "stop-recording",
        StopRecording,
        Recording,
        ("cli", "writer"),
        "Close a recording and tell what is in it.",
    ),
    _command(
        "publisher",
        "recordings",
        ListRecordings,
        RecordedFiles,
        LOOKERS,
        "What is recorded on one node.",
        _PLACEHOLDER.format("node"),
    ),
    _command(
        "publisher",
        "fetch",
        FetchFile,
        FilePart,
        (*LOOKERS, "frame-extractor"),
        "A part of a recorded file.",
        _PLACEHOLDER.format("node"),
    ),
    _command(
        "publisher",
        "moment",
        FindMoment,
        FileMoment,
        ("frame-extractor",),
        "Where in its recorded files a moment lies.",
        _PLACEHOLDER.format("node"),
    ),
    _command(
        "publisher",
        "delete-recording",
        DeleteRecording,
        RecordingDeleted,
        ("cli", "writer"),
        "Take a recorded file away.",
        _PLACEHOLDER.format("node"),
    ),
    _command(
        "publisher",
        "clip",
        MakeClip,
        Clip,
        ("cli", "writer", "client"),
        "A file of a stream from one moment to another.",
        _PLACEHOLDER.format("node"),
    ),
    _command("webrtc-gateway", "sessions", ListSessions, SessionList, LOOKERS, "WebRTC sessions of all gateways."),
    _command(
        "webrtc-gateway",
        "stats",
        SessionStatsRequest,
        SessionStats,
        LOOKERS,
        "One session's statistics, as W3C's webrtc-stats names them.",
    ),
    _command(
        "webrtc-gateway", "kick", KickSessions, KickedSessions, ("cli", "writer"), "End a session, or all of a stream."
    ),
    _command("webrtc-gateway", "channels", ListChannels, ChannelList, LOOKERS, "Who is in which Sora channel."),
    _command(
        "webrtc-gateway",
        "client-stats",
        ClientStatsRequest,
        ClientStats,
        LOOKERS,
        "What a Sora client tells of its side.",
    ),
    _command(
        "webrtc-gateway",
        "push",
        PushToChannel,
        Pushed,
        ("cli", "writer", "client"),
        "Tell a channel's clients something.",
    ),
    _command(
        "webrtc-gateway",
        "disconnect",
        DisconnectChannel,
        Disconnected,
        ("cli", "writer"),
        "End the connections of a channel, or one.",
    ),
    _command(
        "webrtc-gateway",
        "local-channels",
        ListChannels,
        ChannelList,
        ("webrtc-gateway", "cli"),
        "Who is in which channel of the gateway of one node.",
        _PLACEHOLDER.format("node"),
    ),
    _command(
        "webrtc-gateway",
        "local-client-stats",
        ClientStatsRequest,
        ClientStats,
        ("webrtc-gateway", "cli"),
        "What a Sora client of that gateway tells of its side.",
        _PLACEHOLDER.format("node"),
    ),
    _command(
        "webrtc-gateway",
        "local-push",
        PushToChannel,
        Pushed,
        ("webrtc-gateway", "cli"),
        "Tell clients of that gateway something.",
        _PLACEHOLDER.format("node"),
    ),
    _command(
        "webrtc-gateway",
        "local-disconnect",
        DisconnectChannel,
        Disconnected,
        ("webrtc-gateway", "cli"),
        "End connections of that gateway.",
        _PLACEHOLDER.format("node"),
    ),
    _command(
        "webrtc-gateway",
        "layer",
        ChooseLayer,
        LayersChosen,
        ("cli", "writer", "client"),
        "Have a session go on with another rendition of its stream, or with sound alone.",
    ),
    _command(
        "webrtc-gateway",
        "local-layer",
        ChooseLayer,
        LayersChosen,
        ("webrtc-gateway", "cli"),
        "The same at the gateway of one node.",
        _PLACEHOLDER.format("node"),
    ),
    _command(
        "webrtc-gateway",
        "publishers",
        ListPublishers,
        PublisherList,
        LOOKERS,
        "Who publishes by WebRTC, and how loud: of all gateways.",
    ),
    _command(
        "webrtc-gateway",
        "local-publishers",
        ListPublishers,
        PublisherList,
        ("webrtc-gateway", "cli"),
        "Who publishes at the gateway of one node.",
        _PLACEHOLDER.format("node"),
    ),
    _command(
        "webrtc-gateway",
        "local-sessions",
        ListSessions,
        SessionList,
        ("webrtc-gateway", "cli"),
        "WebRTC sessions of the gateway of one node.",
        _PLACEHOLDER.format("node"),
    ),
    _command(
        "webrtc-gateway",
        "local-stats",
        SessionStatsRequest,
        SessionStats,
        ("webrtc-gateway", "cli"),
        "The statistics of a session of that gateway.",
        _PLACEHOLDER.format("node"),
    ),
    _command(
        "webrtc-gateway",
        "local-kick",
        KickSessions,
        KickedSessions,
        ("webrtc-gateway", "cli"),
        "End sessions of that gateway.",
        _PLACEHOLDER.format("node"),
    ),
    _command(
        "webrtc-gateway",
        "give-way",
        GiveWay,
        GaveWay,
        ("webrtc-gateway",),
        "Let another gateway publish a stream whose publisher has gone.",
        _PLACEHOLDER.format("node"),
    ),
    _command(
        "frame-extractor", "submit", SubmitJob, Submitted, ("cli", "writer", "client"), "Take pictures out of a video."
    ),
    _command("frame-extractor", "poll", PollJob, JobReply, LOOKERS, "A job, and its pictures once it is completed."),
    _command("frame-extractor", "cancel", CancelJob, JobReply, ("cli", "writer", "client"), "End a job."),
    _command("frame-extractor", "list", ListJobs, JobList, LOOKERS, "Jobs, the newest first."),
    _command(
        "frame-extractor",
        "fetch",
        FetchJobPicture,
        JobPicture,
        LOOKERS,
        "A picture of a completed job, from its place.",
    ),
    _command("frame-extractor", "usage", GetUsage, UsageReply, LOOKERS, "Pictures per owner and day."),
    _command(
        "frame-extractor", "picture", TakePicture, TakenPicture, LOOKERS, "The picture of a stream nearest to a moment."
    ),
    _command(
        "frame-extractor",
        "local-picture",
        TakePicture,
        TakenPicture,
        ("frame-extractor",),
        "The same, of what that node has in memory.",
        _PLACEHOLDER.format("node"),
    ),
    _command(
        "frame-extractor",
        "start-sample",
        StartSample,
        SampleChanged,
        ("cli", "writer"),
        "Take pictures of a stream again and again.",
    ),
    _command("frame-extractor", "stop-sample", StopSample, SampleChanged, ("cli", "writer"), "Take no more of them."),
    _command(
        "frame-extractor", "samples", ListResources, SampleList, LOOKERS, "Samples, as asked for and as they are."
    ),
    _command("cloud-mix-proxy", "create", CreateMix, MixChanged, _MIXERS, "Make a stream of others."),
    _command("cloud-mix-proxy", "update", UpdateMix, MixChanged, _MIXERS, "Change a mix while it runs."),
    _command("cloud-mix-proxy", "delete", DeleteMix, MixChanged, _MIXERS, "End a mix."),
    _command("cloud-mix-proxy", "get", GetMix, MixEntry, LOOKERS, "A mix, as asked for and as it is."),
    _command("cloud-mix-proxy", "list", ListMixes, MixList, LOOKERS, "Mixes, as asked for and as they are."),
    _command("cloud-mix-proxy", "tasks", ListMixTasks, MixTaskList, LOOKERS, "CloudMix tasks, and their callbacks."),
    _command("io-signal", "start", StartSignal, SignalChanged, ("cli", "writer"), "Set an output up, or change it."),
    _command("io-signal", "stop", StopSignal, SignalChanged, ("cli", "writer"), "Let go of an output."),
    _command("io-signal", "start-input", StartInput, InputChanged, ("cli", "writer"), "Listen to an input."),
    _command("io-signal", "stop-input", StopInput, InputChanged, ("cli", "writer"), "Listen no more."),
    _command("io-signal", "start-rule", StartRule, RuleChanged, ("cli", "writer"), "Act on events."),
    _command("io-signal", "stop-rule", StopRule, RuleChanged, ("cli", "writer"), "Act on them no more."),
    _command("io-signal", "test-rule", DryRunRule, RuleTested, LOOKERS, "What a rule would do with an event."),
    _command("io-signal", "list", ListSignals, SignalList, LOOKERS, "Outputs, inputs and rules."),
    _command("io-signal", "on", SetSignal, SignalSet, _SIGNALLERS, "Set an output."),
    _command("io-signal", "off", ClearSignal, SignalSet, _SIGNALLERS, "Clear an output."),
    _command("io-signal", "pulse", PulseSignal, SignalSet, _SIGNALLERS, "Set an output for a while."),
    _command("io-signal", "off-mode", OffMode, OffModeReply, _SIGNALLERS, "All outputs to their safe states."),
    _command("io-signal", "tcp-setting", GetTcpSetting, TcpSetting, LOOKERS, "Where the signals of a camera go."),
    _command("io-signal", "tcp-send", SendTcp, TcpSent, _SIGNALLERS, "Send a text to a device."),
    _command("io-signal", "io-send", SendIo, IoSent, _SIGNALLERS, "Write a text into a control file."),
    _command(
        "io-signal",
        "on",
        SetSignal,
        SignalSet,
        _SIGNALLERS,
        "Set an output; only its owner answers.",
        _PLACEHOLDER.format("signal"),
        "signal-on",
    ),
    _command(
        "io-signal",
        "off",
        ClearSignal,
        SignalSet,
        _SIGNALLERS,
        "Clear an output; only its owner answers.",
        _PLACEHOLDER.format("signal"),
        "signal-off",
    ),
    _command(
        "io-signal",
        "pulse",
        PulseSignal,
        SignalSet,
        _SIGNALLERS,
        "Set an output for a while; only its owner answers.",
        _PLACEHOLDER.format("signal"),
        "signal-pulse",
    ),
    _command(
        "io-signal",
        "tcp-send",
        SendTcp,
        TcpSent,
        _SIGNALLERS,
        "Send a text to an output's device; only its owner answers.",
        _PLACEHOLDER.format("signal"),
        "signal-send",
    ),
    _command(
        "io-signal",
        "local-io-send",
        SendIo,
        IoSent,
        ("io-signal",),
        "The same as `io-send`, on one node.",
        _PLACEHOLDER.format("node"),
    ),
    _command(
        "io-signal",
        "local-off-mode",
        OffMode,
        OffModeReply,
        ("io-signal",),
        "The same as `off-mode`, of one node.",
        _PLACEHOLDER.format("node"),
    ),
)

_JOBS = (
    Channel(
        name="jobs",
        address=subjects.job_tasks(),
        semantics="work-queue",
        payload=JobTask,
        senders=("frame-extractor",),
        receivers=("frame-extractor",),
        summary=f"Jobs that wait for a worker; kept in the stream `{subjects.JOBS_STREAM}`.",
        stream=subjects.JOBS_STREAM,
        consumer=subjects.JOBS_CONSUMER,
    ),
    Channel(
        name="mix-callbacks",
        address=subjects.mix_callbacks(),
        semantics="work-queue",
        payload=CallbackItem,
        senders=("cloud-mix-proxy",),
        receivers=("cloud-mix-proxy",),
        summary="Notices of CloudMix tasks that wait for delivery; kept in the stream "
        f"`{subjects.MIX_CALLBACKS_STREAM}`.",
        stream=subjects.MIX_CALLBACKS_STREAM,
        consumer=subjects.MIX_CALLBACKS_CONSUMER,
    ),
)

_EVENTS = (
    Channel(
        name="events",
        address=_template(subjects.event, "service", "id", "event"),
        semantics="jetstream",
        payload=Event,
        senders=(*RUNNING_SERVICES, *_APPLICATIONS),
        receivers=("webrtc-gateway", "frame-extractor", "io-signal", "writer", "client", "cli", "console"),
        summary=f"What happened to a resource; kept in the stream `{subjects.EVENTS_STREAM}`.",
        bound={service: {"service": service} for service in RUNNING_SERVICES}
        | {application: {"service": "app"} for application in _APPLICATIONS},
    ),
)

_STATE = (
    _state(subjects.DESIRED_BUCKET, "capture", "", StreamSpec, "Streams that shall be."),
    _state(subjects.DESIRED_BUCKET, "hw-encode", "rendition", RenditionSpec, "Renditions that shall be."),
    _state(subjects.DESIRED_BUCKET, "publisher", "output", OutputSpec, "Outputs that shall be."),
    _state(subjects.DESIRED_BUCKET, "frame-extractor", "sample", SampleSpec, "Samples that shall be."),
    _state(subjects.DESIRED_BUCKET, "cloud-mix-proxy", "mix", MixSpec, "Mixes that shall be."),
    _state(subjects.DESIRED_BUCKET, "io-signal", "signal", SignalSpec, "Signals that shall be.", SIGNAL_STATES),
    _state(subjects.DESIRED_BUCKET, "io-signal", "input", InputSpec, "Inputs that shall be.", INPUT_STATES),
    _state(subjects.DESIRED_BUCKET, "io-signal", "rule", RuleSpec, "Rules that shall be.", RULE_STATES),
    _state(subjects.ACTUAL_BUCKET, "capture", "", StreamActual, "Streams as they are."),
    _state(subjects.ACTUAL_BUCKET, "hw-encode", "rendition", RenditionActual, "Renditions as they are."),
    _state(subjects.ACTUAL_BUCKET, "publisher", "output", OutputActual, "Outputs as they are."),
    _state(subjects.ACTUAL_BUCKET, "frame-extractor", "sample", SampleActual, "Samples as they are."),
    _state(subjects.ACTUAL_BUCKET, "cloud-mix-proxy", "mix", MixActual, "Mixes as they are."),
    _state(subjects.ACTUAL_BUCKET, "io-signal", "signal", SignalActual, "Signals as they are.", SIGNAL_STATES),
    _state(subjects.ACTUAL_BUCKET, "io-signal", "input", InputActual, "Inputs as they are.", INPUT_STATES),
    _state(subjects.ACTUAL_BUCKET, "io-signal", "rule", RuleActual, "Rules as they are.", RULE_STATES),
    Channel(
        name="demand",
        address=kv_subject(
            subjects.DEMAND_BUCKET, _template(subjects.demand_key, "node", "stream", "rendition", "consumer")
        ),
        semantics="kv",
        payload=None,
        encoding="empty",
        senders=(
            "hw-encode",
            "publisher",
            "webrtc-gateway",
            "frame-extractor",
            "cloud-mix-proxy",
            "io-signal",
            "writer",
            "transformer",
            "client",
        ),
        receivers=("capture", "hw-encode", "cloud-mix-proxy", "writer", "transformer"),
        summary="Somebody needs this; forgotten when it is not refreshed.",
        bucket=subjects.DEMAND_BUCKET,
        read="watch",
        bound={
            "hw-encode": {"rendition": subjects.RAW},
            "frame-extractor": {"rendition": subjects.RAW},
            "cloud-mix-proxy": {"rendition": subjects.RAW},
            "io-signal": {"rendition": subjects.RAW},
        },
    ),
    Channel(
        name="presence",
        address=kv_subject(subjects.PRESENCE_BUCKET, _template(subjects.presence_key, "service", "node")),
        semantics="kv",
        payload=Presence,
        senders=RUNNING_SERVICES,
        receivers=OBSERVERS,
        summary="A service runs on a node; forgotten when it is not refreshed.",
        bucket=subjects.PRESENCE_BUCKET,
        read="watch",
        bound={service: {"service": service} for service in RUNNING_SERVICES},
    ),
    Channel(
        name="claims",
        address=kv_subject(subjects.CLAIM_BUCKET, _template(subjects.claim_key, "stream")),
        semantics="kv",
        payload=PublishClaim,
        senders=("webrtc-gateway",),
        receivers=("webrtc-gateway",),
        summary="The gateway that publishes the stream; forgotten when it is not refreshed.",
        bucket=subjects.CLAIM_BUCKET,
        read="get",
        compare_and_set=True,
    ),
    _job_keys(
        "jobs.record", subjects.JOBS_BUCKET, subjects.job_key, ("job",), JobRecord, "A job, for three days.", "watch"
    ),
    _job_keys(
        "jobs.key", subjects.JOBS_BUCKET, subjects.job_name_key, ("owner", "digest"), None, "The job of an owner's key."
    ),
    _job_keys(
        "job-pages",
        subjects.JOB_PAGES_BUCKET,
        subjects.job_page_key,
        ("job", "attempt", "page"),
        None,
        "A part of a job's list of pictures (`ExtractedFrame`), JSON, compressed with zlib.",
    ),
    _keys(
        subjects.SAMPLES_BUCKET,
        "frame-extractor",
        subjects.state_key("frame-extractor", _id("sample")),
        SampleClaim,
        "The last picture that a sample takes.",
        receivers=("frame-extractor",),
        read="get",
        compare_and_set=True,
    ),
    _job_keys(
        "usage", subjects.USAGE_BUCKET, subjects.usage_key, ("owner", "day"), UsageRecord, "What owners had.", "watch"
    ),
    _job_keys(
        "mix-tasks.record",
        subjects.MIX_TASKS_BUCKET,
        subjects.mix_task_key,
        ("task",),
        TaskRecord,
        "A CloudMix task, for a week after its end.",
        "watch",
        service="cloud-mix-proxy",
    ),
    _job_keys(
        "mix-tasks.name",
        subjects.MIX_TASKS_BUCKET,
        subjects.mix_task_name_key,
        ("owner", "digest"),
        NameHolder,
        "The task that has a name among an owner's that are not done; both as digests.",
        service="cloud-mix-proxy",
    ),
    _job_keys(
        "mix-tasks.callback",
        subjects.MIX_TASKS_BUCKET,
        subjects.mix_callback_key,
        ("task",),
        CallbackState,
        "How the notices of a task have fared.",
        service="cloud-mix-proxy",
    ),
    _job_keys(
        "mix-leases",
        subjects.MIX_LEASES_BUCKET,
        subjects.mix_lease_key,
        ("task",),
        None,
        "The node that keeps a task going; forgotten when it is not refreshed.",
        service="cloud-mix-proxy",
    ),
    _epoch(("capture", "cloud-mix-proxy", "writer"), "", "The stream's last epoch, decimal."),
    _epoch(("hw-encode", "transformer"), "rendition", "The last run of the rendition's packets, decimal."),
    _secret("capture", "", "Full URL of a source that has credentials."),
    _job_secret(),
    _secret("cloud-mix-proxy", "mix", "Full URLs of a mix's inputs and logos that have credentials, as JSON."),
    _secret("publisher", "output", "Full URL of a destination that has credentials or a stream key."),
)

CHANNELS: tuple[Channel, ...] = (*_MEDIA, *_COMMANDS, *_EVENTS, *_JOBS, *_STATE)


def message_types() -> tuple[type[Struct], ...]:
    """Every Struct that is a message of its own, in the order of the table."""
    found: dict[type[Any], None] = {}
    for item in CHANNELS:
        for kind in (item.payload, item.reply):
            if kind is not None:
                found[kind] = None
    return tuple(found)
