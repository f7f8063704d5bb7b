"""Pictures, sound and packets on their way."""

from schemas import subjects
from schemas.channel import Channel
from schemas.channels.building import template
from schemas.commands import KeyFrameRequest
from schemas.frames import AudioHeader, FrameAck, FrameRef
from schemas.ingest import IngestSession
from schemas.packets import PacketHeader
from schemas.picture_values import PictureValues

MEDIA = (
    Channel(
        name="frames",
        address=template(subjects.frames, "node", "stream"),
        semantics="latest-wins",
        payload=FrameRef,
        senders=("capture", "cloud-mix-proxy", "writer"),
        receivers=("capture", "hw-encode", "frame-extractor", "cloud-mix-proxy", "io-signal", "client"),
        summary="A picture is in the ring; of use on its own node only.",
    ),
    Channel(
        name="meta",
        address=template(subjects.picture_values, "node", "stream"),
        semantics="at-most-once",
        payload=PictureValues,
        senders=("io-signal",),
        receivers=("capture",),
        summary="Values of inputs, for the references of the pictures captured since.",
    ),
    Channel(
        name="audio",
        address=template(subjects.audio, "node", "stream"),
        semantics="at-most-once",
        payload=AudioHeader,
        encoding="msgpack+bytes",
        senders=("capture", "cloud-mix-proxy"),
        receivers=("hw-encode", "cloud-mix-proxy", "client"),
        summary="A block of raw sound, 48 kHz, s16, interleaved.",
    ),
    Channel(
        name="ack",
        address=template(subjects.ack, "node", "stream"),
        semantics="at-most-once",
        payload=FrameAck,
        senders=("hw-encode", "client"),
        receivers=("writer",),
        summary="Credit of a lossless stream's consumer; cumulative.",
    ),
    Channel(
        name="packets",
        address=template(subjects.packets, "stream", "rendition", "track"),
        semantics="at-most-once",
        payload=PacketHeader,
        encoding="msgpack+bytes",
        senders=("capture", "hw-encode", "transformer"),
        receivers=("publisher", "webrtc-gateway", "client", "writer", "transformer"),
        summary="An access unit, or a part of a large one.",
    ),
    Channel(
        name="ingest",
        address=template(subjects.ingest, "node", "stream", "track"),
        semantics="at-most-once",
        payload=PacketHeader,
        encoding="msgpack+bytes",
        senders=("webrtc-gateway",),
        receivers=("capture",),
        summary="An access unit of a whip:// stream's publisher, or a part of a large one.",
    ),
    Channel(
        name="ingest-session",
        address=template(subjects.ingest_session, "node", "stream"),
        semantics="at-most-once",
        payload=IngestSession,
        senders=("webrtc-gateway",),
        receivers=("capture",),
        summary="A whip:// stream has a publisher, once a second; or has none any more.",
    ),
    Channel(
        name="ingest-key-frame",
        address=template(subjects.ingest_key_frame, "node", "stream"),
        semantics="at-most-once",
        payload=KeyFrameRequest,
        senders=("capture",),
        receivers=("webrtc-gateway",),
        summary="The publisher shall make a key picture.",
    ),
)
