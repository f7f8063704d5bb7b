"""How long and how large a packet ring is: what joins need, or the history that somebody asked for."""

from typing import Annotated, NamedTuple

from msgspec import Meta

from schemas.errors import InvalidValue
from schemas.units import parse_duration
from shared.settings import Settings


class RingSize(NamedTuple):
    """Whichever is reached first is what is kept."""

    seconds: float
    max_bytes: int


def ring_size(usual: RingSize, history: str | None, history_bytes: int) -> RingSize:
    """The usual size, or one for so much `history`: bytes grow with it from the usual ones up to `history_bytes`.

    Raises:
        InvalidValue: `history` is no duration.
    """
    if history is None or (seconds := parse_duration(history, "history")) <= usual.seconds:
        return usual
    grown_bytes = int(usual.max_bytes * seconds / usual.seconds)
    return RingSize(seconds, max(usual.max_bytes, min(grown_bytes, history_bytes)))


def check_history(history: str | None) -> None:
    """Refuse what is no duration, or none at all.

    Raises:
        InvalidValue: names the fix.
    """
    if history is not None and parse_duration(history, "history") <= 0:
        raise InvalidValue("history", history, "write how much to keep, for example 30s, or leave it out")


class PacketRingSettings(Settings, frozen=True, kw_only=True):
    """Of services that write packet rings: one for each rendition."""

    packet_ring_seconds: Annotated[float, Meta(ge=1, le=600)] = 15.0
    """How far back the packets of a rendition reach: joins, pre-roll, resuming after a crash."""
    packet_ring_bytes: Annotated[int, Meta(ge=1 << 20, le=1 << 32)] = 32 << 20
    """Upper bound of one packet ring; it grows with the `history` that is asked for."""
    history_bytes: Annotated[int, Meta(ge=1 << 20, le=1 << 34)] = 256 << 20
    """Upper bound of a packet ring with `history`: 60 s of 35 Mbit/s. All of it is reserved."""

    def ring_size(self, history: str | None) -> RingSize:
        """Of the packet ring of something with so much `history`."""
        return ring_size(RingSize(self.packet_ring_seconds, self.packet_ring_bytes), history, self.history_bytes)
