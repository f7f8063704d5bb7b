"""A viewer's statistics under W3C's names (https://www.w3.org/TR/webrtc-stats/)."""

from schemas.sessions import (
    AnyStats,
    CandidatePairStats,
    CodecStats,
    OutboundRtpStats,
    RemoteInboundRtpStats,
    SessionStats,
    TransportStats,
)
from services.webrtc_gateway.sent_track import SentTrack
from services.webrtc_gateway.viewer import Viewer

_TRANSPORT = "T"  # everything is bundled: there is one
_PAIR = "P"


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
    return SessionStats(info=viewer.info, stats=tuple(stats))


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
