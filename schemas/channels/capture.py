"""Commands of capture."""

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
from schemas.channels.building import PLACEHOLDER, command, stream_id
from schemas.channels.parties import LOOKERS
from schemas.commands import (
    KeyFrameReply,
    KeyFrameRequest,
    ListResources,
    StartStream,
    StopStream,
    StreamChanged,
    StreamList,
)

COMMANDS = (
    command(
        "capture",
        "start",
        StartStream,
        StreamChanged,
        ("cli", "writer", "webrtc-gateway", "cloud-mix-proxy"),
        "Make or change a stream.",
    ),
    command(
        "capture",
        "stop",
        StopStream,
        StreamChanged,
        ("cli", "writer", "webrtc-gateway", "cloud-mix-proxy"),
        "Remove a stream.",
    ),
    command("capture", "list", ListResources, StreamList, LOOKERS, "Streams, as asked for and as they are."),
    command(
        "capture",
        "snapshot",
        SnapshotRequest,
        Snapshot,
        LOOKERS,
        "The newest picture as a file; only the stream's owner answers.",
        stream_id(),
    ),
    command(
        "capture",
        "stats",
        StatsRequest,
        StreamStats,
        LOOKERS,
        "Rates, sizes and drops, measured at this moment.",
        stream_id(),
    ),
    command(
        "capture",
        "configure",
        ConfigureStream,
        StreamChanged,
        ("cli", "writer"),
        "Hold a profile against what the camera can do, and take it on.",
        stream_id(),
    ),
    command(
        "capture", "trigger", TriggerRequest, TriggerReply, ("cli", "writer", "client"), "Take a picture.", stream_id()
    ),
    command(
        "capture",
        "keyframe",
        KeyFrameRequest,
        KeyFrameReply,
        ("publisher", "webrtc-gateway", "hw-encode", "writer", "transformer", "client", "cli"),
        "Ask the source for a key picture, where it makes them when asked.",
        stream_id(),
    ),
    command(
        "capture", "restart", RestartRequest, RestartReply, ("cli", "writer"), "Open the source anew.", stream_id()
    ),
    command("capture", "ptz", PtzRequest, PtzStatus, ("cli", "writer"), "Move a camera that can.", stream_id()),
    command(
        "capture",
        "devices",
        ListDevices,
        DeviceList,
        LOOKERS,
        "The cameras of one node, plugged in or announced.",
        PLACEHOLDER.format("node"),
    ),
)
