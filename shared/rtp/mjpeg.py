"""JPEG in RTP (RFC 2435): baseline pictures of three components, 4:2:0 or 4:2:2, up to 2040x2040.

Receivers have the usual Huffman tables (JPEG annex K.3) and no others: a picture made with its own cannot be sent.
"""

from dataclasses import dataclass, field

from schemas.errors import BadRequest

_SOS, _DQT, _DHT, _DRI, _SOF0 = 0xDA, 0xDB, 0xC4, 0xDD, 0xC0
_BLOCK_PIXELS = 8
_MAX_EDGE_PIXELS = 2040  # 255 blocks
_TYPES = {(2, 1): 0, (2, 2): 1}  # RFC 2435 section 4.1, by the sampling of Y
_RESTARTS = 64  # added to the type where there are restart intervals
_TABLES_IN_BAND = 255  # of Q: the tables come with every picture
_TABLE_BYTES = 64
# How many codes of each length the usual tables have, by class and number: enough to know them by.
_USUAL_CODES = {
    0x00: bytes.fromhex("00010501010101010100000000000000"),
    0x01: bytes.fromhex("00030101010101010101010000000000"),
    0x10: bytes.fromhex("0002010303020403050504040000017d"),
    0x11: bytes.fromhex("00020102040403040705040400010277"),
}


@dataclass(slots=True)
class _Picture:
    width: int = 0
    height: int = 0
    type: int = -1
    restart_interval: int = 0
    tables: dict[int, bytes] = field(default_factory=dict)
    chosen: list[int] = field(default_factory=list)
    scan_at: int = 0


def packetize_mjpeg(picture: bytes | memoryview, max_bytes: int) -> tuple[bytes, ...]:
    """RTP payloads of one JPEG picture, each at most `max_bytes`.

    Raises:
        BadRequest: it is broken, or one that RFC 2435 does not know; says why.
    """
    data = bytes(picture)
    parsed = _parse(data)
    scan = data[parsed.scan_at : -2] if data.endswith(b"\xff\xd9") else data[parsed.scan_at :]
    kind = parsed.type + (_RESTARTS if parsed.restart_interval else 0)
    size = bytes((-(-parsed.width // _BLOCK_PIXELS), -(-parsed.height // _BLOCK_PIXELS)))
    # F and L set: each packet is a piece of a whole picture, not of one restart interval.
    restart = parsed.restart_interval.to_bytes(2, "big") + b"\xff\xff" if parsed.restart_interval else b""
    quantizers = parsed.tables[parsed.chosen[0]] + parsed.tables[parsed.chosen[1]]  # two, also where they are one
    tables = b"\x00\x00" + len(quantizers).to_bytes(2, "big") + quantizers
    payloads, at = [], 0
    while at < len(scan):
        header = b"\x00" + at.to_bytes(3, "big") + bytes((kind, _TABLES_IN_BAND)) + size + restart
        if at == 0:
            header += tables
        room = max_bytes - len(header)
        payloads.append(header + scan[at : at + room])
        at += room
    return tuple(payloads)


def _parse(data: bytes) -> _Picture:
    picture = _Picture()
    if data[:2] != b"\xff\xd8":
        raise BadRequest("JPEG picture without its start")
    at = 2
    while True:
        while data[at : at + 2] == b"\xff\xff":  # fill bytes
            at += 1
        if len(data) < at + 4 or data[at] != 0xFF:
            raise BadRequest(f"JPEG picture broken at byte {at}")
        marker, length = data[at + 1], int.from_bytes(data[at + 2 : at + 4], "big")
        body = data[at + 4 : at + 2 + length]
        if length < 2 or len(body) != length - 2:
            raise BadRequest(f"JPEG picture cut short at byte {at}")
        at += 2 + length
        if marker == _SOS:
            picture.scan_at = at
            break
        _segment(picture, marker, body)
    if picture.type < 0 or any(number not in picture.tables for number in picture.chosen):
        raise BadRequest("JPEG picture without its frame header or its quantization tables")
    if picture.tables[picture.chosen[1]] != picture.tables[picture.chosen[2]]:
        raise BadRequest("JPEG picture whose two colours have different quantizers cannot be sent in RTP")
    return picture


def _segment(picture: _Picture, marker: int, body: bytes) -> None:
    if marker == _DQT:
        for at in range(0, len(body), 1 + _TABLE_BYTES):
            table = body[at + 1 : at + 1 + _TABLE_BYTES]
            if body[at] >> 4 or len(table) != _TABLE_BYTES:
                raise BadRequest("JPEG picture with quantizers of 16 bits cannot be sent in RTP")
            picture.tables[body[at] & 0x0F] = table
    elif marker == _DHT:
        _check_huffman(body)
    elif marker == _DRI and len(body) >= 2:
        picture.restart_interval = int.from_bytes(body[:2], "big")
    elif marker == _SOF0:
        _frame(picture, body)
    elif 0xC0 < marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
        raise BadRequest("JPEG picture that is not baseline cannot be sent in RTP")


def _frame(picture: _Picture, body: bytes) -> None:
    if len(body) < 15 or body[0] != 8 or body[5] != 3:
        raise BadRequest("JPEG picture without three components of 8 bits cannot be sent in RTP")
    picture.height, picture.width = int.from_bytes(body[1:3], "big"), int.from_bytes(body[3:5], "big")
    if not 0 < picture.width <= _MAX_EDGE_PIXELS or not 0 < picture.height <= _MAX_EDGE_PIXELS:
        raise BadRequest(f"JPEG picture of {picture.width}x{picture.height} cannot be sent in RTP; at most 2040x2040")
    samplings = [(body[at] >> 4, body[at] & 0x0F) for at in (7, 10, 13)]
    kind = _TYPES.get(samplings[0])
    if kind is None or samplings[1:] != [(1, 1), (1, 1)]:
        raise BadRequest("JPEG picture that is neither 4:2:0 nor 4:2:2 cannot be sent in RTP")
    picture.type, picture.chosen = kind, [body[8], body[11], body[14]]


def _check_huffman(body: bytes) -> None:
    at = 0
    while at < len(body):
        codes = body[at + 1 : at + 17]
        if _USUAL_CODES.get(body[at]) != codes:
            raise BadRequest("JPEG picture with Huffman tables of its own cannot be sent in RTP")
        at += 17 + sum(codes)
