"""From an output's queue into one opened destination, until that is to end."""

import time
from collections import Counter, deque
from collections.abc import Callable

from schemas.errors import Conflict
from schemas.packets import PacketHeader, Track
from services.publisher.opening import Opening, TrackBoard
from services.publisher.outputs.base import Output, OutputSettings
from services.publisher.packet_queue import PacketQueue, QueuedPacket
from services.publisher.segments import SegmentLimits
from services.publisher.timeline import LONGEST_GAP_NS, Place, Timeline

_TICK_SECONDS = 0.25  # how soon a thread without packets notices that a wait is over
_SILENT_SECONDS = 3.0  # no picture for so long: the output waits for its source, and says so
_ASK_AGAIN_SECONDS = 1.0  # a request for a key picture may get lost, and an encoder needs a moment
# Sound is encoded in pieces of 20 ms and may come later than its pictures; one that falls silent is not waited for.
_SOUND_WAIT_SECONDS = 0.5
_MAX_AHEAD_PACKETS = 256  # 5 s of sound that is ahead of its pictures


class Pump:
    """Belongs to the output's thread. Sound and pictures of a moment end in the same file."""

    def __init__(
        self,
        output_id: str,
        queue: PacketQueue,
        board: TrackBoard,
        settings: OutputSettings,
        limits: SegmentLimits,
        on_need_key: Callable[[], None],
    ) -> None:
        self._id, self._queue, self._board, self._settings = output_id, queue, board, settings
        self._limits, self._on_need_key = limits, on_need_key
        self.carried: list[QueuedPacket] = []
        """The key picture that the next file begins with, and what belongs to it."""
        self._ahead: deque[QueuedPacket] = deque()
        """Sound that is later than any picture yet: the next file's, should a key picture come."""
        self._reached_ns = 0
        """Where the pictures end, on the producer's clock."""
        self._asked_at = 0.0
        self.dropped: Counter[str] = Counter()
        self.rebased = 0

    def collect(self) -> list[QueuedPacket]:
        """Packets from a key picture on, with which the output can be opened; none when the source has ended.

        Raises:
            Conflict: the output cannot carry the codec.
        """
        self._board.refused = ""
        opening = Opening(self._board, self._settings.track_wait_seconds, self._settings.queue_bytes)
        for carried in self.carried:
            opening.add(carried)
        self.carried.clear()
        if not opening.held:
            self._on_need_key()
        while not opening.ready and not self._queue.finished:
            if (packet := self._queue.take(_TICK_SECONDS)) is not None:
                opening.add(packet)
            if self._board.refused and not opening.held:
                raise Conflict(f"output {self._id} {self._board.refused}")
        self.dropped["waiting_for_key"] += opening.skipped
        return opening.held

    def run(
        self,
        output: Output,
        held: list[QueuedPacket],
        on_written: Callable[[PacketHeader, Place], None],
        on_silence: Callable[[], None],
    ) -> None:
        """Write until the source ends, its parameters change or the file is long enough; then `carried` is set.

        Raises:
            MeshError: the destination failed.
        """
        timeline, opened = Timeline(self.dropped), self._board.chosen
        pending, fed_bytes, seen_at = deque(held), 0, time.monotonic()
        self._ahead.clear()
        self._reached_ns = 0

        def write(packet: QueuedPacket) -> None:
            rebased = timeline.rebased
            place = timeline.place(packet.header)
            self.rebased += timeline.rebased - rebased
            if place is not None:
                output.write(packet.header, packet.payload, place.pts_ns, place.dts_ns)
                on_written(packet.header, place)

        while pending or not self._queue.finished:
            packet = pending.popleft() if pending else self._queue.take(_TICK_SECONDS)
            if packet is None:
                if time.monotonic() - seen_at > _SILENT_SECONDS:
                    on_silence()
                continue
            header = packet.header
            self._board.note(packet)
            if header.track == "video":
                if self._board.refused:  # a source may show its B-frames only now
                    raise Conflict(f"output {self._id} {self._board.refused}")
                seen_at = time.monotonic()
                changed = self._board.chosen != opened or timeline.gap_ns(header) > LONGEST_GAP_NS
                due = self._limits.due(timeline.elapsed_ns(header), fed_bytes)
                if header.key and fed_bytes and (changed or due):
                    sound = set(opened) - {"video"}
                    wait_seconds = _SOUND_WAIT_SECONDS if sound and not changed else 0.0
                    self._end_at(packet, pending, write, sound, wait_seconds)
                    return
                if due:
                    self._ask()
                fed_bytes += len(packet.payload)
                write(packet)
                self._reached_ns = max(self._reached_ns, header.pts_ns + header.duration_ns)
                while self._ahead and self._ahead[0].header.pts_ns < self._reached_ns:
                    write(self._ahead.popleft())
            elif header.track not in opened:  # sound that begins late is taken in with the next key picture
                if len(opened) == 1:  # else it is the other encoding of the same sound
                    self.dropped["track_not_open"] += 1
            elif self._limits.any and header.pts_ns >= self._reached_ns:
                fed_bytes += len(packet.payload)
                self._ahead.append(packet)
                if len(self._ahead) > _MAX_AHEAD_PACKETS:
                    write(self._ahead.popleft())
            else:
                fed_bytes += len(packet.payload)
                write(packet)
        while self._ahead:
            write(self._ahead.popleft())

    def _end_at(
        self,
        key: QueuedPacket,
        pending: deque[QueuedPacket],
        write: Callable[[QueuedPacket], None],
        sound_tracks: set[Track],
        wait_seconds: float,
    ) -> None:
        """This file has the sound up to the key picture, the next one that from there on."""
        carried = [key]
        sound = deque(self._ahead)
        self._ahead.clear()
        waiting_until = time.monotonic() + wait_seconds
        reached = False
        while True:
            if sound:
                packet: QueuedPacket | None = sound.popleft()
            elif reached and not pending:
                break
            elif pending:
                packet = pending.popleft()
            elif (left_seconds := waiting_until - time.monotonic()) > 0 and not self._queue.finished:
                packet = self._queue.take(left_seconds)
            else:
                break
            if packet is None:
                continue
            header = packet.header
            if header.track == "video" or header.track not in sound_tracks:
                carried.append(packet)
            elif header.pts_ns < key.header.pts_ns and header.run == key.header.run:
                write(packet)
            else:
                carried.append(packet)
                reached = True
        self.carried = carried

    def _ask(self) -> None:
        now = time.monotonic()
        if now - self._asked_at >= _ASK_AGAIN_SECONDS:
            self._asked_at = now
            self._on_need_key()
