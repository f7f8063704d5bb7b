"""SRTP without a copy per packet: libsrtp works in place in one buffer that lives as long as the gateway."""

import functools
from array import array
from itertools import repeat
from typing import Any

from pylibsrtp import Error as SrtpError
from pylibsrtp import Policy, Session
from pylibsrtp._binding import ffi, lib

from services.webrtc_gateway.transport.datagrams import MAX_RUN_DATAGRAMS

__all__ = ["BATCH_PACKETS", "RTP_BYTES", "PacketBatch", "SrtpError", "SrtpReceiver", "SrtpSender", "TooManySources"]

RTP_BYTES = 1200  # RTP packet with its SRTP tag: fits IPv6's least MTU of 1280 with room for UDP and a tunnel
BATCH_PACKETS = MAX_RUN_DATAGRAMS
_SPARE_BYTES = 144  # behind the last packet: the most that libsrtp may write there while it works
_REPLAY_WINDOW_PACKETS = 1024  # retransmissions may be this old
_MAX_SOURCES = (
    16  # libsrtp keeps a window for each, for ever, and looks them through for every packet; a track needs two
)
_TAG_BYTES = {Policy.SRTP_PROFILE_AEAD_AES_128_GCM: 16, Policy.SRTP_PROFILE_AES128_CM_SHA1_80: 10}
_KNOWN_LENGTHS = 4096  # those of pictures of a few streams; some 200 bytes each


class PacketBatch:
    """Reusable room for a run of outgoing packets, one behind the other: written, protected in place, sent at once."""

    def __init__(self) -> None:
        self.buffer = bytearray(BATCH_PACKETS * RTP_BYTES + _SPARE_BYTES)
        self.view = memoryview(self.buffer)
        self.count = 0
        self.size = 0
        """Bytes from one packet to the next, the SRTP tag included; only the last may be shorter."""
        self.bytes = 0
        """Of all, tags included."""
        self._c_lengths = ffi.new("int[]", BATCH_PACKETS)
        self.lengths = memoryview(ffi.buffer(self._c_lengths)).cast("B").cast("i")
        """Of each packet: as long as it is written, then as it is protected."""
        self.length_pointers = tuple(self._c_lengths + index for index in range(BATCH_PACKETS))
        self._pointers: dict[int, tuple[Any, ...]] = {}  # as many as there are sizes, so 2.5 MB at most

    def pointers(self) -> tuple[Any, ...]:
        """To each packet, and to where more of this size would be."""
        pointers = self._pointers.get(self.size)
        if pointers is None:
            start = ffi.from_buffer("char[]", self.buffer)
            pointers = self._pointers[self.size] = tuple(start + at * self.size for at in range(BATCH_PACKETS))
        return pointers

    def filled(self, count: int, size: int, last_size: int, tag_bytes: int) -> None:
        """Say what was written: sizes are without the tags that `protect` will add."""
        self.count, self.size = count, size + tag_bytes
        self.bytes = (count - 1) * self.size + last_size + tag_bytes
        self.lengths[:count] = _lengths(count, size, last_size)

    @property
    def datagrams(self) -> memoryview:
        return self.view[: self.bytes]


@functools.lru_cache(_KNOWN_LENGTHS)
def _lengths(count: int, size: int, last_size: int) -> memoryview:
    return memoryview(array("i", [size] * (count - 1) + [last_size]))


class SrtpSender:
    """Protects what we send to one peer."""

    def __init__(self, key: bytes, profile: int) -> None:
        policy = Policy(key=key, ssrc_type=Policy.SSRC_ANY_OUTBOUND, srtp_profile=profile)
        # A retransmission is the very same packet again, byte for byte, so its keystream gives nothing away.
        policy.allow_repeat_tx = True
        policy.window_size = _REPLAY_WINDOW_PACKETS
        self._session = Session(policy)
        self._srtp = self._session._srtp[0]
        self.tag_bytes = _TAG_BYTES[profile]
        """How much longer a packet becomes."""

    def protect(self, batch: PacketBatch) -> bool:
        """Encrypt the batch in place. False: libsrtp refuses a packet (a retransmission that is too old), send none."""
        # One C loop; it ends at the first status that is not 0, or with the packets.
        count = batch.count
        return not any(map(lib.srtp_protect, repeat(self._srtp, count), batch.pointers(), batch.length_pointers))

    def protect_rtcp(self, packet: bytes) -> bytes:
        result: bytes = self._session.protect_rtcp(packet)
        return result


class TooManySources(ValueError):
    """A packet of one SSRC more than any peer has."""


class SrtpReceiver:
    """Opens what one peer sends, from a bounded number of SSRCs."""

    def __init__(self, key: bytes, profile: int) -> None:
        policy = Policy(key=key, ssrc_type=Policy.SSRC_ANY_INBOUND, srtp_profile=profile)
        policy.window_size = _REPLAY_WINDOW_PACKETS
        self._session = Session(policy)
        self._opened: tuple[bytes, bytes] = b"", b""
        self._sources: set[bytes] = set()

    def unprotect_rtp(self, datagram: bytes) -> bytes:
        """The RTP packet; errors as of `unprotect_rtcp`."""
        source = self._source(datagram[8:12])
        packet: bytes = self._session.unprotect(datagram)
        self._sources.add(source)
        return packet

    def unprotect_rtcp(self, datagram: bytes) -> bytes:
        """The RTCP compound packet. The parts of one session each read it: the same object again is no replay.

        Raises:
            SrtpError: not authentic, or replayed.
            TooManySources: of an SSRC that is one too many.
            ValueError: longer than any packet.
        """
        if datagram is not self._opened[0]:
            source = self._source(datagram[4:8])
            self._opened = datagram, self._session.unprotect_rtcp(datagram)
            self._sources.add(source)
        return self._opened[1]

    def _source(self, ssrc: bytes) -> bytes:
        if ssrc not in self._sources and len(self._sources) >= _MAX_SOURCES:
            raise TooManySources(f"a packet of SSRC {ssrc.hex()}, after {_MAX_SOURCES} others")
        return ssrc
