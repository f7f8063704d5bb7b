"""The camera's clock on ours."""

_WINDOW_NS = 10_000_000_000  # a quartz drifts 50 us in 1 s at most, so 10 s keep the mapping within 0.5 ms
_RESET_NS = 1_000_000_000  # no network delays a packet so long: the camera's clock was set anew


class DeviceClock:
    """Maps a free-running clock to CLOCK_REALTIME by the quickest arrivals of the last 10 to 20 s.

    A packet arrives late, never early: the smallest difference between arrival and device time has the least delay in
    it. What remains is the constant part of the way, tens of microseconds on a wire.
    """

    def __init__(self) -> None:
        self._offset_ns: int | None = None
        self._next_offset_ns = 0
        self._window_ends_ns = 0

    def realtime(self, device_ns: int, arrived_ns: int) -> int:
        """CLOCK_REALTIME of `device_ns`, of a picture that arrived at `arrived_ns`; never later than it came."""
        offset_ns = arrived_ns - device_ns
        if self._offset_ns is None or abs(offset_ns - self._offset_ns) > _RESET_NS:
            self._offset_ns = self._next_offset_ns = offset_ns
            self._window_ends_ns = arrived_ns + _WINDOW_NS
        elif arrived_ns >= self._window_ends_ns:  # the older half is forgotten
            self._offset_ns = min(self._next_offset_ns, offset_ns)
            self._next_offset_ns = offset_ns
            self._window_ends_ns = arrived_ns + _WINDOW_NS
        else:
            self._next_offset_ns = min(self._next_offset_ns, offset_ns)
            self._offset_ns = min(self._offset_ns, offset_ns)
        return device_ns + self._offset_ns
