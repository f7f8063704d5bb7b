"""SRTP without a copy per packet: libsrtp works in place in one buffer that lives as long as the gateway."""

from itertools import repeat

import numpy as np
from numpy.typing import NDArray
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
_HEADER_WORDS = 5  # of RTP, without CSRC, and of the extension block that all our packets have


class _Layout:
    """A batch seen as packets of one size: their headers, and where each begins."""

    def __init__(self, buffer: bytearray, stride: int) -> None:
        self.headers: NDArray[np.uint32] = np.ndarray(
            (BATCH_PACKETS, _HEADER_WORDS), ">u4", buffer, strides=(stride, 4)
        )
        start = ffi.from_buffer("char[]", buffer)
        self.pointers = tuple(start + index * stride for index in range(BATCH_PACKETS))


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
        self.lengths: NDArray[np.int32] = np.frombuffer(ffi.buffer(self._c_lengths), np.int32)
        """Of each packet: as long as it is written, then as it is protected."""
        self.length_pointers = tuple(self._c_lengths + index for index in range(BATCH_PACKETS))
        self._layouts: dict[int, _Layout] = {}  # as many as there are sizes, so 2.5 MB at most

    def layout(self, stride: int) -> _Layout:
        layout = self._layouts.get(stride)
        if layout is None:
            layout = self._layouts[stride] = _Layout(self.buffer, stride)
        return layout

    def filled(self, count: int, size: int, last_size: int, tag_bytes: int) -> None:
        """Say what was written: sizes are without the tags that `protect` will add."""
        self.count, self.size = count, size + tag_bytes
        self.bytes = (count - 1) * self.size + last_size + tag_bytes
        self.lengths[:count] = size
        self.lengths[count - 1] = last_size

    @property
    def datagrams(self) -> memoryview:
        return self.view[: self.bytes]


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
        pointers = batch.layout(batch.size).pointers
        # One C loop; it ends at the first status that is not 0, or with the packets.
        count = batch.count
        return not any(map(lib.srtp_protect, repeat(self._srtp, count), pointers, batch.length_pointers))

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
