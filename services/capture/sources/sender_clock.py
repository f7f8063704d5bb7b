"""When a camera took a picture by its own clock, as its RTCP sender reports tell (RFC 3550, 6.4.1)."""

import struct
import time
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from schemas.frames import Clock

if TYPE_CHECKING:
    from av.packet import Packet

_SIDE_DATA: Final = "prft"  # AV_PKT_DATA_PRFT: the wall clock of the packet, made of the last report
_WALL_CLOCK: Final = struct.Struct("@q")  # AVProducerReferenceTime begins with microseconds since 1970
# A clock set by NTP is off by milliseconds; ahead of ours by more, it is not set, or ours is not.
_AHEAD_NS: Final = 20_000_000
# Cameras need less from exposure to network. A clock that is wrong by less than this cannot be told from a slow
# camera, so this is also how much a wrong clock can falsify.
_SOON_NS: Final = 1_000_000_000
_TRUST_AFTER_NS: Final = 2_000_000_000  # of pictures that all came soon
_LATE_NS: Final = 10_000_000_000  # a trusted camera on a bad network; beyond it the clock was set back


class Captured(NamedTuple):
    """The best known instant of a picture."""

    ns: int
    """CLOCK_REALTIME."""
    clock: Clock

    @classmethod
    def now(cls) -> "Captured":
        return cls(time.time_ns(), "arrival")


class SenderClock:
    """Believes a camera's clock once it has agreed with ours for a while, and until it no longer does."""

    def __init__(self) -> None:
        self.trusted = False
        self._agreed_since_ns: int | None = None

    def captured(self, packet: "Packet[Any]", arrived_ns: int) -> Captured:
        """When the picture of `packet` was taken; its arrival when the camera tells nothing that can be believed."""
        if packet.has_sidedata(_SIDE_DATA):
            (wall_us,) = _WALL_CLOCK.unpack_from(memoryview(packet.get_sidedata(_SIDE_DATA)))
            if self.believe(wall_us * 1000, arrived_ns):
                return Captured(min(wall_us * 1000, arrived_ns), "rtcp")
        return Captured(arrived_ns, "arrival")

    def believe(self, wall_ns: int, arrived_ns: int) -> bool:
        """Whether `wall_ns` is the instant of a picture that arrived at `arrived_ns`."""
        age_ns = arrived_ns - wall_ns
        if not -_AHEAD_NS <= age_ns <= (_LATE_NS if self.trusted else _SOON_NS):
            self.trusted, self._agreed_since_ns = False, None
            return False
        if not self.trusted:
            if self._agreed_since_ns is None:
                self._agreed_since_ns = arrived_ns
            self.trusted = arrived_ns - self._agreed_since_ns >= _TRUST_AFTER_NS
        return self.trusted
