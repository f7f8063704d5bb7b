"""How long and how large a packet ring is: what joins need, or the history that somebody asked for."""

from typing import NamedTuple

from schemas.errors import InvalidValue
from schemas.units import parse_duration


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
