"""Whether a line carries more than what is sent now: tried with packets sent again, before pictures depend on it.

First a few packets at once: how far apart they arrive bounds what the line carries, and costs a thin one some 0.1 s.
Where that is enough, a second of as much as the pictures would be: what others need of the line shows only so.
"""

import asyncio

import numpy as np

from services.webrtc_gateway.congestion.bandwidth import STANDING_SECONDS, Bandwidth
from services.webrtc_gateway.egress.history import TrackHistory
from services.webrtc_gateway.egress.rtp import RtpTrack
from services.webrtc_gateway.egress.sender import MediaSender
from services.webrtc_gateway.egress.sent_record import RECORD_PACKETS, SentRecord

_TRAIN_PACKETS = 8
_POOL_PACKETS = 16  # the largest of those sent lately; pictures of a smaller rendition have few
_LOOK_BACK_PACKETS = 256
_TRY_SECONDS, _STEP_SECONDS = 1.0, 0.02
_ANSWER_SECONDS = 1.0  # a round trip and the 250 ms after which browsers tell at the latest
_SETTLE_SECONDS = 0.3
MAX_PROBE_BPS = 50_000_000  # of one viewer; no rendition for browsers has more
_MAX_STEP_PACKETS = 128  # of one step: what MAX_PROBE_BPS needs
_LOSS_MARGIN = 0.1  # on top of what the line loses anyway: a second's packets scatter so much


class Probe:
    """Of one viewer."""

    def __init__(
        self, sender: MediaSender, track: RtpTrack, history: TrackHistory, bandwidth: Bandwidth, record: SentRecord
    ) -> None:
        self._sender, self._track, self._history = sender, track, history
        self._bandwidth, self._record = bandwidth, record

    async def carries(self, target_bps: int) -> bool:
        """Whether so much comes through, without a queue that grows; takes up to three seconds."""
        target_bps = min(target_bps, MAX_PROBE_BPS)
        pool = self._pool()
        if not pool:
            return False
        self._bandwidth.watched = True
        try:
            return await self._train(pool, target_bps) and await self._try(pool, target_bps)
        finally:
            self._bandwidth.watched = False

    async def _train(self, pool: list[int], target_bps: int) -> bool:
        trains = self._bandwidth.trains
        for number in (pool * _TRAIN_PACKETS)[:_TRAIN_PACKETS]:
            self._sender.probe(self._track, self._history, number)
        await asyncio.sleep(_STEP_SECONDS)
        self._sender.probe(self._track, self._history, pool[0])  # the next group, so that the train is known to end
        try:
            async with asyncio.timeout(_ANSWER_SECONDS):
                while self._bandwidth.trains == trains:
                    await self._bandwidth.told()
        except TimeoutError:
            return False
        return self._bandwidth.last_train_bps >= target_bps

    async def _try(self, pool: list[int], target_bps: int) -> bool:
        loop = asyncio.get_running_loop()
        first, bytes_before, began_s = self._record.next_number, self._sender.bytes, loop.time()
        loss_before = self._bandwidth.fraction_lost
        at = 0
        while (passed_s := loop.time() - began_s) < _TRY_SECONDS:
            due = int(target_bps / 8 * passed_s)
            for _ in range(_MAX_STEP_PACKETS):
                if self._sender.bytes - bytes_before >= due:
                    break
                if not self._sender.probe(self._track, self._history, pool[at % len(pool)]):
                    return False  # too old by now, or the socket is full
                at += 1
            if self._bandwidth.queue_s > STANDING_SECONDS:
                return False
            await asyncio.sleep(_STEP_SECONDS)  # the pace itself: there is no event
        last = self._record.next_number
        await asyncio.sleep(_SETTLE_SECONDS)  # the last arrive, and are told of
        first = max(first, self._record.next_number - RECORD_PACKETS)
        came = self._record.arrived(np.arange(first, last))
        lost = 1.0 - np.count_nonzero(came) / len(came) if len(came) else 1.0
        return lost <= loss_before + _LOSS_MARGIN and self._bandwidth.queue_s <= STANDING_SECONDS

    def _pool(self) -> list[int]:
        """Numbers of packets that the viewer has been sent lately, the largest first."""
        stop = self._track.next_number
        start = stop if self._track.first_number is None else self._track.first_number
        sizes: list[tuple[int, int]] = []
        for number in range(max(start, stop - _LOOK_BACK_PACKETS), stop):
            found = self._history.find(number)
            if found is not None:
                sizes.append((len(found[0].payloads[found[1]]), number))
        return [number for _, number in sorted(sizes, reverse=True)[:_POOL_PACKETS]]
