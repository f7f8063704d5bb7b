"""Commands of hw-encode."""

from schemas.channels.building import PLACEHOLDER, command, stream_id
from schemas.channels.parties import LOOKERS
from schemas.commands import (
    KeyFrameReply,
    KeyFrameRequest,
    ListResources,
    RenditionChanged,
    RenditionList,
    RenditionStats,
    RenditionStatsRequest,
    StartRendition,
    StopRendition,
)
from schemas.stills import EncodedPicture, EncodePicture

COMMANDS = (
    command(
        "hw-encode",
        "start",
        StartRendition,
        RenditionChanged,
        ("cli", "writer", "transformer", "webrtc-gateway", "cloud-mix-proxy"),
        "Make or change a rendition.",
    ),
    command(
        "hw-encode",
        "stop",
        StopRendition,
        RenditionChanged,
        ("cli", "writer", "transformer", "cloud-mix-proxy"),
        "Remove a rendition.",
    ),
    command("hw-encode", "list", ListResources, RenditionList, LOOKERS, "Renditions, as asked for and as they are."),
    command(
        "hw-encode",
        "keyframe",
        KeyFrameRequest,
        KeyFrameReply,
        ("publisher", "webrtc-gateway", "hw-encode", "writer", "transformer", "client", "cli"),
        "Make the next picture an IDR; only the rendition's owner answers.",
        stream_id("rendition"),
    ),
    command(
        "hw-encode",
        "stats",
        RenditionStatsRequest,
        RenditionStats,
        LOOKERS,
        "What a rendition has encoded; only its owner answers.",
        stream_id("rendition"),
    ),
    command(
        "hw-encode",
        "pic-encode",
        EncodePicture,
        EncodedPicture,
        LOOKERS,
        "A picture as an image file.",
        PLACEHOLDER.format("node"),
    ),
)
