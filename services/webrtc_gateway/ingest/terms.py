"""What a publisher and the gateway have agreed on, however they did it."""

from collections.abc import Mapping
from dataclasses import dataclass

from aiortc.rtcdtlstransport import RTCDtlsFingerprint

from schemas.packets import Track, VideoCodec
from services.webrtc_gateway.datachannels.section import DataSection


@dataclass(frozen=True)
class LayerTerms:
    """Of video that comes in several sizes at once (simulcast), each in packets of its own."""

    renditions: Mapping[str, str]
    """By rid, in the publisher's order: the rendition of the stream that the layer is."""
    rid_id: int
    """Of the header extension that names a packet's layer."""
    repaired_rid_id: int | None
    """Of that on packets which are sent again in a stream of their own."""


@dataclass(frozen=True)
class TrackTerms:
    """One track that the publisher sends."""

    track: Track
    codec: VideoCodec | None
    """Of video."""
    mid: str
    payload_type: int
    clock_hz: int
    repair_type: int | None = None
    """Payload type of RFC 4588, where lost packets come again in a stream of their own."""
    capture_time_id: int | None = None
    """Id of abs-capture-time."""
    audio_level_id: int | None = None
    """Id of ssrc-audio-level (RFC 6464), of sound."""
    feedback: frozenset[str] = frozenset()
    """What of `nack`, `nack pli`, `ccm fir`, `goog-remb` is understood."""
    layers: LayerTerms | None = None
    extradata: bytes = b""
    """Annex B parameter sets that came with the signalling, for senders that leave them out of their packets."""


@dataclass(frozen=True)
class SessionTerms:
    tracks: tuple[TrackTerms, ...]
    fingerprints: list[RTCDtlsFingerprint]
    data: DataSection | None = None
    """The publisher's side of data channels; None: there are none."""
