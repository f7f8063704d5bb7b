"""WebRTC sessions: who watches or sends, how that goes, and how to end it.

Statistics have the names, units and ids of W3C's webrtc-stats, so that what is known of browsers' `getStats()` holds
here too: times in seconds, `timestamp` in milliseconds since 1970.
"""

from typing import Annotated, Literal

from msgspec import Meta, Struct

from schemas.ids import Id

SessionKind = Literal["whep", "whip", "sora"]


class SessionInfo(Struct, frozen=True, kw_only=True):
    """One WebRTC session."""

    session: str
    stream: Id
    rendition: Id
    """What is sent at this moment."""
    instead_of: str = ""
    """The rendition that was asked for, when viewers cannot take it."""
    reason: str = ""
    """Why they cannot: its codec, or its B-frames."""
    state: str
    packets_sent: int = 0
    bytes_sent: int = 0
    connected_ns: int = 0
    kind: SessionKind = "whep"
    client: str = ""
    """The program at the other end, as it names itself, shortened."""
    address: str = ""
    """Where it is, without its port; only with the setting `show_addresses`."""
    bitrate: int = 0
    """bit/s sent during the last second, retransmissions and RTP headers included."""
    available_bitrate: int | None = None
    """bit/s that the line carries: measured where the other end tells of each packet's arrival; else as it estimates
    (REMB), far too little where it cannot tell."""
    fraction_lost: float = 0.0
    """Of video packets, as last reported; 0 to 1."""
    rtt_ms: float | None = None
    jitter_ms: float | None = None
    switches: int = 0
    """How often the rendition was changed for a line that had become too thin, or carried more again."""
    thin: str = ""
    """Why less is sent than was asked for: `loss` or `delay`."""
    keys_only: bool = False
    """The line does not even carry the smaller rendition: only its key pictures are sent."""
    latency_ms: float | None = None
    """From capture of a picture to its presentation, as the page echoes: median of the last half minute."""
    latency_last_ms: float | None = None
    latency_source: str = ""
    """What they were measured by: `timecode`, burnt into the picture, or `capture`, which travels beside it."""
    join_ms: float | None = None
    """From the offer to the first key picture on its way."""
    picture_ms: float | None = None
    """From the offer to the first picture on screen, as the page echoes."""
    shown_fps: float | None = None
    """Pictures a second that the client decodes, as it tells in its statistics."""
    freezes: int | None = None
    """How often they stood still, as it tells."""
    node: str = ""
    """Of its gateway."""
    gateway: str = ""
    """The gateway's instance: another one after each start."""


class ListSessions(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """webrtc-gateway.sessions: those of every gateway; optionally of one stream."""

    stream: Id | None = None


class SessionList(Struct, frozen=True, kw_only=True):
    sessions: tuple[SessionInfo, ...]
    unanswered: tuple[str, ...] = ()
    """Nodes of gateways that did not answer in time: theirs are not listed."""


class KickSessions(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """webrtc-gateway.kick: end one session, or all of a stream; give one of the two."""

    session: str | None = None
    """Its id, or the first characters of it that no other session has."""
    stream: Id | None = None
    reason: Annotated[str, Meta(max_length=200, description="for the log and the event")] = ""


class KickedSessions(Struct, frozen=True, kw_only=True):
    sessions: tuple[str, ...]
    unanswered: tuple[str, ...] = ()
    """Nodes of gateways that did not answer in time: theirs may go on."""


class SessionStatsRequest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """webrtc-gateway.stats: what is known of one session."""

    session: str
    """Its id, or the first characters of it that no other session has."""


class Stats(Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel", tag_field="type"):
    """What every statistics object has."""

    id: str
    timestamp: float
    """Milliseconds since 1970."""


class CodecStats(Stats, frozen=True, kw_only=True, tag="codec"):
    payload_type: int
    mime_type: str
    clock_rate: int
    transport_id: str = "T"


class OutboundRtpStats(Stats, frozen=True, kw_only=True, tag="outbound-rtp"):
    """One track that we send."""

    kind: str
    ssrc: int
    mid: str = ""
    codec_id: str = ""
    transport_id: str = "T"
    remote_id: str = ""
    packets_sent: int = 0
    bytes_sent: int = 0
    """Payload bytes; headers are not counted."""
    retransmitted_packets_sent: int = 0
    nack_count: int = 0
    """Of feedback messages that asked for packets again."""
    pli_count: int = 0
    fir_count: int = 0
    frames_sent: int = 0
    key_frames_sent: int = 0
    quality_limitation_reason: str = "none"
    """`bandwidth` while a smaller rendition is sent than was asked for."""


class RemoteInboundRtpStats(Stats, frozen=True, kw_only=True, tag="remote-inbound-rtp"):
    """How a track of ours arrives, as the other end reports."""

    kind: str
    ssrc: int
    local_id: str = ""
    codec_id: str = ""
    transport_id: str = "T"
    packets_lost: int = 0
    fraction_lost: float = 0.0
    jitter: float = 0.0
    round_trip_time: float | None = None
    total_round_trip_time: float = 0.0
    round_trip_time_measurements: int = 0


class InboundRtpStats(Stats, frozen=True, kw_only=True, tag="inbound-rtp"):
    """One track that we receive."""

    kind: str
    ssrc: int
    mid: str = ""
    codec_id: str = ""
    transport_id: str = "T"
    packets_received: int = 0
    bytes_received: int = 0
    packets_lost: int = 0
    jitter: float = 0.0
    nack_count: int = 0
    pli_count: int = 0
    frames_received: int = 0


class TransportStats(Stats, frozen=True, kw_only=True, tag="transport"):
    packets_sent: int = 0
    bytes_sent: int = 0
    ice_role: str = "controlled"
    ice_state: str = "new"
    dtls_state: str = "new"
    dtls_role: str = "server"
    selected_candidate_pair_id: str = ""


class CandidatePairStats(Stats, frozen=True, kw_only=True, tag="candidate-pair"):
    transport_id: str = "T"
    state: str = "waiting"
    nominated: bool = False
    packets_sent: int = 0
    bytes_sent: int = 0
    current_round_trip_time: float | None = None
    available_outgoing_bitrate: float | None = None
    """bit/s."""


AnyStats = CodecStats | OutboundRtpStats | RemoteInboundRtpStats | InboundRtpStats | TransportStats | CandidatePairStats


class SessionStats(Struct, frozen=True, kw_only=True):
    """Reply to webrtc-gateway.stats."""

    info: SessionInfo
    stats: tuple[AnyStats, ...]
    reported_ns: int = 0
    """When the client told of its side, CLOCK_REALTIME; 0: it does not."""
    reported: tuple[dict[str, str | int | float | bool], ...] = ()
    """What it told of the tracks that it gets: its own `inbound-rtp`."""
