"""One WebRTC viewer: connects, starts on a key frame, and is never waited for."""

import logging
import secrets
import struct
import time
from collections import deque
from collections.abc import Callable
from typing import Literal

from schemas.sessions import SessionInfo
from services.webrtc_gateway.counters import EgressCounters
from services.webrtc_gateway.dtls import DtlsIdentity, DtlsServer
from services.webrtc_gateway.fanout import FRESH_GROUP_SECONDS, RenditionFeed
from services.webrtc_gateway.ice import IcePeer, SharedIceTransport
from services.webrtc_gateway.offer import Offer
from services.webrtc_gateway.packetizer import RtpUnit
from services.webrtc_gateway.rtcp import parse_feedback
from services.webrtc_gateway.sender import MediaSender
from services.webrtc_gateway.source import NotViewable
from services.webrtc_gateway.srtp import BATCH_PACKETS, PacketBatch, SrtpError, SrtpReceiver, SrtpSender

logger = logging.getLogger(__name__)

ViewerState = Literal["connecting", "waiting", "playing", "closed"]

CONNECT_SECONDS = 15.0  # ICE and DTLS together; a browser needs 0.1 s, a slow path a few seconds
MAX_BACKLOG_PACKETS = 4096  # a group of pictures as long as the feed keeps; more means the path is too slow


class Viewer:
    """State, tracks and transport of one session; `on_closed` is called once, with the reason."""

    def __init__(
        self,
        *,
        session: str,
        rendition: str,
        refused: NotViewable | None,
        feed: RenditionFeed,
        offer: Offer,
        transport: SharedIceTransport,
        batch: PacketBatch,
        identity: DtlsIdentity,
        counters: EgressCounters,
        on_closed: Callable[["Viewer", str], None],
    ) -> None:
        self.session = session
        self.cname = secrets.token_hex(8)  # ties sound and pictures together; tells nothing about the session
        self.feed = feed
        self.rendition, self._refused = rendition, refused
        self.state: ViewerState = "connecting"
        self.ice = IcePeer(self)
        self.fraction_lost = 0.0
        """Of video packets, as the viewer last reported; 0 to 1."""
        self.connected_ns = 0
        self._video, self._audio = offer.track("video"), offer.track("audio")
        self._transport, self._counters, self._on_closed = transport, counters, on_closed
        self._sender = MediaSender(transport, self.ice, batch, self.cname, counters)
        self._dtls = DtlsServer(identity, offer.fingerprints, self._sender.send_plain, self._keys_ready, self.close)
        self._srtp_in: SrtpReceiver | None = None
        self._backlog: deque[tuple[RtpUnit, int]] = deque()
        self._backlog_packets = 0
        self._created_s = time.monotonic()

    @property
    def info(self) -> SessionInfo:
        return SessionInfo(
            session=self.session,
            stream=self.feed.stream,
            rendition=self.rendition,
            instead_of=self._refused.rendition if self._refused else "",
            reason=self._refused.why if self._refused else "",
            state=self.state,
            packets_sent=self._sender.packets,
            bytes_sent=self._sender.bytes,
            connected_ns=self.connected_ns,
        )

    # --- from the network

    def path_selected(self) -> None:
        """The handshake follows at once and takes about a picture's time: let the key frame be made meanwhile."""
        if self._video is not None and not self.feed.starting_group():
            self.feed.request_key_frame(FRESH_GROUP_SECONDS)

    def receive_dtls(self, datagram: bytes) -> None:
        self._dtls.receive(datagram)

    def receive_srtp(self, datagram: bytes) -> None:
        if self._srtp_in is None or len(datagram) < 2 or not 192 <= datagram[1] <= 223:
            return  # RFC 5761 section 4: not RTCP; viewers send no media
        try:
            feedback = parse_feedback(self._srtp_in.unprotect_rtcp(datagram))
        except (SrtpError, ValueError, struct.error):
            self._counters.drops["rtcp_malformed"] += 1
            return
        for track, history in ((self._video, self.feed.video), (self._audio, self.feed.audio)):
            report = feedback.get(track.ssrc) if track else None
            if track is None or report is None:
                continue
            if report.lost:
                self._sender.resend(track, history, report.lost)
            if report.key_frame:
                self._counters.plis += 1
                self.feed.request_key_frame()
            if report.fraction_lost is not None and track is self._video:
                self.fraction_lost = report.fraction_lost

    # --- from the feed

    def send_video(self, unit: RtpUnit) -> None:
        if self.state == "waiting" and unit.key:
            self._start(unit)
        if self.state != "playing" or self._video is None:
            return
        if self._backlog_packets + len(unit.payloads) > MAX_BACKLOG_PACKETS:
            self._counters.drops["backlog"] += self._backlog_packets + len(unit.payloads)
            self.lost_video()
            self.feed.request_key_frame()
            return
        idle = not self._backlog
        self._backlog.append((unit, 0))
        self._backlog_packets += len(unit.payloads)
        if idle and self.pace():
            self.feed.start_pacing()

    def send_audio(self, unit: RtpUnit) -> None:
        track = self._audio
        if track is None or self.state not in ("waiting", "playing"):
            return
        if unit.number != track.next_number or track.first_number is None:
            track.restart(unit)
        if self._sender.send(track, self.feed.audio, unit, 0, len(unit.payloads)) < len(unit.payloads):
            self._counters.drops["audio_send"] += 1

    def lost_video(self) -> None:
        self._backlog.clear()
        self._backlog_packets = 0
        if self.state == "playing":
            self.state = "waiting"
            self.feed.request_key_frame()

    def pace(self) -> bool:
        track = self._video
        if not self._backlog or track is None or self.state != "playing":
            return False
        left = BATCH_PACKETS
        while self._backlog and left:
            unit, start = self._backlog[0]
            stop = min(len(unit.payloads), start + left)
            sent = self._sender.send(track, self.feed.video, unit, start, stop)
            self._backlog_packets -= sent
            left -= sent
            if start + sent == len(unit.payloads):
                self._backlog.popleft()
            else:
                self._backlog[0] = (unit, start + sent)
            if sent < stop - start:
                break  # the socket is full; go on at the next turn
        return bool(self._backlog)

    def feed_ended(self, reason: str) -> None:
        self.close(reason)

    # --- life

    def tick(self, now_s: float) -> None:
        """Once a second: deadlines and sender reports."""
        if self.state == "connecting":
            if now_s - self._created_s > CONNECT_SECONDS:
                self.close("connect_timeout")
            return
        self._sender.tick()
        if self.ice.consent_expired(now_s):
            self.close("consent_expired")
            return
        for track, history in ((self._video, self.feed.video), (self._audio, self.feed.audio)):
            if track is not None and track.packets:
                self._sender.report(track, history)

    def close(self, reason: str) -> None:
        """End the session: the peer is told (RTCP BYE, DTLS close_notify), then forgotten."""
        if self.state == "closed":
            return
        self._sender.say_bye(track for track in (self._video, self._audio) if track is not None)
        self.state = "closed"
        self._dtls.close()
        self._backlog.clear()
        self._backlog_packets = 0
        self.feed.remove(self)
        self._transport.remove(self.ice)
        self._counters.closed[reason if reason.isidentifier() else "dtls"] += 1
        logger.info("session %s of %s/%s closed: %s", self.session[:8], self.feed.stream, self.rendition, reason)
        self._on_closed(self, reason)

    def _keys_ready(self, sender: SrtpSender, receiver: SrtpReceiver) -> None:
        self._sender.srtp, self._srtp_in = sender, receiver
        self.connected_ns = time.time_ns()
        self._counters.sessions_connected += 1
        self.state = "waiting"
        logger.info(
            "session %s of %s/%s connected after %.0f ms",
            self.session[:8],
            self.feed.stream,
            self.rendition,
            (time.monotonic() - self._created_s) * 1e3,
        )
        if self._video is None:
            self.state = "playing"
            return
        group = self.feed.starting_group()
        if not group:
            self.feed.request_key_frame(FRESH_GROUP_SECONDS)
            return
        self._start(group[0])
        self._backlog.extend((unit, 0) for unit in group)
        self._backlog_packets = sum(len(unit.payloads) for unit in group)
        if self.pace():
            self.feed.start_pacing()

    def _start(self, unit: RtpUnit) -> None:
        if self._video is not None:
            self._video.restart(unit)
        self.state = "playing"
