"""Packets in a file as they came, each behind its length: whole up to where a kill or a full disk has cut it off."""

import logging
import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from schemas.errors import BadRequest
from schemas.packets import PacketHeader, pack, unpack_packet

_log = logging.getLogger(__name__)

_LENGTH: Final = struct.Struct("<I")
_MAX_PACKET_BYTES: Final = 64 << 20  # no packet is larger: a ring of the usual size does not take it either


def read_spool(path: Path) -> Iterator[tuple[PacketHeader, memoryview, int]]:
    """Packets that were set aside and the bytes each takes, up to the first that is not whole; blocks."""
    try:
        with path.open("rb") as file:
            while len(length := file.read(_LENGTH.size)) == _LENGTH.size:
                size = _LENGTH.unpack(length)[0]
                if size > _MAX_PACKET_BYTES or len(message := file.read(size)) < size:
                    return
                yield *unpack_packet(message), _LENGTH.size + size
    except FileNotFoundError:
        return
    except (OSError, BadRequest) as error:
        _log.warning("%s ends early: %s", path, error)


def spool(descriptor: int, header: PacketHeader, payload: bytes) -> int:
    """Set a packet aside at the end of an open file; the bytes that took.

    Raises:
        OSError: the disk does not take it.
    """
    message = pack(header, payload)
    data = memoryview(_LENGTH.pack(len(message)) + message)
    total = len(data)
    while data:
        data = data[os.write(descriptor, data) :]
    return total
