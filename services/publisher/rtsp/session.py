"""One client's session: its tracks, where they go, and how it keeps up (RFC 2326 section 3.4)."""

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from schemas.packets import Track
from services.publisher.rtsp.counters import RtspCounters
from services.publisher.rtsp.feed import RenditionFeed
from services.publisher.rtsp.messages import RtspError
from services.publisher.rtsp.transports import Tcp, Udp
from services.publisher.rtsp.udp import UdpPorts
from services.publisher.rtsp.units import RtpUnit

TIMEOUT_SECONDS = 60
# What waits for a client in its connection before it is behind and skips to a key picture: 4 s of 8 Mbit/s, and what a
# camera's group of pictures may begin with.
BACKLOG_BYTES = 4 << 20
_ID_BYTES = 8

Begun = Callable[[dict[Track, tuple[int, int]]], None]


class Wire(Protocol):
    """The client's TCP connection, as far as media goes."""

    def write(self, data: bytes) -> None: ...

    def get_write_buffer_size(self) -> int: ...


@dataclass(frozen=True)
class Channels:
    """Interleaved channels of one track."""

    rtp: int
    rtcp: int


class Session:
    """Takes the units of one feed; see `feed.Listener`."""

    def __init__(
        self,
        feed: RenditionFeed,
        wire: Wire,
        peer: str,
        udp: UdpPorts | None,
        counters: RtspCounters,
        on_ended: Callable[[str], None],
    ) -> None:
        """`on_ended`: told why when the feed has nothing more to give."""
        self.id = secrets.token_hex(_ID_BYTES)
        self.feed = feed
        self.playing = False
        self._wire, self._peer, self._udp, self._counters, self._on_ended = wire, peer, udp, counters, on_ended
        self._ways: dict[Track, Channels | Udp] = {}
        self._waiting = True
        """For a key picture."""
        self._unreported = True
        """The client does not know yet how its tracks lie beside one another."""
        self._begun: Begun | None = None
        self.heard: Callable[[], None] = lambda: None
        """Called at RTCP from the client."""

    @property
    def tracks(self) -> tuple[Track, ...]:
        return tuple(self._ways)

    @property
    def over_udp(self) -> bool:
        return any(isinstance(way, Udp) for way in self._ways.values())

    def set_up(self, track: Track, transport: Tcp | Udp) -> str:
        """Lead a track to the client; the `Transport` header of the answer.

        Raises:
            RtspError: the client's ports are in use.
        """
        self._forget_way(track)
        ssrc = f"{self.feed.tracks[track].ssrc:08X}"
        if isinstance(transport, Udp):
            assert self._udp is not None, "UDP is chosen only where it is served"
            if not self._udp.listen((self._peer, transport.rtcp_port), self._hear):
                raise RtspError(461, f"client_port {transport.rtp_port} is another session's")
            self._ways[track] = transport
            server = "-".join(map(str, self._udp.ports))
            client = f"{transport.rtp_port}-{transport.rtcp_port}"
            return f"RTP/AVP;unicast;client_port={client};server_port={server};ssrc={ssrc}"
        channels = self._free_channels(transport)
        self._ways[track] = channels
        return f"RTP/AVP/TCP;unicast;interleaved={channels.rtp}-{channels.rtcp};ssrc={ssrc}"

    def play(self, begun: Begun) -> None:
        """Begin at a key picture. `begun` is called before the first packet with the sequence number and the RTP time
        that each track starts with."""
        self.playing, self._waiting, self._begun, self._unreported = True, True, begun, True
        self._counters.clients[self._way_name] += 1
        self.feed.add(self, burst=not self.over_udp)

    def begin_unheard(self) -> bool:
        """Wait no longer with the answer to PLAY: `begun` will not be called; False when it was."""
        unheard, self._begun = self._begun is not None, None
        return unheard

    def pause(self) -> None:
        if self.playing:
            self.playing, self._begun = False, None
            self._counters.clients[self._way_name] -= 1
            self.feed.remove(self)

    def close(self) -> None:
        self.pause()
        for track in tuple(self._ways):
            self._forget_way(track)

    # -- what the feed gives -----------------------------------------------------------------------------------

    def take(self, unit: RtpUnit) -> None:
        way = self._ways.get(unit.track)
        if way is None:
            return
        if self._waiting and not self._starts_with(unit):
            return
        if isinstance(way, Udp):
            assert self._udp is not None, "UDP is chosen only where it is served"
            sent = self._udp.send(unit, (self._peer, way.rtp_port))
            self._counters.dropped["udp"] += len(unit.packets) - sent
            self._count("udp", sent, unit)
            return
        if self._wire.get_write_buffer_size() > BACKLOG_BYTES:
            self._counters.dropped["slow"] += len(unit.packets)
            self._waiting = True
            return
        self._wire.write(unit.framed(way.rtp))
        self._count("tcp", len(unit.packets), unit)

    def lost(self) -> None:
        self._waiting = True

    def report(self, track: Track, packet: bytes) -> None:
        way = self._ways.get(track)
        if isinstance(way, Udp) and self._udp is not None:
            self._udp.send_rtcp(packet, (self._peer, way.rtcp_port))
        elif isinstance(way, Channels) and self._wire.get_write_buffer_size() <= BACKLOG_BYTES:
            self._wire.write(b"$" + bytes((way.rtcp,)) + len(packet).to_bytes(2, "big") + packet)

    def ended(self, reason: str) -> None:
        self._on_ended(reason)

    # -- inside ------------------------------------------------------------------------------------------------

    def _starts_with(self, unit: RtpUnit) -> bool:
        """Whether the wait ends with this unit: a key picture, and a connection that has room again."""
        starts = unit.key and unit.track == "video" if "video" in self._ways else True
        if not starts or self._wire.get_write_buffer_size() > BACKLOG_BYTES // 2:
            if self._begun is None:
                self._counters.dropped["waiting"] += len(unit.packets)
            return False
        self._waiting = False
        if self._begun is not None:
            begun, self._begun = self._begun, None
            begun(self._first_numbers(unit))
        if self._unreported:
            self._unreported = False
            for track, packet in self.feed.reports.now():
                self.report(track, packet)
        return True

    def _first_numbers(self, unit: RtpUnit) -> dict[Track, tuple[int, int]]:
        """Sequence number and RTP time that each track begins with, when the client begins with `unit`."""
        own = {unit.track: (unit.sequence, unit.timestamp)}
        return own | {name: self.feed.first_after(unit, name) for name in self._ways if name != unit.track}

    def _count(self, way: str, packets: int, unit: RtpUnit) -> None:
        self._counters.packets[way] += packets
        self._counters.bytes[way] += unit.octets

    @property
    def _way_name(self) -> str:
        return "udp" if self.over_udp else "tcp"

    def _free_channels(self, wish: Tcp) -> Channels:
        """The client's own where they are free (RFC 2326 section 12.39 lets the server choose others)."""
        taken = {number for way in self._ways.values() if isinstance(way, Channels) for number in (way.rtp, way.rtcp)}
        rtp, rtcp = wish.rtp_channel, wish.rtcp_channel
        if rtp is not None and rtcp is not None and not {rtp, rtcp} & taken:
            return Channels(rtp, rtcp)
        first = next(number for number in range(0, 2 * len(self._ways) + 3, 2) if not {number, number + 1} & taken)
        return Channels(first, first + 1)

    def _hear(self) -> None:
        self.heard()

    def _forget_way(self, track: Track) -> None:
        way = self._ways.pop(track, None)
        if isinstance(way, Udp) and self._udp is not None:
            self._udp.forget((self._peer, way.rtcp_port))
