"""One WebRTC publisher: connects, is received, is told what is missing, and is never waited for."""

import asyncio
import logging
import struct
import time
from collections.abc import Callable
from typing import Literal

from schemas.packets import Track
from schemas.sessions import SessionKind
from schemas.subjects import SOURCE_RENDITION
from services.webrtc_gateway.datachannels.gate import Rights
from services.webrtc_gateway.datachannels.plane import DataPlane
from services.webrtc_gateway.datachannels.session import DataSession
from services.webrtc_gateway.ingest.counters import IngestCounters
from services.webrtc_gateway.ingest.feedback import FeedbackWriter, parse_reports
from services.webrtc_gateway.ingest.layer_sorter import LayerSorter
from services.webrtc_gateway.ingest.media_time import PublisherClock
from services.webrtc_gateway.ingest.rtp_packet import parse_rtp
from services.webrtc_gateway.ingest.terms import SessionTerms
from services.webrtc_gateway.ingest.track import MediaUnit, ReceivingTrack
from services.webrtc_gateway.ingest.voice_level import VoiceLevel
from services.webrtc_gateway.transport.dtls import DtlsIdentity, DtlsServer
from services.webrtc_gateway.transport.ice import IcePeer, SharedIceTransport
from services.webrtc_gateway.transport.link import Dtls, SharedLink
from services.webrtc_gateway.transport.srtp import SrtpError, SrtpReceiver, SrtpSender, TooManySources

logger = logging.getLogger(__name__)

PublisherState = Literal["connecting", "connected", "closed"]

CONNECT_SECONDS = 15.0  # ICE and DTLS together; a browser needs 0.1 s, a slow path a few seconds
PATH_LOST_SECONDS = 5.0  # not a packet, a report or a check: checks alone come every 2.5 s and more often
KEY_INTERVAL_SECONDS = 2.0  # browsers make key pictures when asked only; files, HLS and joins want them regularly
_KEY_REQUEST_SECONDS = 0.5  # one key picture mends all that was lost in this time
_POLL_SECONDS = 0.01  # while something is missing
_RTCP_TYPES = range(192, 224)  # RFC 5761 section 4


class Publisher:
    """State, tracks and transport of one session; `on_closed` is called once, with the reason."""

    def __init__(
        self,
        *,
        session: str,
        stream: str,
        run: int,
        terms: SessionTerms,
        transport: SharedIceTransport,
        identity: DtlsIdentity,
        counters: IngestCounters,
        max_bps: int,
        data_plane: DataPlane,
        rights: Rights,
        deliver: Callable[["Publisher", MediaUnit], None],
        on_connected: Callable[["Publisher"], None],
        on_closed: Callable[["Publisher", str], None],
        link: SharedLink | None = None,
    ) -> None:
        """`run` grows with every publisher of a stream; `max_bps` is the most that it may send.

        `rights` are for what goes over data channels; `link`: the peer's, of which this is one part."""
        self.session, self.stream, self.run = session, stream, run
        self.state: PublisherState = "connecting"
        self.kind: SessionKind = link.kind if link else "whip"
        self.ice = link.ice if link else IcePeer(self)
        self.connected_ns = 0
        self.packets = self.bytes = 0
        clock = PublisherClock()
        self._by_type: dict[int, ReceivingTrack | LayerSorter] = {}
        tracks: list[ReceivingTrack] = []
        for agreed in terms.tracks:
            renditions = agreed.layers.renditions if agreed.layers else {"": SOURCE_RENDITION}
            found = {
                rid: ReceivingTrack(agreed, clock, counters, lambda unit: deliver(self, unit), rendition)
                for rid, rendition in renditions.items()
            }
            tracks += found.values()
            receiver = LayerSorter(agreed.layers, found, counters) if agreed.layers else found[""]
            self._by_type[agreed.payload_type] = receiver
            if agreed.repair_type is not None:
                self._by_type[agreed.repair_type] = receiver
        self.tracks = tuple(tracks)
        """Each layer is one."""
        self.track_names: tuple[Track, ...] = tuple(agreed.track for agreed in terms.tracks)
        self.layers = tuple(rendition for t in terms.tracks if t.layers for rendition in t.layers.renditions.values())
        """Renditions that the pictures come in; empty: in one, `source`."""
        self._transport, self._counters, self._max_bps = transport, counters, max_bps
        self._on_connected, self._on_closed = on_connected, on_closed
        self._owns_ice = link is None
        self._dtls: Dtls = (
            link.join(self, self._keys_ready)
            if link
            else DtlsServer(identity, terms.fingerprints, self._send, self._keys_ready, self.close)
        )
        self._data: DataSession | None = None
        if terms.data is not None:
            self._data = data_plane.open(session, stream, terms.data, self._dtls.send_data, rights)
            self._dtls.on_data = self._data.receive
        self._srtp_out: SrtpSender | None = None
        self._srtp_in: SrtpReceiver | None = None
        self._feedback = FeedbackWriter()
        self._created_s = self._heard_s = self._media_s = time.monotonic()
        self._strange_s = float("-inf")
        """When it sent from one SSRC more than any peer has."""
        self._reported = False
        self._poll: asyncio.TimerHandle | None = None

    @property
    def age_s(self) -> float:
        return time.monotonic() - self._created_s

    @property
    def heard_s(self) -> float:
        """Monotonic seconds when anything came from the publisher last."""
        return max(self._heard_s, self.ice.checked_at)

    @property
    def voice(self) -> VoiceLevel | None:
        """Who speaks in its sound; None: it does not tell."""
        return next((track.voice for track in self.tracks if track.voice is not None), None)

    # --- from the network

    def path_selected(self) -> None:
        """The handshake follows; nothing to do before it."""

    def receive_dtls(self, datagram: bytes) -> None:
        self._heard_s = time.monotonic()
        self._dtls.receive(datagram)

    def receive_srtp(self, datagram: bytes) -> None:
        if self._srtp_in is None or len(datagram) < 12:
            return
        now_s = time.monotonic()
        try:
            if datagram[1] in _RTCP_TYPES:
                self._take_reports(self._srtp_in.unprotect_rtcp(datagram))
            else:
                self._take_packet(self._srtp_in, datagram, now_s)
        except (SrtpError, ValueError, struct.error) as error:
            logger.debug("from the publisher of %s: %s", self.stream, error)
            strange = isinstance(error, TooManySources)
            self._counters.drops["too_many_ssrcs" if strange else "undecipherable"] += 1
            if strange:
                self._strange_s = now_s
            return
        self._heard_s = now_s

    def _take_packet(self, srtp: SrtpReceiver, datagram: bytes, now_s: float) -> None:
        packet = parse_rtp(srtp.unprotect_rtp(datagram))
        packet.arrived_ns = time.time_ns()
        self._media_s = now_s
        self.packets += 1
        self.bytes += len(datagram)
        self._counters.packets += 1
        self._counters.bytes += len(datagram)
        receiver = self._by_type.get(packet.payload_type)
        if receiver is None:
            self._counters.drops["unknown_payload_type"] += 1
            return
        track = receiver.find(packet) if isinstance(receiver, LayerSorter) else receiver
        if track is None:
            return
        track.receive(packet, now_s)
        if not self._reported:
            # At once: within its first two seconds a browser believes what it is told, and begins with that.
            self._report()
        if (track.waits or track.needs_key) and self._poll is None:
            self._poll = asyncio.get_running_loop().call_later(_POLL_SECONDS, self._look)

    def _take_reports(self, packet: bytes) -> None:
        reports, now_ns = parse_reports(packet), time.time_ns()
        for report in reports.senders:
            for track in self.tracks:
                if track.ssrc == report.ssrc:
                    track.report(report.timestamp, report.ntp, now_ns)
        known = {track.ssrc for track in self.tracks if track.ssrc is not None}
        # A browser says goodbye of each layer that it ends; when it leaves, DTLS tells.
        if known and known <= reports.ended and not self.layers:
            self.close("left")

    # --- to the publisher

    def request_key_frame(self, rendition: str | None = None) -> None:
        """Ask for a key picture of one layer or of all that come, unless one was asked for a moment ago: it is on its
        way."""
        for track in self.tracks:
            if track.terms.codec is not None and rendition in (None, track.rendition):
                self._ask_key(track)

    def _ask_key(self, track: ReceivingTrack) -> None:
        now_s = time.monotonic()
        if track.ssrc is None or now_s - track.key_asked_s < _KEY_REQUEST_SECONDS or track.has_ended(now_s):
            return
        feedback = track.terms.feedback
        if not feedback & {"nack pli", "ccm fir"}:
            return
        track.key_asked_s = now_s
        self._counters.plis += 1
        self._send_rtcp(self._feedback.key_picture(track.ssrc, picture_loss="nack pli" in feedback))

    def _look(self) -> None:
        """A few times while something is missing: ask for it, or do without."""
        self._poll = None
        if self.state != "connected":
            return
        now_s = time.monotonic()
        again = False
        for track in self.tracks:
            missing = track.poll(now_s)
            if missing and track.ssrc is not None and "nack" in track.terms.feedback:
                self._counters.nacked += len(missing)
                self._send_rtcp(self._feedback.again(track.ssrc, missing))
            if track.needs_key:
                self._ask_key(track)
            again = again or track.waits or (track.needs_key and not track.has_ended(now_s))
        if again:
            self._poll = asyncio.get_running_loop().call_later(_POLL_SECONDS, self._look)

    def _report(self) -> None:
        now_ns = time.time_ns()
        blocks = [block for track in self.tracks if (block := track.reception(now_ns)) is not None]
        limits = any("goog-remb" in track.terms.feedback for track in self.tracks)
        if blocks:
            self._reported = True
            self._send_rtcp(self._feedback.reports(blocks, self._max_bps if limits else None))

    def _send_rtcp(self, packet: bytes) -> None:
        if self._srtp_out is not None:
            self._send(self._srtp_out.protect_rtcp(packet))

    def _send(self, datagram: bytes) -> None:
        self._transport.send(self.ice, (datagram,))

    # --- life

    def tick(self, now_s: float) -> None:
        """Once a second: deadlines, reports, a key picture when the last one is old."""
        if self.state == "connecting":
            if now_s - self._created_s > CONNECT_SECONDS:
                self.close("connect_timeout")
            return
        if now_s - self.heard_s > PATH_LOST_SECONDS:
            self.close("path_lost")
            return
        # It has changed its SSRC so often that nothing of it can be read: its checks alone would keep it for ever.
        # Not at once, as such packets are not authentic yet; while it is heard, others' do it no harm.
        if self._strange_s > self._media_s and now_s - self._media_s > PATH_LOST_SECONDS:
            self.close("too_many_ssrcs")
            return
        self._report()
        if self.voice is not None:
            self.voice.look(now_s)
        for track in self.tracks:
            if track.terms.codec is not None and now_s - track.key_at_s > KEY_INTERVAL_SECONDS - 0.5:
                self._ask_key(track)

    def close(self, reason: str) -> None:
        """End the session: the peer is told (RTCP BYE, DTLS close_notify), then forgotten."""
        if self.state == "closed":
            return
        self._send_rtcp(self._feedback.goodbye())
        self.state = "closed"
        if self._poll is not None:
            self._poll.cancel()
        if self._data is not None:
            self._data.close()
        self._dtls.close()
        if self._owns_ice:
            self._transport.remove(self.ice)
        if self.voice is not None:
            self.voice.look(float("inf"))  # it speaks no more
        self._counters.closed[reason if reason.isidentifier() else "dtls"] += 1
        logger.info("publisher %s of %s closed: %s", self.session[:8], self.stream, reason)
        self._on_closed(self, reason)

    def _keys_ready(self, sender: SrtpSender, receiver: SrtpReceiver) -> None:
        self._srtp_out, self._srtp_in = sender, receiver
        self.connected_ns = time.time_ns()
        self.state = "connected"
        self._counters.publishers_connected += 1
        logger.info(
            "publisher %s of %s connected after %.0f ms",
            self.session[:8],
            self.stream,
            (time.monotonic() - self._created_s) * 1e3,
        )
        if self._data is not None:
            self._data.start()
        self._on_connected(self)
