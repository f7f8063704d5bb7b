"""Epochs: a number that grows with every new writer of a stream, wherever it runs."""

import time
from typing import TYPE_CHECKING

from schemas.errors import Conflict
from schemas.ids import COMPOUND_SEPARATOR, check_id
from schemas.subjects import EPOCH_BUCKET

if TYPE_CHECKING:
    from shared.bus import Bus

_ATTEMPTS = 8  # writers of one stream that start in the same millisecond


async def next_epoch(bus: "Bus", name: str, at_least: int = 0) -> int:
    """A new epoch for the stream (or rendition `cam0--main`) `name`, higher than every earlier one.

    Milliseconds since 1970, made to grow by compare-and-set on the bus: a clock that was set back cannot lower
    it, and neither can a bus that lost its store. `at_least` is a further bound from below: the highest epoch
    seen in the ring folder plus one.

    Raises:
        Unavailable: the bus does not answer.
        Conflict: others keep taking epochs of this name all the time.
    """
    for part in name.split(COMPOUND_SEPARATOR):
        check_id(part, "stream")
    bucket = await bus.bucket(EPOCH_BUCKET)
    for _ in range(_ATTEMPTS):
        current = await bucket.newest(name)
        # What is not a number was written by hand, or cut short by a power cut: the clock is enough to go on from.
        last = int(current.value) if current and current.value.isdigit() else 0
        epoch = max(time.time_ns() // 1_000_000, last + 1, at_least)
        try:
            await bucket.update(name, b"%d" % epoch, current.revision if current else 0)
        except Conflict:
            continue
        return epoch
    raise Conflict(f"{name}: others keep taking its epochs; is it started on several nodes at once?")
