"""Where the pictures of a transport stream are: times are looked for by halving, as it has no index.

Source: ISO/IEC 13818-1, 2.4.3 and 2.4.4.
"""

from bisect import bisect_right, insort
from collections.abc import Iterator
from typing import Final

from services.frame_extractor.excerpts.source import Source

PACKET_BYTES: Final = 188
SYNC: Final = 0x47
_VIDEO_TYPES: Final = frozenset((0x01, 0x02, 0x10, 0x1B, 0x24))  # MPEG-1, MPEG-2, MPEG-4, H.264, H.265
_HEAD_BYTES: Final = 64 << 10  # tables come ten times a second
_LOOK_BYTES: Final = 64 << 10
_MAX_LOOK_BYTES: Final = 4 << 20  # a key picture of 8K
_PROBES: Final = 16  # where the clock is looked at, whatever is asked for: it may have been set back
_PROBE_BYTES: Final = 2 << 20  # of a short one fewer
_CLOSE_BYTES: Final = 512 << 10  # looking more closely costs more than reading it
_CLOSE_S: Final = 0.5
_STEPS: Final = 24
_LEAD_S: Final = 2.0  # groups of pictures are mostly as short; twice as much whenever that was too little
_TAIL_S: Final = 0.5  # pictures are not farther from their order
_TICKS: Final = 90_000
_WRAP: Final = 1 << 33


class TransportMap:
    """A map by the times of packets."""

    head = b""  # tables stand before the first picture

    def __init__(self, source: Source, pid: int) -> None:
        """Raises:
        StorageError: the video cannot be read.
        ValueError: the clock was set back, or there is none.
        """
        self._source, self._pid = source, pid
        self._end = source.size_bytes // PACKET_BYTES * PACKET_BYTES
        first = self._look(0)
        if first is None:
            raise ValueError("no times")
        self._first_ticks = first[0]
        self._known = [(0, 0)]  # bytes, ticks
        count = min(_PROBES, 2 + self._end // _PROBE_BYTES)
        for number in range(1, count + 1):
            # The last one just before the end, so that this is known.
            self._probe(self._end * number // count if number < count else max(0, self._end - _LOOK_BYTES))
        self._last_ticks = self._known[-1][1]

    def around(self, at_s: float, before: int, after: int) -> tuple[int, int]:
        # For the end of the video a time beyond it is asked for.
        begin_ticks = min(at_s * _TICKS, self._last_ticks) - _LEAD_S * _TICKS * 2**before
        end_ticks = at_s * _TICKS + _TAIL_S * _TICKS * 2**after
        begin = self._between(begin_ticks)[0] if begin_ticks > 0 else 0
        end = self._between(end_ticks)[1] if end_ticks < self._last_ticks else self._end
        return begin, end

    def fits(self, piece: bytes) -> bool:
        return piece[::PACKET_BYTES].count(SYNC) == -(-len(piece) // PACKET_BYTES)

    def time_of(self, start: int) -> float | None:
        return None

    def _between(self, ticks: float) -> tuple[int, int]:
        """Two places near each other, the first at or before the time, the second after it."""
        for step in range(_STEPS):
            times = [at for _, at in self._known]
            above = bisect_right(times, ticks)
            low, low_ticks = self._known[above - 1]
            if above == len(self._known):
                return low, self._end
            high, high_ticks = self._known[above]
            if high - low <= _CLOSE_BYTES or high_ticks - low_ticks <= _CLOSE_S * _TICKS:
                break
            share = (ticks - low_ticks) / (high_ticks - low_ticks) if step % 3 < 2 else 0.5
            span = high - low
            at = low + min(max(int(span * share), span // 16), span - span // 16)
            if not self._probe(at):
                break
        return low, high

    def _probe(self, at: int) -> bool:
        """Look at the clock; whether that told anything new."""
        found = self._look(at)
        if found is None:
            return False
        ticks = (found[0] - self._first_ticks) % _WRAP
        entry = (found[1], ticks)
        if entry in self._known:
            return False
        insort(self._known, entry)
        times = [time for _, time in self._known]
        if times != sorted(times):
            raise ValueError("the clock was set back")
        return True

    def _look(self, at: int) -> tuple[int, int] | None:
        """The first time from there on, in ticks, and the place of its packet."""
        begin = at // PACKET_BYTES * PACKET_BYTES
        size = _LOOK_BYTES // PACKET_BYTES * PACKET_BYTES
        while size <= _MAX_LOOK_BYTES and begin < self._end:
            end = min(begin + size, self._end)
            for place, payload, starts in _packets(self._source.read(begin, end), self._pid):
                if starts and (ticks := _time(payload)) is not None:
                    return ticks, begin + place
            begin, size = end, 2 * size
        return None


def map_transport(source: Source) -> TransportMap | None:
    """None where there is not one video in it.

    Raises:
        StorageError: the video cannot be read.
        ValueError: its clock was set back, or its packets are of another length.
    """
    head = source.read(0, min(_HEAD_BYTES // PACKET_BYTES * PACKET_BYTES, source.size_bytes))
    programs = _programs(_section(head, 0))
    if len(programs) != 1:
        return None
    videos = list(_videos(_section(head, programs[0])))
    return TransportMap(source, videos[0]) if len(videos) == 1 else None


def _packets(data: bytes, pid: int) -> Iterator[tuple[int, bytes, bool]]:
    """The packets of one stream: their place, what they carry, and whether something begins in it."""
    for at in range(0, len(data) - PACKET_BYTES + 1, PACKET_BYTES):
        if data[at] != SYNC:
            raise ValueError("no packets of 188 bytes")
        if int.from_bytes(data[at + 1 : at + 3], "big") & 0x1FFF != pid or not data[at + 3] & 0x10:
            continue
        start = at + 4 + (1 + data[at + 4] if data[at + 3] & 0x20 else 0)
        yield at, data[min(start, at + PACKET_BYTES) : at + PACKET_BYTES], bool(data[at + 1] & 0x40)


def _time(payload: bytes) -> int | None:
    """The time of decoding that begins a PES packet, else that of presentation."""
    if len(payload) < 14 or payload[:3] != b"\x00\x00\x01" or not payload[7] & 0x80:
        return None
    at = 14 if payload[7] & 0x40 else 9
    field = payload[at : at + 5]
    if len(field) < 5:
        return None
    return (field[0] >> 1 & 7) << 30 | field[1] << 22 | (field[2] >> 1) << 15 | field[3] << 7 | field[4] >> 1


def _section(head: bytes, pid: int) -> bytes:
    """The content of the first table of a stream, where that is in one packet."""
    for _, payload, starts in _packets(head, pid):
        if starts and payload:
            table = payload[1 + payload[0] :]
            length = int.from_bytes(table[1:3], "big") & 0xFFF
            if len(table) < 3 + length:
                raise ValueError("a long table")
            return table[8 : 3 + length - 4]
    return b""


def _programs(table: bytes) -> list[int]:
    entries = [table[at : at + 4] for at in range(0, len(table) - 3, 4)]
    return [int.from_bytes(entry[2:], "big") & 0x1FFF for entry in entries if entry[:2] != b"\x00\x00"]


def _videos(table: bytes) -> Iterator[int]:
    at = 4 + (int.from_bytes(table[2:4], "big") & 0xFFF)
    while at + 5 <= len(table):
        if table[at] in _VIDEO_TYPES:
            yield int.from_bytes(table[at + 1 : at + 3], "big") & 0x1FFF
        at += 5 + (int.from_bytes(table[at + 3 : at + 5], "big") & 0xFFF)
