"""Who of a channel is in the spotlight: those who speak, then those who spoke last."""

import time
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass


@dataclass(slots=True)
class _Speaker:
    speaking: bool
    since_s: float
    """When that began, or ended."""


class Spotlight:
    """Of one channel; knows nothing of pictures and of connections. Who has never spoken is in nobody's spotlight."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._speakers: dict[str, _Speaker] = {}

    def heard(self, member: str, speaking: bool) -> bool:
        """A member begins or ends to speak; whether that is news."""
        known = self._speakers.get(member)
        if speaking == (known is not None and known.speaking):
            return False
        self._speakers[member] = _Speaker(speaking, self._clock())
        return True

    def forget(self, members: Iterable[str]) -> bool:
        """They have left; whether one of them had spoken."""
        known = [member for member in members if member in self._speakers]
        for member in known:
            del self._speakers[member]
        return bool(known)

    @property
    def members(self) -> tuple[str, ...]:
        """Those who have spoken."""
        return tuple(self._speakers)

    def focused(self, number: int, without: Collection[str] = ()) -> tuple[str, ...]:
        """The `number` of them in the spotlight, the first of them first, `without` some.

        Who speaks comes before who has ended, and each time the later before the earlier: who says yes to a speech has
        the light for a moment, and gives it back.
        """
        ranked = sorted(
            (member for member in self._speakers if member not in without),
            key=lambda member: (self._speakers[member].speaking, self._speakers[member].since_s),
            reverse=True,
        )
        return tuple(ranked[:number])
