"""One track of a publisher: packets in, access units with their times out."""

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from aiortc.rtp import RtcpReceiverInfo

from schemas.errors import BadRequest
from schemas.packets import Track, VideoCodec
from schemas.subjects import SOURCE_RENDITION
from services.webrtc_gateway.ingest.assembler import ReceivedUnit, UnitAssembler
from services.webrtc_gateway.ingest.counters import IngestCounters
from services.webrtc_gateway.ingest.media_time import PICTURE_SLEW, SOUND_SLEW, PublisherClock, TrackTime, ntp_to_ns
from services.webrtc_gateway.ingest.reception import Reception
from services.webrtc_gateway.ingest.reorder import ReorderBuffer
from services.webrtc_gateway.ingest.rtp_packet import RtpPacket
from services.webrtc_gateway.ingest.terms import TrackTerms
from services.webrtc_gateway.ingest.voice_level import VoiceLevel
from shared.media.audio_config import OpusHead, build_opus_head
from shared.media.bitstream import ensure_parameter_sets
from shared.media.coded_picture import is_key_picture
from shared.media.configuration import configuration
from shared.rtp.depacketizers import DEPACKETIZERS
from shared.rtp.opus import opus_duration_ns

log = logging.getLogger(__name__)

# A picture whose packets come again is shown late or not at all; half a second is what two round trips may take.
_VIDEO_WAIT_SECONDS, _VIDEO_PACKETS = 0.5, 2048
# Sound heals by itself: longer than packets overtake one another nobody shall wait for it.
_SOUND_WAIT_SECONDS, _SOUND_PACKETS = 0.06, 64
_OTHER_SENDER_SECONDS = 1.0  # silence after which another SSRC may go on in the place of the first
_LAYER_ENDED_SECONDS = 2.0  # still screens are sent once a second
_MIN_STEP_NS = 11_112  # one tick of the 90 kHz clock
_OPUS_HEAD = build_opus_head(OpusHead(2))  # RFC 7587 section 7: two channels, whatever is in a packet
_WRAP = 1 << 32  # of RTP timestamps
_CAPTURE_TIME_BYTES = (8, 16)  # without and with the estimated offset of the capturing clock


@dataclass(frozen=True, slots=True)
class MediaUnit:
    """One access unit, ready for the bus."""

    track: Track
    codec: VideoCodec | None
    data: bytes
    key: bool
    index: int
    """Counted per track; one is left out where something is missing."""
    captured_ns: int
    pts_ns: int
    dts_ns: int
    duration_ns: int
    arrived_ns: int
    reordered: bool
    extradata: bytes
    rendition: str = SOURCE_RENDITION
    """Which layer it is of, where the publisher sends several."""


class ReceivingTrack:
    """Not bound to any way of signalling; whoever owns it feeds it packets and asks it what to tell the sender."""

    def __init__(
        self,
        terms: TrackTerms,
        clock: PublisherClock,
        counters: IngestCounters,
        deliver: Callable[[MediaUnit], None],
        rendition: str = SOURCE_RENDITION,
    ) -> None:
        """`rendition`: of which layer, where the publisher sends several."""
        self.terms, self.rendition = terms, rendition
        self.ssrc: int | None = None
        self.needs_key = terms.codec is not None
        """Nothing can be sent on before the next key picture."""
        self.units = 0
        self.key_at_s = float("-inf")
        """Monotonic seconds of the last key picture."""
        self.key_asked_s = float("-inf")
        """When the last one was asked for."""
        self.voice = VoiceLevel(terms.audio_level_id) if terms.audio_level_id is not None else None
        """Of sound whose packets tell how loud they are."""
        self._counters, self._deliver = counters, deliver
        self._time = TrackTime(terms.clock_hz, clock, PICTURE_SLEW if terms.codec else SOUND_SLEW)
        self._heard_s = float("-inf")
        self._index = 0
        self._last_dts_ns = 0
        self._reordered = False
        self._last_timestamp: int | None = None
        self._extradata = terms.extradata
        self._begin()

    def _begin(self) -> None:
        video = self.terms.codec is not None
        self._reorder = ReorderBuffer(
            wait_seconds=_VIDEO_WAIT_SECONDS if video else _SOUND_WAIT_SECONDS,
            max_packets=_VIDEO_PACKETS if video else _SOUND_PACKETS,
        )
        depacketize = DEPACKETIZERS[self.terms.codec or "opus"]
        self._assembler = UnitAssembler(depacketize, self._counters.drops, marks_ends=video)
        self._reception = Reception(self.terms.clock_hz)
        self._lost_before = 0

    def receive(self, packet: RtpPacket, now_s: float) -> None:
        """A packet whose payload type is of this track."""
        if packet.payload_type == self.terms.repair_type:
            if len(packet.payload) < 3:  # without an original sequence number: a probe
                return
            if self.ssrc is None:
                return
            packet = replace(
                packet,
                ssrc=self.ssrc,
                payload_type=self.terms.payload_type,
                sequence=int.from_bytes(packet.payload[:2], "big"),
                payload=packet.payload[2:],
            )
        elif packet.ssrc != self.ssrc:
            if self.ssrc is not None and now_s - self._heard_s < _OTHER_SENDER_SECONDS:
                self._counters.drops["other_ssrc"] += 1
                return
            if self.ssrc is not None:
                self._begin()
                self._time.begin_anew()
                self._gap()
            self.ssrc = packet.ssrc
        else:
            self._reception.arrived(packet.timestamp, packet.arrived_ns)
        self._heard_s = now_s
        if self.voice is not None:
            self.voice.take(packet.extensions, now_s)
        self._take(self._reorder.put(packet, now_s), now_s)

    def poll(self, now_s: float) -> list[int]:
        """Give up what is overdue; the sequence numbers to ask for again."""
        self._take(self._reorder.expire(now_s), now_s)
        return self._reorder.to_ask(now_s)

    def has_ended(self, now_s: float) -> bool:
        """It is a layer that is not sent now: a publisher ends and begins them as its line and its machine can."""
        return self.terms.layers is not None and now_s - self._heard_s > _LAYER_ENDED_SECONDS

    @property
    def waits(self) -> bool:
        """Packets are missing: `poll` often."""
        return self._reorder.waits

    def report(self, timestamp: int, ntp: int, arrived_ns: int) -> None:
        """The sender's report: its clock showed `ntp` when the track's showed `timestamp`."""
        self._reception.reported(ntp, arrived_ns)
        if ntp:
            self._time.report(timestamp, ntp_to_ns(ntp), arrived_ns)

    def reception(self, now_ns: int) -> RtcpReceiverInfo | None:
        """The report block about this track; None before its first packet."""
        if self.ssrc is None:
            return None
        buffer = self._reorder
        return self._reception.block(self.ssrc, buffer.highest, buffer.received, buffer.lost, now_ns)

    def _take(self, packets: Iterable[RtpPacket | None], now_s: float) -> None:
        for packet in packets:
            for unit in self._assembler.push(packet):
                if unit is None:
                    self._gap()
                else:
                    self._finish(unit, now_s)
        self._counters.lost += self._reorder.lost - self._lost_before
        self._lost_before = self._reorder.lost

    def _gap(self) -> None:
        self._index += 1
        self.needs_key = self.terms.codec is not None

    def _finish(self, unit: ReceivedUnit, now_s: float) -> None:
        self._note_capture_time(unit)
        captured_ns, pts_ns = self._time.place(unit.timestamp, unit.arrived_ns)
        data, key, extradata, duration_ns = unit.data, True, b"", 0
        codec = self.terms.codec
        try:
            if codec is None:
                duration_ns, extradata = opus_duration_ns(data), _OPUS_HEAD
            else:
                key = is_key_picture(data, codec)
                if key:
                    data, extradata = self._with_configuration(data, codec)
        except BadRequest as error:
            log.debug("access unit left out: %s", error)
            self._counters.drops["malformed"] += 1
            self._gap()
            return
        if key:
            self.needs_key = False
            self.key_at_s = now_s
        elif self.needs_key:
            self._counters.drops["no_key"] += 1
            return
        self._note_order(unit.timestamp, key)
        self._last_dts_ns = dts_ns = max(pts_ns, self._last_dts_ns + _MIN_STEP_NS)
        self._index += 1
        self.units += 1
        self._counters.units += 1
        self._deliver(
            MediaUnit(
                track=self.terms.track,
                codec=codec,
                data=data,
                key=key,
                index=self._index,
                captured_ns=captured_ns,
                pts_ns=pts_ns,
                dts_ns=dts_ns,
                duration_ns=duration_ns,
                arrived_ns=unit.arrived_ns,
                reordered=self._reordered,
                extradata=extradata,
                rendition=self.rendition,
            )
        )

    def _with_configuration(self, data: bytes, codec: VideoCodec) -> tuple[bytes, bytes]:
        """A key picture with its parameter sets in band, and those by themselves."""
        if codec != "h264" and codec != "hevc":
            return data, configuration(data, codec)
        data = ensure_parameter_sets(data, self._extradata, True, codec)
        self._extradata = configuration(data, codec) or self._extradata
        return data, self._extradata

    def _note_order(self, timestamp: int, key: bool) -> None:
        """A time that goes back is of a picture that others were made from before it: B-frames.

        Not that of a key picture: with it a count may have begun anew.
        """
        if self._last_timestamp is not None and not key:
            self._reordered = self._reordered or 0 < (self._last_timestamp - timestamp) % _WRAP < _WRAP // 2
        self._last_timestamp = timestamp

    def _note_capture_time(self, unit: ReceivedUnit) -> None:
        number = self.terms.capture_time_id
        value = unit.extensions.get(number, b"") if number is not None else b""
        if len(value) in _CAPTURE_TIME_BYTES:
            ntp = int.from_bytes(value[:8], "big")
            self._time.report(unit.timestamp, ntp_to_ns(ntp), unit.arrived_ns)
