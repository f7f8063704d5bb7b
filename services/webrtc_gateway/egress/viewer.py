"""One WebRTC viewer: connects, is told what its rendition brings, and is never waited for."""

import logging
import secrets
import time
from collections.abc import Callable
from typing import Literal

from schemas.sessions import SessionKind
from services.webrtc_gateway.congestion.hearing import Hearing
from services.webrtc_gateway.congestion.probe import Probe
from services.webrtc_gateway.congestion.repairs import Repairs
from services.webrtc_gateway.datachannels.gate import Rights
from services.webrtc_gateway.datachannels.latency_record import LatencyRecord
from services.webrtc_gateway.datachannels.plane import DataPlane
from services.webrtc_gateway.datachannels.session import DataSession
from services.webrtc_gateway.egress.counters import EgressCounters
from services.webrtc_gateway.egress.fanout import FRESH_GROUP_SECONDS, RenditionFeed
from services.webrtc_gateway.egress.packetizer import RtpUnit
from services.webrtc_gateway.egress.picture_flow import PictureFlow
from services.webrtc_gateway.egress.sender import MediaSender
from services.webrtc_gateway.egress.sent_track import SentTrack, TrackKind
from services.webrtc_gateway.egress.source import NotViewable
from services.webrtc_gateway.egress.timings import Timings
from services.webrtc_gateway.signalling.offer import Offer
from services.webrtc_gateway.transport.dtls import DtlsIdentity, DtlsServer
from services.webrtc_gateway.transport.ice import IcePeer, SharedIceTransport
from services.webrtc_gateway.transport.link import Dtls, Reported, SharedLink
from services.webrtc_gateway.transport.srtp import PacketBatch, SrtpError, SrtpReceiver, SrtpSender

logger = logging.getLogger(__name__)

_KINDS: tuple[TrackKind, ...] = ("video", "audio")
ViewerState = Literal["connecting", "waiting", "playing", "closed"]

CONNECT_SECONDS = 15.0  # ICE and DTLS together; a browser needs 0.1 s, a slow path a few seconds


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
        data_plane: DataPlane,
        rights: Rights,
        timings: Timings,
        asked_s: float,
        on_closed: Callable[["Viewer", str], None],
        client: str = "",
        address: str = "",
        link: SharedLink | None = None,
    ) -> None:
        """`asked_s` is when the offer came, in monotonic seconds; `link`: the peer's, of which this is one part."""
        self.session = session
        self.client, self.address = client, address
        self.kind: SessionKind = link.kind if link else "whep"
        self.cname = secrets.token_hex(8)  # ties sound and pictures together; tells nothing about the session
        self.feed = feed
        self.rendition = self.asked = rendition
        """What it is sent now, and what it came for."""
        self.refused = refused
        self.ice = link.ice if link else IcePeer(self)
        self.thin = ""
        """Why less is sent than was asked for; empty: it is not."""
        self.switches = 0
        self.connected_ns = 0
        self.tracks: tuple[SentTrack, ...] = tuple(
            SentTrack(kind, media.track, media, Repairs(counters.drops))
            for kind in _KINDS
            for media in offer.media
            if media.track is not None and media.description.kind == kind
        )
        """Pictures before sound; of each at most one."""
        self._audio = next((track for track in self.tracks if track.kind == "audio"), None)
        self._transport, self._counters, self._on_closed = transport, counters, on_closed
        self._sender = MediaSender(transport, self.ice, batch, self.cname, counters)
        self._video = video = next((track for track in self.tracks if track.kind == "video"), None)
        self._pictures = PictureFlow(video, self._sender, counters, self._key_picture_sent) if video else None
        self._hearing = Hearing(self.tracks, self._sender, counters)
        self.line = self._hearing.line
        self._owns_ice, self._link = link is None, link
        self._dtls: Dtls = (
            link.join(self, self._keys_ready)
            if link
            else DtlsServer(identity, offer.fingerprints, self._sender.send_plain, self._keys_ready, self.close)
        )
        self._srtp_in: SrtpReceiver | None = None
        self._data: DataSession | None = None
        if offer.data is not None:
            self._data = data_plane.open(session, feed.stream, offer.data, self._dtls.send_data, rights)
            self._dtls.on_data = self._data.receive
        self._timings, self._asked_s = timings, asked_s
        self.join_ms: float | None = None
        """From the offer to the first key picture on its way."""
        self._created_s = time.monotonic()
        self._connected = self._closed = False

    @property
    def state(self) -> ViewerState:
        """`waiting`: for a key picture."""
        if self._closed:
            return "closed"
        if not self._connected:
            return "connecting"
        waits = self._pictures is not None and not self._pictures.playing and not self._pictures.withheld
        return "waiting" if waits else "playing"

    @property
    def has_pictures(self) -> bool:
        """It takes pictures, and not sound alone."""
        return self._pictures is not None

    @property
    def keys_only(self) -> bool:
        """It is sent the key pictures, and none between them."""
        return self._pictures is not None and self._pictures.keys_only

    @property
    def withheld(self) -> bool:
        """It is sent sound alone for now, although it takes pictures."""
        return self._pictures is not None and self._pictures.withheld

    @property
    def packets_sent(self) -> int:
        return self._sender.packets

    @property
    def bytes_sent(self) -> int:
        return self._sender.bytes

    @property
    def reported(self) -> Reported:
        """What the client tells of the tracks that it gets."""
        return self._link.reported([track.rtp.ssrc for track in self.tracks]) if self._link else (0, ())

    @property
    def latency(self) -> LatencyRecord:
        return self._data.latency if self._data else LatencyRecord()

    # --- from the network

    def path_selected(self) -> None:
        """The handshake follows at once and takes about a picture's time: let the key frame be made meanwhile."""
        if self._pictures is not None and not self._pictures.withheld and not self.feed.starting_group():
            self.feed.request_key_frame(FRESH_GROUP_SECONDS)

    def receive_dtls(self, datagram: bytes) -> None:
        self._dtls.receive(datagram)

    def receive_srtp(self, datagram: bytes) -> None:
        if self._srtp_in is None or len(datagram) < 2 or not 192 <= datagram[1] <= 223:
            return  # RFC 5761 section 4: not RTCP; viewers send no media
        try:
            packet = self._srtp_in.unprotect_rtcp(datagram)
        except (SrtpError, ValueError):
            self._counters.drops["rtcp_malformed"] += 1
            return
        self._hearing.heed(packet, self.feed)

    # --- from the feed

    def send_video(self, unit: RtpUnit) -> None:
        if self._pictures is not None and self._live:
            self._pictures.send(unit, self.feed)

    def send_audio(self, unit: RtpUnit) -> None:
        track = self._audio
        if track is None or not self._live:
            return
        if not track.follows(unit):
            if track.was_sent(unit):
                return  # by the rendition that the viewer was of until now
            track.restart(unit)
        if self._sender.send(track.rtp, self.feed.audio, unit, 0, len(unit.payloads)) < len(unit.payloads):
            self._counters.drops["audio_send"] += 1
        else:
            track.sent(unit, whole=True)

    def lost_video(self) -> None:
        if self._pictures is not None and self._live:
            self._pictures.lost(self.feed)

    def pace(self) -> bool:
        return self._pictures is not None and self._live and self._pictures.pace(self.feed)

    def feed_ended(self, reason: str) -> None:
        self.close(reason)

    # --- to another rendition

    def cross(self, feed: RenditionFeed, rendition: str, unit: RtpUnit) -> None:
        """Go on with another rendition of the stream, from its key unit `unit` on, as if nothing had changed:
        the tracks keep their SSRC, their numbers and their time. Who called `feed.add` before takes that away."""
        if self._closed:
            return
        before, self.feed, self.rendition = self.feed, feed, rendition
        before.remove(self)
        feed.add(self)
        for track in self.tracks:
            track.cross(before, feed)
        if self._pictures is not None:
            self._pictures.stop()
        self.switches += 1
        self.send_video(unit)
        self._report()  # the tracks' clocks may mean something else now: sound is out of step until that is told

    def send_keys_only(self, keys_only: bool) -> None:
        """As `PictureFlow.send_keys_only`."""
        if self._pictures is not None and self._live:
            self.switches += self._pictures.send_keys_only(keys_only, self.feed)

    def withhold_pictures(self, withheld: bool) -> None:
        """As `PictureFlow.withhold`: sound goes on."""
        if self._pictures is not None and not self._closed:
            self.switches += self._pictures.withhold(withheld, self.feed if self._connected else None)

    def pause_pictures(self) -> None:
        """Send none until the next key picture."""
        if self._pictures is not None:
            self._pictures.stop()

    async def carries(self, bitrate_bps: int) -> bool:
        """Try whether the line carries so much; see `Probe`."""
        bandwidth, record, video = self.line.bandwidth, self._hearing.record, self._video
        if bandwidth is None or record is None or video is None or not self._live:
            return False
        return await Probe(self._sender, video.rtp, self.feed.video, bandwidth, record).carries(bitrate_bps)

    # --- life

    def tick(self, now_s: float) -> None:
        """Once a second: deadlines and sender reports."""
        if not self._connected:
            if now_s - self._created_s > CONNECT_SECONDS:
                self.close("connect_timeout")
            return
        self._sender.tick()
        self._hearing.tick(now_s)
        if self.ice.consent_expired(now_s):
            self.close("consent_expired")
            return
        self._report()

    def close(self, reason: str) -> None:
        """End the session: the peer is told (RTCP BYE, DTLS close_notify), then forgotten."""
        if self._closed:
            return
        self._sender.say_bye(track.rtp for track in self.tracks)
        self._closed = True
        if self._data is not None:
            self._data.close()
        self._dtls.close()
        if self._pictures is not None:
            self._pictures.stop()
        self.feed.remove(self)
        if self._owns_ice:
            self._transport.remove(self.ice)
        self._counters.closed[reason if reason.isidentifier() else "dtls"] += 1
        logger.info("session %s of %s/%s closed: %s", self.session[:8], self.feed.stream, self.rendition, reason)
        self._on_closed(self, reason)

    def _keys_ready(self, sender: SrtpSender, receiver: SrtpReceiver) -> None:
        self._sender.srtp, self._srtp_in = sender, receiver
        self.connected_ns = time.time_ns()
        self._counters.sessions_connected += 1
        self._connected = True
        logger.info(
            "session %s of %s/%s connected after %.0f ms",
            self.session[:8],
            self.feed.stream,
            self.rendition,
            (time.monotonic() - self._created_s) * 1e3,
        )
        if self._data is not None:
            self._data.start()
        if self._pictures is not None:
            self._pictures.join(self.feed)

    @property
    def _live(self) -> bool:
        return self._connected and not self._closed

    def _report(self) -> None:
        for track in self.tracks:
            if track.rtp.packets:
                self._sender.report(track.rtp, track.history(self.feed))

    def _key_picture_sent(self) -> None:
        if self.join_ms is None:
            joined_s = time.monotonic() - self._asked_s
            self.join_ms = round(joined_s * 1e3, 1)
            self._timings.key_picture_sent(joined_s)
