"""AV1 in RTP: OBUs without their size fields, in elements of packets (RTP Payload Format For AV1, version 1.0)."""

from collections.abc import Iterator

from shared.media.av1 import obus

_SEQUENCE_HEADER, _TEMPORAL_DELIMITER, _TILE_LIST, _PADDING = 1, 2, 8, 15
_LEFT_OUT = frozenset({_TEMPORAL_DELIMITER, _TILE_LIST, _PADDING})  # section 5: not sent
_HAS_SIZE = 0x02
_GOES_ON, _FOLLOWS, _ONE_ELEMENT, _NEW_SEQUENCE = 0x80, 0x40, 0x10, 0x08  # Z, Y, W = 1, N


def packetize_av1(temporal_unit: bytes | memoryview, max_bytes: int) -> tuple[bytes, ...]:
    """RTP payloads of one temporal unit, each at most `max_bytes`; one OBU, or a piece of one, in each.

    Raises:
        BadRequest: an OBU is cut short or has no size.
    """
    data = bytes(temporal_unit)
    elements = [
        (kind, bytes((data[start] & ~_HAS_SIZE,)) + data[start + 1 : payload - leb] + data[payload:end])
        for kind, start, payload, leb, end in obus(data)
        if kind not in _LEFT_OUT
    ]
    new_sequence = any(kind == _SEQUENCE_HEADER for kind, _ in elements)
    payloads = [payload for _, element in elements for payload in _pieces(element, max_bytes)]
    if new_sequence:
        payloads[0] = bytes((payloads[0][0] | _NEW_SEQUENCE,)) + payloads[0][1:]
    return tuple(payloads)


def _pieces(element: bytes, max_bytes: int) -> Iterator[bytes]:
    room = max_bytes - 1
    for start in range(0, len(element), room):
        before = _GOES_ON if start else 0
        after = _FOLLOWS if start + room < len(element) else 0
        yield bytes((before | after | _ONE_ELEMENT,)) + element[start : start + room]
