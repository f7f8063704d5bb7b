"""Pieces become one: every picture once, in order, on one clock, from a key picture to the end that was asked for."""

from collections import OrderedDict, deque
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Final

import msgspec

from schemas.errors import Conflict, ErrorInfo
from schemas.packets import PacketHeader, Track
from schemas.units import NS_PER_SECOND
from services.publisher.catch_up import Packet
from services.publisher.clip_pieces import BEHIND_NS, Piece

# Sound from a piece's key picture to where the piece before ends: a group of pictures of 20 s.
_MAX_EARLY_SOUND: Final = 2_048
# A picture shown within the clip may be decoded so many after one that is not: as many as codecs keep.
_MAX_REORDERED: Final = 16
# A group of pictures of 10 s at 60 pictures/s: as far as a ring begins before a file ends.
_MAX_REMEMBERED: Final = 600
# What is less than two pictures apart is the unrest of a camera's clock.
_GAP_PICTURES: Final = 2
_USUAL_DURATION_NS: Final = NS_PER_SECOND // 25


class Cut:
    """The packets of a clip, to be gone through once; what it tells of them is right afterwards."""

    def __init__(self, pieces: Iterable[Piece], end_ns: int) -> None:
        """`end_ns`: the last picture is captured at or before it."""
        self._pieces = sorted(pieces, key=lambda piece: piece.start_ns)
        self._limit_ns = end_ns
        self.start_ns = 0
        """Capture of the first picture, CLOCK_REALTIME; 0: there is none."""
        self.end_ns = 0
        """Capture of the last picture plus its duration."""
        self.gaps_ns = 0
        """Time in between of which there is nothing."""
        self.changed: ErrorInfo | None = None
        """Why it ends before the end that was asked for."""
        self._first: PacketHeader | None = None
        self._last: PacketHeader | None = None
        """The last picture, on the clip's clock; the clip's clock is that of its first piece."""
        self._placed: OrderedDict[tuple[int, int], int] = OrderedDict()
        """Run, index and time on the clip's clock of the latest pictures."""
        self._duration_ns = _USUAL_DURATION_NS
        self._wanted = next((piece.sound for piece in self._pieces if piece.sound), None)
        self._sound: PacketHeader | None = None
        """The first of sound: its parameters are those of all."""
        self._sounds = 0
        self._sound_ns = -1
        self._over = False

    @property
    def tracks(self) -> tuple[Track, ...]:
        """What the clip is to have."""
        return ("video", self._wanted) if self._wanted else ("video",)

    def packets(self) -> Iterator[Packet]:
        """Pictures and sound in an order that can be muxed."""
        for piece in self._pieces:
            if self._over or self.changed:
                return
            yield from self._piece(piece)

    def _piece(self, piece: Piece) -> Iterator[Packet]:
        shift_ns: int | None = None
        early: deque[Packet] = deque(maxlen=_MAX_EARLY_SOUND)
        behind: list[Packet] = []
        """Pictures after the end, which one before it may need."""
        beyond = False
        for header, payload in piece.packets:
            if header.track != "video":
                if shift_ns is None:
                    early.append((header, payload))
                else:
                    yield from self._heard(header, payload, shift_ns)
                continue
            if beyond and not header.reordered:
                if header.captured_ns > self._limit_ns + BEHIND_NS:
                    return
                continue
            if (placed_ns := self._placed.get((header.run, header.index))) is not None:
                shift_ns = placed_ns - header.pts_ns  # the same picture in two pieces tells how their clocks differ
                continue
            found_ns = self._shift(header, shift_ns)
            if self.changed:
                return
            if found_ns is None:
                continue
            shift_ns = found_ns
            placed = msgspec.structs.replace(header, pts_ns=header.pts_ns + shift_ns, dts_ns=header.dts_ns + shift_ns)
            if header.captured_ns > self._limit_ns:
                self._over = beyond = True
                if header.reordered:
                    behind.append((placed, payload))
                    if len(behind) > _MAX_REORDERED:
                        return
                continue
            for one in [*behind, (placed, payload)]:
                self._take(one[0])
                yield one
            behind.clear()
            while early:
                yield from self._heard(*early.popleft(), shift_ns)

    def _shift(self, header: PacketHeader, known_ns: int | None) -> int | None:
        """From the piece's clock to the clip's, for a picture that is to be taken; None: it is not."""
        last = self._last
        if last is None:
            if not header.key:
                return None
            return 0
        if header.run == last.run and header.index <= last.index:
            return None
        follows = header.run == last.run and header.index == last.index + 1
        if not follows and (not header.key or header.captured_ns <= last.captured_ns):
            return None
        if header.key and self._is_other(header):
            return None
        if known_ns is not None and (follows or header.dts_ns + known_ns > last.dts_ns):
            return known_ns
        if follows:
            return last.dts_ns + self._duration_ns - header.dts_ns
        return last.pts_ns + (header.captured_ns - last.captured_ns) - header.pts_ns

    def _is_other(self, header: PacketHeader) -> bool:
        """Its parameters are not those of the first picture, and one file has only one set of them."""
        first = self._first
        assert first is not None  # there is a last picture
        if _parameters(header) == _parameters(first):
            return False
        moment = datetime.fromtimestamp(header.captured_ns // NS_PER_SECOND, UTC).isoformat()
        what = "size" if (header.width, header.height) != (first.width, first.height) else "codec or its parameters"
        self.changed = Conflict(
            f"the {what} of {header.stream}/{header.rendition} changes at {moment}, and one file has only one; "
            f"the clip ends there, ask for the rest from there on"
        ).info
        return True

    def _take(self, header: PacketHeader) -> None:
        last = self._last
        if last is None:
            self._first = header
            self.start_ns = header.captured_ns
        elif header.run != last.run or header.index != last.index + 1:
            missing_ns = header.captured_ns - self.end_ns
            self.gaps_ns += missing_ns if missing_ns > _GAP_PICTURES * self._duration_ns else 0
        elif header.dts_ns > last.dts_ns:
            self._duration_ns = header.dts_ns - last.dts_ns
        self._last = header
        self._placed[header.run, header.index] = header.pts_ns
        if len(self._placed) > _MAX_REMEMBERED:
            self._placed.popitem(last=False)
        if not self.end_ns or header.captured_ns >= self.end_ns - self._duration_ns:
            self.end_ns = header.captured_ns + (header.duration_ns or self._duration_ns)

    def _heard(self, header: PacketHeader, payload: bytes, shift_ns: int) -> Iterator[Packet]:
        first, last = self._first, self._last
        assert first is not None  # the shift is known from a picture
        assert last is not None
        if header.track != self._wanted or (self._sound is None and not header.extradata):
            return
        sound = self._sound = self._sound or header
        pts_ns = header.pts_ns + shift_ns
        if (header.sample_rate, header.channels) != (sound.sample_rate, sound.channels):
            return
        limit_ns = first.pts_ns + self._limit_ns - first.captured_ns + self._duration_ns
        if pts_ns <= self._sound_ns or pts_ns < first.pts_ns or pts_ns >= limit_ns:
            return
        self._sounds, self._sound_ns = self._sounds + 1, pts_ns
        yield (
            msgspec.structs.replace(
                header,
                run=last.run,
                index=self._sounds,
                pts_ns=pts_ns,
                dts_ns=header.dts_ns + shift_ns,
                extradata=sound.extradata,
            ),
            payload,
        )


def _parameters(header: PacketHeader) -> tuple[object, ...]:
    return header.codec, header.width, header.height, header.extradata
