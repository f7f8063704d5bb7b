"""Takes fragmented MP4 apart as it is muxed: what every piece needs first, and the fragments."""

from collections import deque
from typing import Final

_BOX_HEADER_BYTES: Final = 8
# A group of pictures: 40 s of 50 Mbit/s. A stream without key pictures must not fill the memory.
MAX_FRAGMENT_BYTES: Final = 256 << 20


class FragmentSink:
    """What a muxer writes to. `header` is whole with the first fragment (ISO/IEC 14496-12, 4.2 and 8.8)."""

    def __init__(self) -> None:
        self.header = b""
        """`ftyp` and `moov`."""
        self.fragments: deque[bytes] = deque()
        """Each `moof` with its `mdat`; whoever takes them removes them."""
        self._buffer = bytearray()
        self._moof = b""

    def write(self, data: bytes, /) -> int:
        # Copied because a fragment goes into its file in one piece, and comes in many.
        self._buffer += data
        while len(self._buffer) >= _BOX_HEADER_BYTES:
            size = int.from_bytes(self._buffer[:4], "big")
            kind = bytes(self._buffer[4:_BOX_HEADER_BYTES])
            if len(self._buffer) < size or size < _BOX_HEADER_BYTES:
                break
            self._take(kind, bytes(self._buffer[:size]))
            del self._buffer[:size]
        if len(self._buffer) > MAX_FRAGMENT_BYTES:
            raise OSError(f"more than {MAX_FRAGMENT_BYTES} bytes without a key picture")
        return len(data)

    def _take(self, kind: bytes, box: bytes) -> None:
        if kind == b"moof":
            self._moof = box
        elif kind == b"mdat":
            self.fragments.append(self._moof + box)
            self._moof = b""
        else:
            self.header += box
