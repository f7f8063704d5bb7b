"""How often one client may do a thing: token buckets, as many as are kept in bounded memory."""

import math
import time
from collections import OrderedDict

MAX_BUCKETS = 4096  # some 150 bytes each; the one that was not used for longest goes, and begins full again


class Buckets:
    """One bucket for each key: `burst` at once, then `per_second`."""

    def __init__(self, per_second: float, burst: float, most: int = MAX_BUCKETS) -> None:
        """`per_second` 0: no limit."""
        self._per_second, self._burst, self._most = per_second, burst, most
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()
        """(what is left, when that was) by key, the one used last at the end."""

    def take(self, key: str, now_s: float | None = None) -> int:
        """Take one; 0, or after how many whole seconds there will be one again. What is refused costs nothing."""
        if self._per_second <= 0:
            return 0
        now_s = time.monotonic() if now_s is None else now_s
        left, since_s = self._buckets.get(key, (self._burst, now_s))
        left = min(self._burst, left + (now_s - since_s) * self._per_second)
        taken = left >= 1
        self._buckets[key] = (left - taken, now_s)
        self._buckets.move_to_end(key)
        if len(self._buckets) > self._most:
            self._buckets.popitem(last=False)
        return 0 if taken else max(1, math.ceil((1 - left) / self._per_second))

    def __len__(self) -> int:
        return len(self._buckets)
