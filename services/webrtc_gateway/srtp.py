"""SRTP without a copy per packet: libsrtp works in place in buffers that live as long as the session."""

from collections.abc import Sequence

from pylibsrtp import Error as SrtpError
from pylibsrtp import Policy, Session
from pylibsrtp._binding import ffi, lib

__all__ = ["BATCH_PACKETS", "RTP_BYTES", "PacketBatch", "SrtpError", "SrtpReceiver", "SrtpSender"]

RTP_BYTES = 1200  # RTP packet with its SRTP tag: fits IPv6's least MTU of 1280 with room for UDP and a tunnel
BATCH_PACKETS = 32
_SLOT_BYTES = 1536  # RTP_BYTES and the most that libsrtp may append while it works
_REPLAY_WINDOW_PACKETS = 1024  # retransmissions may be this old


class PacketBatch:
    """Reusable room for up to BATCH_PACKETS outgoing packets; filled, protected in place and sent."""

    def __init__(self) -> None:
        self.slots = tuple(bytearray(_SLOT_BYTES) for _ in range(BATCH_PACKETS))
        self.views = tuple(memoryview(slot) for slot in self.slots)
        self.pointers = tuple(ffi.from_buffer("char[]", slot) for slot in self.slots)


class SrtpSender:
    """Protects what we send to one peer."""

    def __init__(self, key: bytes, profile: int) -> None:
        policy = Policy(key=key, ssrc_type=Policy.SSRC_ANY_OUTBOUND, srtp_profile=profile)
        # A retransmission is the very same packet again, byte for byte, so its keystream gives nothing away.
        policy.allow_repeat_tx = True
        policy.window_size = _REPLAY_WINDOW_PACKETS
        self._session = Session(policy)
        self._srtp = self._session._srtp[0]
        self._length = ffi.new("int *")

    def protect(self, batch: PacketBatch, lengths: Sequence[int]) -> list[memoryview]:
        """Encrypt the first `len(lengths)` packets of the batch in place; views of the results.

        Packets that libsrtp refuses (a retransmission that is too old) are left out.
        """
        protect, srtp, length = lib.srtp_protect, self._srtp, self._length
        pointers, views = batch.pointers, batch.views
        protected = []
        for index, size in enumerate(lengths):
            length[0] = size
            if protect(srtp, pointers[index], length) == 0:
                protected.append(views[index][: length[0]])
        return protected

    def protect_rtcp(self, packet: bytes) -> bytes:
        result: bytes = self._session.protect_rtcp(packet)
        return result


class SrtpReceiver:
    """Opens what one peer sends."""

    def __init__(self, key: bytes, profile: int) -> None:
        policy = Policy(key=key, ssrc_type=Policy.SSRC_ANY_INBOUND, srtp_profile=profile)
        policy.window_size = _REPLAY_WINDOW_PACKETS
        self._session = Session(policy)

    def unprotect_rtcp(self, datagram: bytes) -> bytes:
        """The RTCP compound packet.

        Raises:
            SrtpError: not authentic, or replayed.
            ValueError: longer than any packet.
        """
        packet: bytes = self._session.unprotect_rtcp(datagram)
        return packet
