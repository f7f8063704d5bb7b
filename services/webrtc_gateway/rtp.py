"""What differs between viewers of one packet: the RTP header (RFC 3550 section 5.1, RFC 8285 extensions)."""

import secrets
from collections.abc import Sequence
from struct import Struct

from services.webrtc_gateway.packetizer import MAX_EXTENSION_BYTES, RTP_HEADER_BYTES, RtpUnit
from services.webrtc_gateway.srtp import RTP_BYTES, PacketBatch
from shared.rtp.clock import ntp_timestamp

_ONE_BYTE_PROFILE = b"\xbe\xde"
_NO_PLAYOUT_DELAY = b"\x00\x00\x00"  # min 0, max 0: show at once
_MAX_MID_BYTES = 8  # so that the extension fits MAX_EXTENSION_BYTES
_ONE_BYTE_IDS = range(1, 15)

# One C call writes header and payload; the struct for each payload size is made once.
_plain = tuple(Struct(f"!BBHII{size}s") for size in range(RTP_BYTES))
_extended: dict[tuple[int, int], Struct] = {}


class HeaderExtensions:
    """The extension block in the first packet of each unit, for one track of one viewer."""

    def __init__(self, mid: str, mid_id: int | None, playout_delay_id: int | None, capture_time_id: int | None) -> None:
        """Ids are those of the offer (1-14), None when it lacks the extension."""
        constant = b""
        if mid_id in _ONE_BYTE_IDS and 0 < len(mid.encode()) <= _MAX_MID_BYTES:
            constant += _element(mid_id, mid.encode())
        if playout_delay_id in _ONE_BYTE_IDS:
            constant += _element(playout_delay_id, _NO_PLAYOUT_DELAY)
        self._constant = constant
        self._block = _block(constant) if constant else b""
        self._capture_time_id = capture_time_id if capture_time_id in _ONE_BYTE_IDS else None

    def of(self, unit: RtpUnit) -> bytes:
        """The whole block with its 4-byte header; empty when there is nothing to say."""
        if self._capture_time_id is None or not unit.tell_capture_time:
            return self._block
        capture_time = ntp_timestamp(unit.captured_ns).to_bytes(8, "big")
        return _block(self._constant + _element(self._capture_time_id, capture_time))


class RtpTrack:
    """One track of one viewer: its numbering, and how far it has come."""

    def __init__(self, payload_type: int, clock_rate_hz: int, extensions: HeaderExtensions) -> None:
        self.payload_type = payload_type
        self.clock_rate_hz = clock_rate_hz
        self.extensions = extensions
        self.ssrc = secrets.randbelow(0xFFFFFFFF) + 1
        self.timestamp_offset = secrets.randbits(32)
        self._sequence_offset = secrets.randbits(15)  # the upper half is left free, as old receivers like it
        self.first_number: int | None = None
        """Number of the first packet since the last restart; older ones cannot be asked for again."""
        self.next_number = 0
        """Number of the packet that is due next, in the feed's count."""
        self.packets = 0
        self.octets = 0
        """Payload bytes, as sender reports count them."""

    def restart(self, unit: RtpUnit) -> None:
        """Go on with `unit` whatever was left out before; sequence numbers stay without a gap."""
        self._sequence_offset += self.next_number - unit.number
        self.first_number = self.next_number = unit.number

    def number_of(self, sequence: int) -> int | None:
        """The feed's number of a packet already sent, by its 16-bit sequence number."""
        if self.first_number is None:
            return None
        last = self.next_number - 1
        number = last - ((last + self._sequence_offset - sequence) & 0xFFFF)
        return number if number >= self.first_number else None

    def write(self, unit: RtpUnit, start: int, stop: int, batch: PacketBatch) -> list[int]:
        """Write packets `start` to `stop` of the unit into the batch; their lengths."""
        payloads = unit.payloads
        last = len(payloads) - 1
        sequence = unit.number + self._sequence_offset
        timestamp = (unit.timestamp + self.timestamp_offset) & 0xFFFFFFFF
        ssrc, payload_type, slots, plain = self.ssrc, self.payload_type, batch.slots, _plain
        lengths = []
        for slot, index in enumerate(range(start, stop)):
            payload = payloads[index]
            size = len(payload)
            second = payload_type | 0x80 if index == last else payload_type
            if index == 0 and (extension := self.extensions.of(unit)):
                layout = _extended_layout(len(extension), size)
                layout.pack_into(slots[slot], 0, 0x90, second, sequence & 0xFFFF, timestamp, ssrc, extension, payload)
                lengths.append(layout.size)
            else:
                plain[size].pack_into(
                    slots[slot], 0, 0x80, second, (sequence + index) & 0xFFFF, timestamp, ssrc, payload
                )
                lengths.append(RTP_HEADER_BYTES + size)
        return lengths

    def sent(self, number_after: int, lengths: Sequence[int]) -> None:
        """Count new packets as sent, up to but not including `number_after`."""
        self.next_number = number_after
        self.packets += len(lengths)
        self.octets += sum(lengths) - RTP_HEADER_BYTES * len(lengths)


def _element(extension_id: int | None, value: bytes) -> bytes:
    return bytes(((extension_id or 0) << 4 | len(value) - 1,)) + value


def _block(elements: bytes) -> bytes:
    words = -(-len(elements) // 4)
    block = _ONE_BYTE_PROFILE + words.to_bytes(2, "big") + elements.ljust(words * 4, b"\x00")
    if len(block) > MAX_EXTENSION_BYTES:
        raise ValueError(f"header extension of {len(block)} bytes, {MAX_EXTENSION_BYTES} planned")
    return block


def _extended_layout(extension_bytes: int, payload_bytes: int) -> Struct:
    layout = _extended.get((extension_bytes, payload_bytes))
    if layout is None:
        layout = _extended[extension_bytes, payload_bytes] = Struct(f"!BBHII{extension_bytes}s{payload_bytes}s")
    return layout
