"""What a line carries, from what was sent and when it came: its rate, its losses, and the queue before its bottleneck.

Pictures leave at once, not spread over their time: how far the packets of one are apart when they arrive tells what
the line carries, and how long its first one took tells what the pictures before have left in the queue.
"""

import asyncio
from collections import deque
from itertools import compress
from statistics import median

import numpy as np
from numpy.typing import NDArray

from services.webrtc_gateway.congestion.arrivals import REFERENCE_TICKS, REFERENCES, TICK_US, Arrivals
from services.webrtc_gateway.congestion.delay_trend import DelayTrend
from services.webrtc_gateway.egress.sent_record import RECORD_PACKETS, SentRecord

FRESH_SECONDS = 3.0  # browsers tell every 50 to 250 ms, of what came
# How often what was told is looked at: to do it once for some feedbacks costs little more than for one of them.
JUDGED_EVERY_SECONDS = 0.25
QUIET_SECONDS = 1.0  # where nothing seems wrong
_MAX_PENDING = 128  # feedbacks
_BURST_US = 5_000  # what leaves within it is one group (draft-ietf-rmcat-gcc-02 section 5.2)
_WINDOW_US = 500_000  # of the queue that stands: a key picture's passes in less where there is room for the rest
_RATE_WINDOW_US = 1_000_000
_LOSS_WINDOW_US, _MAX_LOSS_WINDOW_US = 1_000_000, 3_000_000  # the longer one where there are so few
_LOSS_PACKETS = 50  # fewer say little about a third
_FLOOR_RISE = 0.01  # s/s: a route that became longer, or two clocks that part, are not a queue for ever
# A queue that stands this long before a bottleneck grows there, or it would empty between pictures. 60 ms are two
# pictures; radio links hold packets back as long, but not every one for half a second.
STANDING_SECONDS = 0.06
STANDING_CALM_SECONDS = 0.03
_STANDING_OVERUSE_SECONDS = 0.03  # where the trend says so too
_EMPTYING_SLOPE = -0.05  # a twentieth of the line's rate is free: what is sent now is not too much
_TRAIN_PACKETS = 5
_MIN_TRAIN_US = 1_000  # shorter is below what times of 250 us can tell
_TRAINS, _TRAIN_FRESH_US = 5, 10_000_000
_LATEST_GROUPS = 5
_STANDS_GROUPS = 4  # of one window: of key pictures alone there are fewer, and each fills the queue anew
# Where no queue grows, loss is the radio's and not too much of pictures, and repairs mend it. A third is past that.
LOSS_WITHOUT_QUEUE, LOSS_WITH_QUEUE = 0.3, 0.1


class Bandwidth:
    """Of the line of one session; rates in bit/s of UDP payload."""

    def __init__(self, record: SentRecord) -> None:
        self.trend = DelayTrend()
        self.windows = 0
        """How often it was judged anew."""
        self.fraction_lost = 0.0
        self.acknowledged_bps = 0
        self.standing_s = 0.0
        """The least queue of the last half second."""
        self.told_s = float("-inf")
        """When the other end told last, in monotonic seconds."""
        self._record = record
        self.watched = False
        """Each feedback is looked at, as somebody waits for it."""
        self._reference: int | None = None
        self._base_ticks = 0
        self._numbers: list[int] = []
        """Of packets that have come and are not looked at yet."""
        self._ticks: list[int] = []
        self._pending = 0
        self._lost_pending = 0
        self._checked = 0
        """Up to here packets count as lost; those behind may still be overtaken."""
        self._told = 0
        self._floor_us: float | None = None
        self._group: tuple[int, int, int, int, int] | None = None
        """Sent, first and last arrival, packets and bytes behind the first, of the group that may go on."""
        self._queue_us: deque[tuple[int, float]] = deque(maxlen=256)
        self._rates: deque[tuple[int, int]] = deque(maxlen=256)
        self._losses: deque[tuple[int, int, int]] = deque(maxlen=256)
        self._trains: deque[tuple[int, float]] = deque(maxlen=_TRAINS)
        self._judged_s = float("-inf")
        self._groups_in_window = 0
        self.trains = 0
        """Groups large enough to tell what the line carries, since the beginning."""
        self.last_train_bps = 0.0
        self._waiting: asyncio.Future[None] | None = None

    def take(self, arrivals: Arrivals, now_s: float) -> bool:
        """Take one feedback. Whether it is about packets that are known."""
        count = len(arrivals.symbols)
        first = self._record.find(arrivals.first, count)
        if first is None:
            return False
        self.told_s = now_s
        base = self._base(arrivals.reference)
        self._numbers += compress(range(first, first + count), arrivals.symbols)
        self._ticks += [base + ticks for ticks in arrivals.ticks]
        self._pending += 1
        self._lost_pending += arrivals.symbols.count(0)
        since_s = now_s - self._judged_s
        due = since_s >= QUIET_SECONDS or (since_s >= JUDGED_EVERY_SECONDS and self._seems_wrong())
        if due or self.watched or self._pending >= _MAX_PENDING:
            self._look(first + count, now_s)
        return True

    def begin_anew(self) -> None:
        """Something else is sent from now on: what was lost before says nothing of it."""
        self._checked = self._record.next_number
        self._losses.clear()
        self.fraction_lost = 0.0

    async def told(self) -> None:
        """Wait for the next feedback; the caller sets the deadline."""
        if self._waiting is None or self._waiting.done():
            self._waiting = asyncio.get_running_loop().create_future()
        await asyncio.shield(self._waiting)

    def is_fresh(self, now_s: float) -> bool:
        """The other end tells; else nothing here is true of now."""
        return self.windows > 0 and now_s - self.told_s <= FRESH_SECONDS

    @property
    def queue_s(self) -> float:
        """The least queue of the last few groups: of now, where `standing_s` is of half a second."""
        return min((queue for _, queue in list(self._queue_us)[-_LATEST_GROUPS:]), default=0.0) / 1e6

    @property
    def growing(self) -> bool:
        """A queue stands, and does not become shorter."""
        overusing = self.trend.overusing and self.standing_s > _STANDING_OVERUSE_SECONDS
        stands = self.standing_s > STANDING_SECONDS and self.trend.slope > _EMPTYING_SLOPE
        return self._groups_in_window >= _STANDS_GROUPS and (overusing or stands)

    @property
    def lossy(self) -> bool:
        """More is lost than repairs can mend, or a queue overflows."""
        queued = self.standing_s > STANDING_CALM_SECONDS
        return self.fraction_lost > (LOSS_WITH_QUEUE if queued else LOSS_WITHOUT_QUEUE)

    @property
    def calm(self) -> bool:
        return not self.growing and not self.lossy and self.standing_s <= STANDING_CALM_SECONDS

    @property
    def capacity_bps(self) -> int | None:
        """What the line carries, by the last groups of packets that were sent at once; others' share of it too."""
        return int(median(rate for _, rate in self._trains)) if self._trains else None

    @property
    def estimate_bps(self) -> int:
        """What may be sent: what comes through where a queue stands, else what the line was seen to carry."""
        capacity_bps = self.capacity_bps or self.acknowledged_bps
        if self.standing_s > STANDING_SECONDS:
            return min(self.acknowledged_bps, capacity_bps)
        return max(self.acknowledged_bps, capacity_bps)

    def _base(self, reference: int) -> int:
        """The reference time in ticks, since that of the first feedback."""
        if self._reference is None:
            self._reference = reference
        ahead = (reference - self._reference) % REFERENCES
        if ahead >= REFERENCES // 2:
            ahead -= REFERENCES
        self._base_ticks += ahead * REFERENCE_TICKS
        self._reference = reference
        return self._base_ticks

    def _seems_wrong(self) -> bool:
        """At a first glance: the last packet was long on its way, or many are missing."""
        if not self._numbers or self._floor_us is None or self._lost_pending > LOSS_WITH_QUEUE * len(self._numbers):
            return True
        way_us = self._ticks[-1] * TICK_US - self._record.sent_us(self._numbers[-1])
        return way_us - self._floor_us > STANDING_CALM_SECONDS * 1e6 or not self.calm

    def _look(self, told: int, now_s: float) -> None:
        now_us = int(now_s * 1e6)
        if self._numbers:
            numbers, times_us = np.array(self._numbers), np.array(self._ticks) * TICK_US
            again = self._record.arrived(numbers)
            if again.any():
                numbers, times_us = numbers[~again], times_us[~again]
            self._record.note_arrived(numbers)
            if len(numbers):
                self._take_groups(numbers, times_us)
        self._numbers, self._ticks = [], []
        self._pending = self._lost_pending = 0
        self._count_lost(told, now_us)
        if now_s - self._judged_s >= JUDGED_EVERY_SECONDS:
            self._judged_s = now_s
            self._judge(now_us)
            self.windows += 1
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)

    def _take_groups(self, numbers: NDArray[np.int64], times_us: NDArray[np.int64]) -> None:
        sent_us, sizes = self._record.sent_of(numbers)
        starts = np.concatenate(((0,), np.flatnonzero(sent_us[1:] != sent_us[:-1]) + 1))
        stops = np.append(starts[1:], len(numbers))
        bursts = zip(
            sent_us[starts].tolist(),
            times_us[starts].tolist(),
            times_us[stops - 1].tolist(),
            (stops - starts).tolist(),
            np.add.reduceat(sizes, starts).tolist(),
            sizes[starts].tolist(),
            strict=True,
        )
        for burst in bursts:
            self._take_burst(*burst)
        self._rates.append((int(times_us[-1]), int(sizes.sum())))

    def _take_burst(self, sent_us: int, first_us: int, last_us: int, count: int, size: int, first_size: int) -> None:
        group = self._group
        if group is not None and 0 <= sent_us - group[0] <= _BURST_US:
            self._group = (group[0], group[1], max(group[2], last_us), group[3] + count, group[4] + size)
            return
        if group is not None:
            self._end_group(*group)
        self._group = (sent_us, first_us, last_us, count - 1, size - first_size)

    def _end_group(self, sent_us: int, first_us: int, last_us: int, behind: int, behind_bytes: int) -> None:
        way_us = first_us - sent_us
        last_sent_us = self._queue_us[-1][0] if self._queue_us else sent_us
        rise_us = _FLOOR_RISE * max(0, sent_us - last_sent_us)
        self._floor_us = way_us if self._floor_us is None else min(way_us, self._floor_us + rise_us)
        self._queue_us.append((sent_us, way_us - self._floor_us))
        self.trend.take(first_us / 1e3, (way_us - self._floor_us) / 1e3)
        if behind >= _TRAIN_PACKETS - 1:
            self.trains += 1
            self.last_train_bps = behind_bytes * 8e6 / max(last_us - first_us, _MIN_TRAIN_US)
            self._trains.append((sent_us, self.last_train_bps))

    def _count_lost(self, told: int, now_us: int) -> None:
        stop = self._told
        self._told = max(self._told, told)
        start, self._checked = max(self._checked, stop - RECORD_PACKETS), max(self._checked, stop)
        if start < stop:
            came = self._record.arrived(np.arange(start, stop))
            self._losses.append((now_us, stop - start, stop - start - int(np.count_nonzero(came))))

    def _judge(self, now_us: int) -> None:
        packets = sum(count for _, count, _ in self._losses)
        while self._losses:
            at_us, count, _ = self._losses[0]
            needed = now_us - at_us <= _MAX_LOSS_WINDOW_US and packets - count < _LOSS_PACKETS
            if needed or now_us - at_us <= _LOSS_WINDOW_US:
                break
            self._losses.popleft()
            packets -= count
        lost = sum(missing for _, _, missing in self._losses)
        self.fraction_lost = lost / packets if packets >= _LOSS_PACKETS else 0.0
        self.trend.judge()
        # What the line carried before a queue grew, it carries no more.
        fresh_us = _RATE_WINDOW_US if self.growing else _TRAIN_FRESH_US
        while self._trains and now_us - self._trains[0][0] > fresh_us:
            self._trains.popleft()
        newest_us = self._queue_us[-1][0] if self._queue_us else 0
        while self._queue_us and newest_us - self._queue_us[0][0] > _WINDOW_US:
            self._queue_us.popleft()
        self._groups_in_window = len(self._queue_us)
        self.standing_s = min((queue for _, queue in self._queue_us), default=0.0) / 1e6
        while len(self._rates) > 1 and self._rates[-1][0] - self._rates[0][0] > _RATE_WINDOW_US:
            self._rates.popleft()
        span_us = self._rates[-1][0] - self._rates[0][0] if self._rates else 0
        behind = sum(size for _, size in self._rates) - (self._rates[0][1] if self._rates else 0)
        if span_us > 0:
            self.acknowledged_bps = int(behind * 8e6 / span_us)
