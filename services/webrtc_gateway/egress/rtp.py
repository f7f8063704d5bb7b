"""What differs between viewers of one packet: the RTP header (RFC 3550 section 5.1, RFC 8285 extensions)."""

import secrets
import struct

from services.webrtc_gateway.egress.packetizer import (
    MAX_EXTENSION_BYTES,
    REPAIR_BYTES,
    RTP_HEADER_BYTES,
    SHORT_EXTENSION_BYTES,
    RtpUnit,
)
from services.webrtc_gateway.egress.sent_record import SentRecord
from services.webrtc_gateway.transport.srtp import BATCH_PACKETS, PacketBatch

# min 0, max 0: show at once. Browsers so wait for no sound: theirs is some 70 ms later, which nobody notices.
_NO_PLAYOUT_DELAY = b"\x00\x00\x00"
_MAX_MID_BYTES = 8  # so that the extension fits MAX_EXTENSION_BYTES
_CAPTURE_TIME_BYTES = 8
_ONE_BYTE_IDS = range(1, 15)
_SEQUENCE_NUMBERS = 1 << 16
_NUMBER_LENGTH = 1  # of two bytes, as an element's first byte says it
_NUMBER_SHIFT = 8  # of the transport-wide number in the last word of a header
_EXTENDED, _MARKER = 0x9000, 0x80  # version 2 with an extension; in the second byte (RFC 3550 section 5.1)
_ONE_BYTE_BLOCK = 0xBEDE0001  # RFC 8285 section 4.2, of one word
_BLOCK_WORDS_AT = 15  # the last byte of the block's length
# Packet by packet, and not in one go by numpy: after the pause between two pictures numpy's code is in no cache, and
# 76 us for the first viewer against 34 are more than the 0.5 us that it is ahead for each that follows.
_write_header = struct.Struct(">HHIIII").pack_into
_write_type = struct.Struct(">BH").pack_into


class HeaderExtensions:
    """What the first packet of each unit says, for one track of one viewer, and where all of them have their number."""

    def __init__(
        self,
        mid: str,
        mid_id: int | None,
        playout_delay_id: int | None,
        capture_time_id: int | None,
        number_id: int | None = None,
    ) -> None:
        """Ids are those of the offer (1-14), None when it lacks the extension."""
        self.number_id = number_id if number_id in _ONE_BYTE_IDS else None
        """Of the transport-wide sequence number."""
        self.number_word = ((number_id or 0) << 4 | _NUMBER_LENGTH) << 24
        """The element of the number 0, as the last word of a header."""
        constant = b""
        if mid_id in _ONE_BYTE_IDS and 0 < len(mid.encode()) <= _MAX_MID_BYTES:
            constant += _element(mid_id, mid.encode())
        if playout_delay_id in _ONE_BYTE_IDS:
            constant += _element(playout_delay_id, _NO_PLAYOUT_DELAY)
        self._long = _block(constant, MAX_EXTENSION_BYTES)
        self._short = _block(constant, SHORT_EXTENSION_BYTES)
        self._before = self._after = b""
        if capture_time_id in _ONE_BYTE_IDS:
            whole = _block(constant + _element(capture_time_id, bytes(_CAPTURE_TIME_BYTES)), MAX_EXTENSION_BYTES)
            at = len(constant) + 1
            self._before, self._after = whole[:at], whole[at + _CAPTURE_TIME_BYTES :]

    def of(self, unit: RtpUnit) -> bytes:
        """What follows the number, of `unit.extension_bytes`: what is left of them is padding."""
        if not unit.tell_capture_time:
            return self._short
        return self._before + unit.capture_time + self._after if self._before else self._long


class RtpTrack:
    """One track of one viewer: its numbering, and how far it has come."""

    def __init__(
        self,
        payload_type: int,
        clock_rate_hz: int,
        extensions: HeaderExtensions,
        repair_type: int | None = None,
    ) -> None:
        """`repair_type`: the payload type of what is sent again (RTX, RFC 4588); None: the very same packets are."""
        self.payload_type, self.repair_type = payload_type, repair_type
        self.clock_rate_hz = clock_rate_hz
        self.extensions = extensions
        self.ssrc = secrets.randbelow(0xFFFFFFFF) + 1
        self.repair_ssrc = secrets.randbelow(0xFFFFFFFF) + 1
        self.numbers: SentRecord | None = None
        """Of the session, when all its packets are numbered (transport-wide congestion control)."""
        self._repairs = secrets.randbits(15)
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

    def write(self, unit: RtpUnit, start: int, stop: int, batch: PacketBatch, tag_bytes: int) -> None:
        """Write packets of the unit into the batch, from `start` on: as many before `stop` as make one run."""
        run = next(run for run in unit.runs if start < run.stop)
        sequence = (unit.number + self._sequence_offset + start) % _SEQUENCE_NUMBERS
        # A run ends where numbers start over.
        count = min(min(stop, run.stop) - start, BATCH_PACKETS, _SEQUENCE_NUMBERS - sequence)
        element = step = 0  # padding
        if self.numbers is not None:
            number = self.numbers.next_number % _SEQUENCE_NUMBERS
            count = min(count, _SEQUENCE_NUMBERS - number)
            element, step = self.extensions.number_word + (number << _NUMBER_SHIFT), 1 << _NUMBER_SHIFT
        last_size = run.last_size if start + count == run.stop else run.size
        stride = run.size + tag_bytes
        first = start - run.start
        at, end = first * stride, (first + count - 1) * stride + last_size
        batch.view[: end - at] = run.image(tag_bytes)[at:end]
        kind, buffer, ssrc = _EXTENDED | self.payload_type, batch.buffer, self.ssrc
        timestamp = unit.timestamp + self.timestamp_offset & 0xFFFFFFFF
        for index in range(count):
            number_element = element + index * step
            _write_header(
                buffer, index * stride, kind, sequence + index, timestamp, ssrc, _ONE_BYTE_BLOCK, number_element
            )
        if start + count == len(unit.payloads):
            buffer[(count - 1) * stride + 1] |= _MARKER
        if start == 0:
            buffer[_BLOCK_WORDS_AT] += unit.extension_bytes // 4
            batch.view[RTP_HEADER_BYTES : RTP_HEADER_BYTES + unit.extension_bytes] = self.extensions.of(unit)
        batch.filled(count, run.size, last_size, tag_bytes)

    def write_repair(self, unit: RtpUnit, index: int, batch: PacketBatch, tag_bytes: int) -> None:
        """Write one packet of the unit to be sent again, in the numbering of repairs."""
        self.write(unit, index, index + 1, batch, tag_bytes)
        size = batch.lengths[0]
        at = RTP_HEADER_BYTES + (unit.extension_bytes if index == 0 else 0)
        batch.view[at + REPAIR_BYTES : size + REPAIR_BYTES] = bytes(batch.view[at:size])  # the two overlap
        batch.view[at : at + REPAIR_BYTES] = batch.view[2:4]
        _write_type(batch.buffer, 1, batch.buffer[1] & _MARKER | (self.repair_type or 0), self._repairs)
        batch.view[8:12] = self.repair_ssrc.to_bytes(4, "big")
        self._repairs = (self._repairs + 1) % _SEQUENCE_NUMBERS
        batch.filled(1, size + REPAIR_BYTES, size + REPAIR_BYTES, tag_bytes)

    def sent(self, number_after: int, packets: int, octets: int) -> None:
        """Count new packets with so many bytes of payload, up to but not including `number_after`, as sent."""
        self.next_number = number_after
        self.packets += packets
        self.octets += octets


def _element(extension_id: int | None, value: bytes) -> bytes:
    return bytes(((extension_id or 0) << 4 | len(value) - 1,)) + value


def _block(elements: bytes, size: int) -> bytes:
    if len(elements) > size:
        raise ValueError(f"header extensions of {len(elements)} bytes do not fit {size}")
    return elements.ljust(size, b"\x00")
