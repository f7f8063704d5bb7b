"""Offers and answers of one connection: one offer at a time, and each answered within its time."""

import asyncio
from collections.abc import Callable

from aiortc.sdp import SessionDescription

from services.webrtc_gateway.signalling.offer import read_offer
from services.webrtc_gateway.sora.messages import Offer, ReOffer

ANSWER_SECONDS = 10.0  # clients make an answer in some ten milliseconds, and wait for ever themselves


class Negotiation:
    """Begun once; from the first answer on every change is a new offer."""

    def __init__(
        self,
        sdp: Callable[[int], str],
        place: Callable[[], bool],
        say: Callable[[Offer | ReOffer], None],
        on_late: Callable[[], None],
    ) -> None:
        """`sdp` writes the offer of a version, `place` puts what there is to watch on its m-lines and tells whether
        that changed anything, `on_late` is told when no answer comes."""
        self._sdp, self._place, self._say, self._on_late = sdp, place, say, on_late
        self._version = 0
        self._answered = False
        self._awaiting = False
        self._stale = False
        """What there is to watch has to be looked at, once the client has answered."""
        self._freed = False
        """Lines have been freed without being offered as such."""
        self._timer: asyncio.TimerHandle | None = None

    def begin(self, offer_with: Callable[[str], Offer]) -> None:
        """Send the first offer, made around its SDP."""
        self._ask(offer_with(self._next_sdp()))

    def refresh(self) -> None:
        """What there is to watch may have changed."""
        self._stale = True
        if self._answered and not self._awaiting:
            self._stale = False
            if self._place() or self._freed:
                self._ask(ReOffer(self._next_sdp()))

    def free(self) -> None:
        """Lines have been freed: offer again, whatever else has changed."""
        self._freed = True
        self.refresh()

    def take(self, text: str, *, again: bool) -> tuple[SessionDescription, bool] | None:
        """The answer to the first offer, or to a later one, and whether it is the first; None: nothing was asked.

        Raises:
            BadRequest: it is none.
        """
        if not self._awaiting or again != self._answered:
            return None
        self._awaiting = False
        if self._timer is not None:
            self._timer.cancel()
        description, first = read_offer(text), not self._answered
        self._answered = True
        return description, first

    def go_on(self) -> None:
        """The answer has been followed: offer what has changed meanwhile."""
        if self._stale:
            self.refresh()

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _next_sdp(self) -> str:
        self._version += 1
        return self._sdp(self._version)

    def _ask(self, offer: Offer | ReOffer) -> None:
        self._awaiting, self._freed = True, False
        self._say(offer)
        self._timer = asyncio.get_running_loop().call_later(ANSWER_SECONDS, self._on_late)
