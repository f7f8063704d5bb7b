"""The file of a transport stream, and where in it each picture begins: the muxer sorts tracks and tells of neither."""

from collections import deque
from typing import Final

import numpy as np

from services.publisher.outputs.base import OutputSettings
from services.publisher.outputs.file_output import FileSink

# ISO/IEC 13818-1: 2.4.3.2 packets, 2.4.3.6 and table 2-22 what begins in them.
_PACKET_BYTES: Final = 188
_BEGINS: Final = 0x40
_ADAPTATION, _HEADER_BYTES = 0x20, 4
_VIDEO_PREFIX: Final = b"\x00\x00\x01"
_VIDEO_IDS: Final = range(0xE0, 0xF0)


class TsSink(FileSink):
    """What libav writes may end within a packet: the buffer in between is no multiple of them."""

    def __init__(self, fd: int, settings: OutputSettings) -> None:
        super().__init__(fd, settings)
        self._rest = b""
        self._begun: deque[int] = deque()
        self.pictures: deque[int] = deque()
        """Where those begin that lie in the file whole, in its order; whoever asks takes them out."""

    def write(self, data: bytes, /) -> int:
        begin = self.bytes_written - len(self._rest)
        written = super().write(data)
        known = self._rest + data if self._rest else data
        count = len(known) // _PACKET_BYTES
        packets = np.frombuffer(known, np.uint8, count * _PACKET_BYTES).reshape(-1, _PACKET_BYTES)
        self._rest = bytes(known[count * _PACKET_BYTES :])
        for number in np.flatnonzero(packets[:, 1] & _BEGINS):
            if _begins_picture(packets[number].tobytes()):
                self._begun.append(begin + int(number) * _PACKET_BYTES)
        return written

    def piece_done(self) -> None:
        super().piece_done()
        self.all_done()

    def all_done(self) -> None:
        """What has begun is in the file to its end: libav writes each packet out before it returns."""
        self.pictures += self._begun
        self._begun.clear()


def _begins_picture(packet: bytes) -> bool:
    adaptation_bytes = 1 + packet[_HEADER_BYTES] if packet[3] & _ADAPTATION else 0
    start = _HEADER_BYTES + adaptation_bytes
    return packet[start : start + 3] == _VIDEO_PREFIX and packet[start + 3] in _VIDEO_IDS
