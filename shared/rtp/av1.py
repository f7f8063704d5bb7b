"""AV1 in RTP: OBUs without their size fields, in elements of packets (RTP Payload Format For AV1, version 1.0)."""

from collections.abc import Sequence

from shared.media.av1 import obus

_SEQUENCE_HEADER, _TEMPORAL_DELIMITER, _TILE_LIST, _PADDING = 1, 2, 8, 15
LEFT_OUT = frozenset({_TEMPORAL_DELIMITER, _TILE_LIST, _PADDING})  # section 5: not sent, and ignored when they are
_HAS_SIZE = 0x02
_GOES_ON, _FOLLOWS, _NEW_SEQUENCE = 0x80, 0x40, 0x08  # Z, Y, N of the aggregation header (section 4.4)
_COUNT_SHIFT, _MAX_COUNT = 4, 3  # W: so many elements, the last without its length; 0: more, each with one
_HEADER_BYTES, _LENGTH_BYTES = 1, 2  # a length of two leb128 bytes reaches 16,383, more than any packet holds
_LEB128_BITS, _LEB128_MORE = 7, 0x80


def packetize_av1(temporal_unit: bytes | memoryview, max_bytes: int, first_room_bytes: int = 0) -> tuple[bytes, ...]:
    """RTP payloads of one temporal unit, each at most `max_bytes`, the first so much shorter; filled in turn.

    Packets break within OBUs, not between them: browsers without a dependency descriptor take a packet that begins
    with an OBU for the beginning of a picture.

    Raises:
        BadRequest: an OBU is cut short or has no size.
    """
    data = bytes(temporal_unit)
    new_sequence = False
    elements: list[bytes] = []
    for kind, start, payload, leb, end in obus(data):
        if kind not in LEFT_OUT:
            new_sequence = new_sequence or kind == _SEQUENCE_HEADER
            elements.append(bytes((data[start] & ~_HAS_SIZE,)) + data[start + 1 : payload - leb] + data[payload:end])
    payloads = _fill(elements, max_bytes - _HEADER_BYTES, first_room_bytes)
    if new_sequence:
        payloads[0] = bytes((payloads[0][0] | _NEW_SEQUENCE,)) + payloads[0][1:]
    return tuple(payloads)


def _fill(elements: Sequence[bytes], packet_bytes: int, first_room_bytes: int) -> list[bytes]:
    payloads: list[bytes] = []
    packet: list[bytes] = []
    room, flags = packet_bytes - first_room_bytes, 0
    for number, element in enumerate(elements, 1):
        # Whoever is not the last leaves room for a byte of the next one.
        last = number == len(elements)
        position = 0
        while (left := len(element) - position) + _LENGTH_BYTES > room - (0 if last else _LENGTH_BYTES + 1):
            piece = min(room - _LENGTH_BYTES, left - 1)
            if piece > 0:
                packet.append(element[position : position + piece])
                position += piece
            payloads.append(_aggregate(packet, flags | (_FOLLOWS if piece > 0 else 0)))
            packet, room, flags = [], packet_bytes, _GOES_ON if piece > 0 else 0
        packet.append(element[position:])
        room -= left + _LENGTH_BYTES
    if packet:
        payloads.append(_aggregate(packet, flags))
    return payloads


def _aggregate(packet: Sequence[bytes], flags: int) -> bytes:
    counted = len(packet) if len(packet) <= _MAX_COUNT else 0
    parts = [bytes((flags | counted << _COUNT_SHIFT,))]
    for number, element in enumerate(packet, 1):
        if number != counted:
            parts.append(_leb128(len(element)))
        parts.append(element)
    return b"".join(parts)


def _leb128(length: int) -> bytes:
    low, high = length & (_LEB128_MORE - 1), length >> _LEB128_BITS
    return bytes((low | _LEB128_MORE, high)) if high else bytes((low,))
