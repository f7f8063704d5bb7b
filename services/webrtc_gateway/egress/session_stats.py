"""A viewer's statistics under W3C's names (https://www.w3.org/TR/webrtc-stats/)."""

from schemas.sessions import (
    AnyStats,
    CandidatePairStats,
    CodecStats,
    OutboundRtpStats,
    RemoteInboundRtpStats,
    SessionInfo,
    SessionStats,
    TransportStats,
)
from services.webrtc_gateway.egress.sent_track import SentTrack
from services.webrtc_gateway.egress.viewer import Viewer

_TRANSPORT = "T"  # everything is bundled: there is one
_PAIR = "P"


def session_info(viewer: Viewer, now_s: float) -> SessionInfo:
    """One line of the list of sessions; `now_s` in monotonic seconds."""
    track = viewer.tracks[0] if viewer.tracks else None
    report = track.tally.report if track else None
    rtt_s = track.tally.rtt_s if track else None
    refused, latency = viewer.refused, viewer.latency
    pictures = next((report for report in viewer.reported[1] if report.get("kind") == "video"), {})
    return SessionInfo(
        session=viewer.session,
        stream=viewer.feed.stream,
        rendition=viewer.rendition,
        instead_of=refused.rendition if refused else "",
        reason=refused.why if refused else "",
        state=viewer.state,
        packets_sent=viewer.packets_sent,
        bytes_sent=viewer.bytes_sent,
        connected_ns=viewer.connected_ns,
        kind=viewer.kind,
        client=viewer.client,
        address=viewer.address,
        bitrate=viewer.line.bitrate_bps,
        available_bitrate=viewer.line.estimate_bps(now_s),
        fraction_lost=viewer.line.fraction_lost,
        rtt_ms=None if rtt_s is None else round(rtt_s * 1e3, 1),
        jitter_ms=None if report is None or track is None else round(report.jitter / track.rtp.clock_rate_hz * 1e3, 1),
        switches=viewer.switches,
        thin=viewer.thin,
        keys_only=viewer.keys_only,
        latency_ms=latency.median_ms,
        latency_last_ms=latency.last_ms,
        latency_source=latency.source,
        join_ms=viewer.join_ms,
        picture_ms=latency.picture_ms,
        shown_fps=_number(pictures.get("framesPerSecond")),
        freezes=_count(pictures.get("freezeCount")),
    )


def session_stats(viewer: Viewer, now_ns: int, now_s: float) -> SessionStats:
    """What is known of one viewer at `now_ns` of CLOCK_REALTIME and `now_s` of the monotonic clock.

    Ids stay the same for the life of the session.
    """
    at_ms = now_ns / 1e6
    stats: list[AnyStats] = []
    for track in viewer.tracks:
        stats += _track(viewer, track, at_ms)
    connected = viewer.connected_ns > 0
    chosen = viewer.ice.address is not None
    stats.append(
        TransportStats(
            id=_TRANSPORT,
            timestamp=at_ms,
            packets_sent=viewer.packets_sent,
            bytes_sent=viewer.bytes_sent,
            ice_state="connected" if chosen else "checking",
            dtls_state="connected" if connected else "connecting" if chosen else "new",
            selected_candidate_pair_id=_PAIR if chosen else "",
        )
    )
    if chosen:
        tally = viewer.tracks[0].tally if viewer.tracks else None
        stats.append(
            CandidatePairStats(
                id=_PAIR,
                timestamp=at_ms,
                state="succeeded",
                nominated=True,
                packets_sent=viewer.packets_sent,
                bytes_sent=viewer.bytes_sent,
                current_round_trip_time=tally.rtt_s if tally else None,
                available_outgoing_bitrate=viewer.line.estimate_bps(now_s),
            )
        )
    reported_ns, reported = viewer.reported
    return SessionStats(
        info=session_info(viewer, now_s), stats=tuple(stats), reported_ns=reported_ns, reported=reported
    )


def _number(told: object) -> float | None:
    """A client tells what it likes; `true` is a number too, in Python."""
    return float(told) if isinstance(told, int | float) and not isinstance(told, bool) else None


def _count(told: object) -> int | None:
    return told if isinstance(told, int) and not isinstance(told, bool) else None


def _track(viewer: Viewer, track: SentTrack, at_ms: float) -> list[AnyStats]:
    rtp, tally, kind = track.rtp, track.tally, track.kind
    codec_id, local_id, remote_id = f"C{rtp.payload_type}", f"O{kind}", f"R{kind}"
    stats: list[AnyStats] = [
        CodecStats(
            id=codec_id,
            timestamp=at_ms,
            payload_type=rtp.payload_type,
            mime_type=track.mime_type,
            clock_rate=rtp.clock_rate_hz,
        ),
        OutboundRtpStats(
            id=local_id,
            timestamp=at_ms,
            kind=kind,
            ssrc=rtp.ssrc,
            mid=track.mid,
            codec_id=codec_id,
            remote_id=remote_id if tally.report else "",
            packets_sent=rtp.packets + tally.retransmitted,
            bytes_sent=rtp.octets,
            retransmitted_packets_sent=tally.retransmitted,
            nack_count=tally.nacks,
            pli_count=tally.plis,
            fir_count=tally.firs,
            frames_sent=tally.frames if kind == "video" else 0,
            key_frames_sent=tally.keys if kind == "video" else 0,
            quality_limitation_reason="bandwidth" if viewer.thin and kind == "video" else "none",
        ),
    ]
    if tally.report is not None:
        stats.append(
            RemoteInboundRtpStats(
                id=remote_id,
                timestamp=tally.reported_ns / 1e6,
                kind=kind,
                ssrc=rtp.ssrc,
                local_id=local_id,
                codec_id=codec_id,
                packets_lost=tally.report.packets_lost,
                fraction_lost=tally.report.fraction_lost,
                jitter=tally.report.jitter / rtp.clock_rate_hz,
                round_trip_time=tally.rtt_s,
                total_round_trip_time=tally.rtt_sum_s,
                round_trip_time_measurements=tally.rtt_count,
            )
        )
    return stats
